"""Squares of a picture as a network sees them, and the way back."""

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class View:
    """An upright square of a picture, then turned; it may reach beyond the picture.

    Attributes:
      left, top, side: in pixels of the picture.
      quarters: quarter turns to the left that the network sees it with.
    """

    left: float
    top: float
    side: float
    quarters: int = 0

    def scaled(self, factor: float) -> "View":
        """The same square of the picture in another size."""
        return View(self.left * factor, self.top * factor, self.side * factor, self.quarters)

    def cut_out(self, picture: Image.Image, size: int) -> np.ndarray:
        """Returns uint8 (size, size, 3): shrunk without aliasing, black beyond the picture."""
        scale = size / self.side
        start = np.maximum((self.left, self.top), 0)
        stop = np.minimum((self.left + self.side, self.top + self.side), picture.size)
        place = np.round((start - (self.left, self.top)) * scale).astype(int)
        shape = np.round((stop - start) * scale).astype(int)
        square = np.zeros((size, size, 3), np.uint8)
        if (shape >= 1).all():
            part = picture.resize(
                tuple(shape.tolist()),
                Image.Resampling.BILINEAR,
                box=(*start.tolist(), *stop.tolist()),
                reducing_gap=2.0,
            )
            (x, y), (width, height) = place, shape
            square[y : y + height, x : x + width] = np.asarray(part)
        return np.rot90(square, self.quarters)

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Maps points (..., 2), shares of the side of what the network saw, to the picture."""
        x, y = points[..., 0], points[..., 1]
        for _ in range(self.quarters % 4):
            x, y = 1 - y, x
        return np.stack([self.left + self.side * x, self.top + self.side * y], -1)


def whole(width: int, height: int, *, border: float = 0.0, quarters: int = 0) -> View:
    """The whole picture in the middle of a square, and around it a border.

    Args:
      width, height: of the picture.
      border: its width on each side as a share of the picture's longer side.
      quarters: see `View`.
    """
    side = max(width, height) * (1 + 2 * border)
    return View((width - side) / 2, (height - side) / 2, side, quarters)


def tiles(width: int, height: int, count: int, overlap: float = 0.2) -> list[View]:
    """Squares that cover a picture.

    Args:
      width, height: of the picture.
      count: of them along its longer side.
      overlap: of neighbours there, as a share of the longer side divided by `count`.

    Returns:
      as many along the shorter side as it takes, in the middle of it where that is one.
    """
    longer = max(width, height)
    side = longer / count * (1 + overlap)

    def starts(length: int) -> list[float]:
        if length <= side:
            return [(length - side) / 2]
        number = int(np.ceil((length - side) / (longer / count) - 1e-9)) + 1
        return np.linspace(0, length - side, number).tolist()

    return [View(x, y, side) for y in starts(height) for x in starts(width)]


def turned_square(
    picture: np.ndarray, centre: np.ndarray, across: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a square that lies at any angle.

    Args:
      picture: uint8 (H, W, 3).
      centre: (2,), of the square in the picture.
      across: (2,), half of the square's side along its rows.
      size: side of the result in pixels.

    Returns:
      uint8 (size, size, 3), black beyond the picture, and the matrix (2, 3) that takes points of
      the result to the picture.
    """
    down = np.array([-across[1], across[0]])
    back = np.column_stack([2 * across / size, 2 * down / size, centre - across - down])
    # Only what is needed, shrunk by a whole number beforehand so that nothing is skipped.
    reach = np.abs(across) + np.abs(down) + 2
    limits = np.array(picture.shape[1::-1])
    start = np.clip(np.floor(centre - reach), 0, limits - 1).astype(int)
    stop = np.clip(np.ceil(centre + reach), start + 1, limits).astype(int)
    part = Image.fromarray(picture[start[1] : stop[1], start[0] : stop[0]])
    factor = max(1, int(2 * np.hypot(*across) / size))
    inner = back.copy()
    inner[:, 2] -= start
    square = part.reduce(factor).transform(
        (size, size),
        Image.Transform.AFFINE,
        tuple((inner / factor).reshape(-1).tolist()),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(square), back
