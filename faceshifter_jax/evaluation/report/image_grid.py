"""The picture of an evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from faceshifter_jax.files import write_bytes
from faceshifter_jax.media.grid import draw_grid
from faceshifter_jax.media.images import encode_png

ROWS = 15
_PIXELS = 128
_GAP = 12


def write_report(parts: Sequence[Mapping[str, np.ndarray]], path: Path) -> None:
    """Draws grids below each other, each with rows drawn from its samples, always the same.

    Args:
      parts: grids: title of a column -> uint8 pictures (B, S, S, 3). Together they get 15 rows.
      path: a PNG file; it appears under its name when it is complete.
    """
    grids = [draw_grid(_choose_rows(columns, ROWS // len(parts))) for columns in parts]
    width = max(grid.shape[1] for grid in grids)
    height = sum(grid.shape[0] + _GAP for grid in grids) - _GAP
    canvas = np.full((height, width, 3), 255, np.uint8)
    top = 0
    for grid in grids:
        canvas[top : top + grid.shape[0], : grid.shape[1]] = grid
        top += grid.shape[0] + _GAP
    write_bytes(path, encode_png(canvas))


def _choose_rows(columns: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    available = len(next(iter(columns.values())))
    # Drawn, as kinds of occluders take turns; the same rows in every report.
    drawn = np.random.default_rng(0).choice(available, min(count, available), replace=False)
    rows = np.sort(drawn)
    return {name: _enlarge(images[rows]) for name, images in columns.items()}


def _enlarge(images: np.ndarray) -> np.ndarray:
    size = max(_PIXELS, images.shape[1])
    enlarged = (
        Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in images
    )
    return np.stack([np.asarray(image) for image in enlarged])
