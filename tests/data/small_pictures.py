"""Small pictures whose colour says which one each is."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 16


def colour_of(number: int) -> tuple[int, int, int]:
    return (10 * number, 255 - 10 * number, 7 * number)


def make_picture(number: int, size: int = SIZE) -> np.ndarray:
    """Plain in the numbered colour, but for a white left edge that a flip would move."""
    picture = np.full((size, size, 3), colour_of(number), np.uint8)
    picture[:, 0] = 255
    return picture


def save_picture(path: Path, number: int, size: int = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_picture(number, size)).save(path)
