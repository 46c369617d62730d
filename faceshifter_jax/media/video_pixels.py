"""Converting between a video's stored pictures and upright RGB, without changing other pixels."""

from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError

# Chroma is interpolated over this many pixels when a picture is converted.
_CHROMA_REACH = 2
_FORMAT = "yuv420p"
# Matrices and ranges as ITU-T H.273 and FFmpeg count them.
_RGB, _BT709, _BT601 = 0, 1, 5
# "Unspecified", and the same under another number.
_ALSO_BT601 = (2, 6)
_LIMITED_RANGE = 1
_MATRICES = {
    3: "a reserved number as matrix",
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "SMPTE 2085",
    12: "a matrix derived from the primaries",
    13: "a matrix derived from the primaries with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}


def to_rgb(picture: Any, turns: int) -> np.ndarray:
    """Converts an `av.VideoFrame` to uint8 (H, W, 3), RGB, turned upright.

    Args:
      picture: as it is stored.
      turns: quarter turns, counterclockwise.

    Raises:
      UserError: its colours are of a kind that cannot be converted.
    """
    pixels = _convert(picture, format="rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, turns))


def to_thumbnail(picture: Any, width: int, height: int) -> np.ndarray:
    """Shrinks an `av.VideoFrame` to uint8 (height, width, 3), RGB, as it is stored."""
    small = _convert(picture, width=width, height=height, format="rgb24", interpolation="AREA")
    return small.to_ndarray()


def has_alpha(picture: Any) -> bool:
    """Whether an `av.VideoFrame` is, or may be, transparent in places."""
    if picture.format.has_palette:
        return bool((_convert(picture, format="rgba").to_ndarray()[..., 3] < 255).any())
    return any(component.is_alpha for component in picture.format.components)


def like(picture: Any, first: Any) -> Any:
    """Gives an `av.VideoFrame` the size of another one, and its matrix and range of colours."""
    sizes = {"width": first.width, "height": first.height}
    same_size = (picture.width, picture.height) == (first.width, first.height)
    if _is_rgb(picture) or _is_rgb(first):
        return picture if same_size else _convert(picture, **sizes)
    tags = ("colorspace", "color_range")
    if same_size and all(getattr(picture, name) == getattr(first, name) for name in tags):
        return picture
    converted = _convert(
        picture,
        **sizes,
        dst_colorspace=_BT601 if first.colorspace in _ALSO_BT601 else first.colorspace,
        dst_color_range=first.color_range or _LIMITED_RANGE,
    )
    _copy_tags(first, converted)
    return converted


def _is_rgb(picture: Any) -> bool:
    stored = picture.format
    return (
        stored.is_rgb
        or stored.has_palette
        or stored.is_bayer
        or stored.name.startswith("xyz")
        or picture.colorspace == _RGB
    )


def _convert(picture: Any, **options: Any) -> Any:
    from av.error import FFmpegError

    try:
        return picture.reformat(**options)
    except (FFmpegError, ValueError) as error:
        colours = _MATRICES.get(picture.colorspace, f"matrix {picture.colorspace}")
        raise UserError(
            f"the colours of the video ({picture.format.name}, {colours}) cannot be converted to "
            "RGB: convert it to BT.709 with another program first"
        ) from error


def to_encodable(picture: Any) -> Any:
    """Makes a frame for the encoder: 8-bit planes of even width and height.

    RGB becomes BT.709; other pictures keep their matrix and range, and the frame says which. An
    odd last column or row is repeated: planes with half as many colours cannot end in half a
    pixel.

    Raises:
      UserError: as `to_rgb`.
    """
    import av

    colours = {}
    if _is_rgb(picture):
        colours = {"dst_colorspace": _BT709, "dst_color_range": _LIMITED_RANGE}
    stored = _convert(picture, format=_FORMAT, **colours)
    if stored.width % 2 == 0 and stored.height % 2 == 0:
        # The decoder may still need its own picture for those that follow.
        stored.make_writable()
        return stored
    even = av.VideoFrame(
        stored.width + stored.width % 2, stored.height + stored.height % 2, _FORMAT
    )
    for plane, source in zip(_planes(even), _planes(stored), strict=True):
        missing = [(0, a - b) for a, b in zip(plane.shape, source.shape, strict=True)]
        plane[:] = np.pad(source, missing, mode="edge")
    _copy_tags(stored, even)
    return even


def draw_over(encodable: Any, before: np.ndarray, after: np.ndarray, turns: int) -> None:
    """Writes the pixels that changed into a frame for the encoder; all others keep their values.

    Args:
      encodable: what `to_encodable` made of a picture.
      before, after: uint8 (H, W, 3), upright, as `to_rgb` gave it and with changes.
      turns: as for `to_rgb`.
    """
    import av

    changed = np.rot90((before != after).any(-1), -turns)
    rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
    if not len(rows):
        return
    top, bottom = _even_range(rows, encodable.height)
    left, right = _even_range(columns, encodable.width)
    missing = [
        (0, encodable.height - changed.shape[0]),
        (0, encodable.width - changed.shape[1]),
    ]
    part = np.s_[top:bottom, left:right]
    pixels = np.pad(np.rot90(after, -turns), [*missing, (0, 0)], mode="edge")[part]
    changed = np.pad(changed, missing, mode="edge")[part]
    drawn = _convert(
        av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"),
        format=_FORMAT,
        dst_colorspace=encodable.colorspace,
        dst_color_range=encodable.color_range,
    )
    coarse = changed.reshape(changed.shape[0] // 2, 2, -1, 2).any((1, 3))
    for number, (plane, new) in enumerate(zip(_planes(encodable), _planes(drawn), strict=True)):
        step = 1 if number == 0 else 2
        target = plane[top // step : bottom // step, left // step : right // step]
        mask = changed if number == 0 else coarse
        target[mask] = new[mask]


def _even_range(indices: np.ndarray, limit: int) -> tuple[int, int]:
    start = max(int(indices[0]) - _CHROMA_REACH, 0) // 2 * 2
    stop = min(int(indices[-1]) + 1 + _CHROMA_REACH, limit)
    return start, min(stop + stop % 2, limit)


def _planes(frame: Any) -> list[np.ndarray]:
    """The planes of a frame as arrays (height, width) on its own memory."""
    return [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    ]


def _copy_tags(source: Any, target: Any) -> None:
    for name in ("colorspace", "color_range", "color_trc", "color_primaries"):
        setattr(target, name, getattr(source, name))
