"""Writing GIF animations: a frame after the other, none left out, and only what changes."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import GifImagePlugin, Image

from faceshifter_jax.media.photos import Photo
from faceshifter_jax.media.provenance.gifs import gif_xmp

_COLOURS = 256
# What becomes of a frame when the next one is shown: it stays, or what is behind it shows.
_STAYS, _CLEARED = 1, 2
_OPAQUE_FROM = 128


def write_gif(
    file: BinaryIO, frames: Iterator[tuple[Photo, int]], loop: int, xmp: bytes | None
) -> None:
    """Writes frames with their own 256 colours each; arguments as `write_animation`.

    All frames have alpha, or none.

    Pillow's own `save_all` would join frames that are alike. Times are stored in hundredths of a
    second.
    """
    previous: np.ndarray | None = None
    for index, (photo, duration) in enumerate(frames):
        stays = not _is_transparent(photo)
        image, corner = _draw_part(photo, previous) if stays else (_draw_whole(photo), (0, 0))
        if index == 0:
            file.write(_header(image, loop))
        options = {} if stays else {"transparency": _COLOURS - 1}
        blocks = GifImagePlugin.getdata(
            image,
            corner,
            duration=duration,
            disposal=_STAYS if stays else _CLEARED,
            include_color_table=True,
            **options,
        )
        file.writelines(blocks)
        previous = photo.pixels if stays else None
    if xmp:
        file.write(gif_xmp(xmp))
    file.write(b";")


def _is_transparent(photo: Photo) -> bool:
    return photo.values.shape[2] == 4


def _header(image: Image.Image, loop: int) -> bytes:
    # Shown once is what a file without a number means.
    info = {} if loop == 1 else {"loop": loop}
    return b"".join(GifImagePlugin.getheader(image, info=info | {"duration": 1})[0])


def _draw_whole(photo: Photo) -> Image.Image:
    """Returns a frame in 255 colours; the last one is for what is transparent."""
    values = photo.values
    opaque = values[..., 3] >= _OPAQUE_FROM
    image = Image.fromarray(np.ascontiguousarray(values[..., :3])).quantize(_COLOURS - 1)
    indices = np.where(opaque, np.asarray(image), _COLOURS - 1).astype(np.uint8)
    palette = image.getpalette() or []
    image = Image.fromarray(indices, "P")
    image.putpalette(palette + [0] * (3 * _COLOURS - len(palette)))
    return image


def _draw_part(photo: Photo, previous: np.ndarray | None) -> tuple[Image.Image, tuple[int, int]]:
    """Returns what differs from the previous frame in 256 colours, and its place.

    All else keeps the colours that it has.
    """
    top, left, (bottom, right) = 0, 0, photo.pixels.shape[:2]
    if previous is not None:
        changed = (photo.pixels != previous).any(-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        # A frame that changes nothing is one pixel.
        top, bottom = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 1)
        left, right = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 1)
    part = np.ascontiguousarray(photo.pixels[top:bottom, left:right])
    return Image.fromarray(part).quantize(_COLOURS), (left, top)
