"""Similarity transforms of points and pictures, without aliasing."""

import numpy as np
from PIL import Image
from scipy import ndimage

LINEAR, CUBIC = 1, 3
# A cubic spline's value depends on this many pixels on each side, to a thousandth of a grey level.
_REACH = 10


def map_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps points (N, 2) by a matrix (2, 3); returns (N, 2) float64."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: np.ndarray) -> np.ndarray:
    """Inverts an affine matrix (2, 3)."""
    turned = np.linalg.inv(matrix[:, :2])
    return np.column_stack([turned, -turned @ matrix[:, 2]])


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Rounds grey levels to uint8; those outside of [0, 255] are clipped."""
    return np.round(np.clip(values, 0, 255)).astype(np.uint8)


def warp(
    picture: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], *, order: int = CUBIC
) -> np.ndarray:
    """Resamples a picture under a similarity transform.

    Pictures are enlarged by splines, and shrunk with antialiasing before they are turned.

    Args:
      picture: (H, W, C), uint8 or float32; beyond its edge, the edge is continued.
      matrix: (2, 3); takes points of the picture to points of the result.
      shape: height and width of the result.
      order: CUBIC, or LINEAR where values must stay within those of the picture; that is never
        shrunk beforehand, so it is for smooth masks.

    Returns:
      (*shape, C) float32.
    """
    picture, matrix = _cut_to(picture, matrix, shape)
    if order == CUBIC:
        picture, matrix = _shrink(picture, matrix)
    inverse = invert(matrix)
    # From pixel indices (row, column) to points, through the matrix, and back to indices.
    turned = inverse[::-1, 1::-1]
    offset = turned @ (0.5, 0.5) + inverse[::-1, 2] - 0.5
    result = np.empty((*shape, picture.shape[2]), np.float32)
    for channel in range(picture.shape[2]):
        ndimage.affine_transform(
            picture[..., channel],
            turned,
            offset,
            output=result[..., channel],
            order=order,
            mode="nearest",
        )
    return result


def _cut_to(
    picture: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts out the part that the result depends on."""
    height, width = shape
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)])
    needed = map_points(invert(matrix), corners)
    reach = _REACH * max(1.0, 1 / _scale(matrix))
    limits = np.array(picture.shape[1::-1])
    # At least a pixel is left, whose values are continued.
    start = np.clip(np.floor(needed.min(0) - reach), 0, limits - 1).astype(int)
    stop = np.clip(np.ceil(needed.max(0) + reach), start + 1, limits).astype(int)
    part = picture[start[1] : stop[1], start[0] : stop[0]]
    return part, np.column_stack([matrix[:, :2], map_points(matrix, start[None])[0]])


def _shrink(picture: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Takes the shrinking out of the matrix and applies it to the picture."""
    scale = _scale(matrix)
    if scale >= 1:
        return picture, matrix
    height, width = picture.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    channels = [
        Image.fromarray(np.ascontiguousarray(picture[..., channel], np.float32)).resize(
            size, Image.Resampling.LANCZOS
        )
        for channel in range(picture.shape[2])
    ]
    back = np.diag([width / size[0], height / size[1]])
    return np.stack(channels, -1), np.column_stack([matrix[:, :2] @ back, matrix[:, 2]])


def _scale(matrix: np.ndarray) -> float:
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
