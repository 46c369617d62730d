"""Grids of pictures: one row a sample, one titled column a name."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceshifter_jax.files import write_bytes
from faceshifter_jax.media.images import encode_png
from faceshifter_jax.media.levels import to_uint8

_GAP = 2
_TITLE_HEIGHT = 18
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_grid(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Draws pictures side by side under their columns' names.

    Args:
      columns: name -> pictures of one size, (B, H, W, 3) or (B, H, W, 1), float in [-1, 1] or
        uint8; one row of the grid a sample, one column a name, in the mapping's order.

    Returns:
      uint8 picture (B * (H + 2) + 18, columns * (W + 2), 3), white between the pictures.

    Raises:
      ValueError: columns of different sizes, or none at all.
    """
    pictures = {name: _as_rgb(np.asarray(images)) for name, images in columns.items()}
    shapes = {images.shape for images in pictures.values()}
    if len(shapes) != 1:
        raise ValueError(f"the columns of a grid need one common shape, not {sorted(shapes)}")
    rows, height, width, _ = shapes.pop()
    canvas = Image.new(
        "RGB",
        (len(pictures) * (width + _GAP), rows * (height + _GAP) + _TITLE_HEIGHT),
        "white",
    )
    font = _choose_font(pictures, width)
    for column, (name, images) in enumerate(pictures.items()):
        left = column * (width + _GAP)
        canvas.paste(_draw_title(name, font, width), (left, 0))
        for row, image in enumerate(images):
            top = _TITLE_HEIGHT + row * (height + _GAP)
            canvas.paste(Image.fromarray(image), (left, top))
    return np.asarray(canvas)


def write_grid(columns: Mapping[str, np.ndarray], path: str | Path) -> np.ndarray:
    """Draws a grid (see `draw_grid`), writes it as PNG and returns it.

    The file appears under its name only when it is complete.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = draw_grid(columns)
    write_bytes(path, encode_png(grid))
    return grid


def _as_rgb(images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8:
        images = to_uint8(images.astype(np.float32), -1, 1)
    return np.broadcast_to(images, (*images.shape[:-1], 3))


def _choose_font(names: Iterable[str], width: int) -> _Font:
    """Returns the largest legible font in which every name fits a column."""
    for size in range(13, 7, -1):
        font = ImageFont.load_default(size)
        if all(font.getlength(name) <= width for name in names):
            return font
    return ImageFont.load_default(7)


def _draw_title(name: str, font: _Font, width: int) -> Image.Image:
    title = Image.new("RGB", (width, _TITLE_HEIGHT), "white")
    ImageDraw.Draw(title).text((0, 2), name, fill="black", font=font)
    return title
