"""Between a video's stored pictures and upright RGB, so that what is not touched stays as it is."""

from typing import Any

import numpy as np

# Chroma is interpolated over this many pixels when a picture is converted.
_CHROMA_REACH = 2
_FORMAT = "yuv420p"


def to_rgb(picture: Any, turns: int) -> np.ndarray:
    """Converts an `av.VideoFrame` to uint8 (H, W, 3), RGB, turned upright.

    Args:
      picture: as it is stored.
      turns: quarter turns, counterclockwise.
    """
    pixels = picture.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, turns))


def to_thumbnail(picture: Any, width: int, height: int) -> np.ndarray:
    """Shrinks an `av.VideoFrame` to uint8 (height, width, 3), RGB, as it is stored."""
    return picture.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()


def to_encodable(picture: Any) -> Any:
    """Makes a frame of 8-bit planes of even width and height for the encoder.

    An odd last column or row is repeated: planes with half as many colours cannot end in half a
    pixel.
    """
    import av

    stored = picture.reformat(format=_FORMAT)
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


def draw_over(
    picture: Any, encodable: Any, before: np.ndarray, after: np.ndarray, turns: int
) -> None:
    """Writes the pixels that changed into a frame for the encoder; the others stay to the bit.

    Args:
      picture: the `av.VideoFrame` as it is stored.
      encodable: what `to_encodable` made of it.
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
    drawn = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
        format=_FORMAT,
        dst_colorspace=picture.colorspace,
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
