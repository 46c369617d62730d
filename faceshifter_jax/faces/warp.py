"""Similarity transforms of points and pictures, without aliasing.

OpenCV's `warpAffine` is no replacement: enlarged by 1.6, its cubic is up to 0.7 levels away from
the spline; shrunk to half, it does not antialias and is up to 5 levels away on a smooth picture.
"""

from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from faceshifter_jax.compiled import compiled

LINEAR, CUBIC = 1, 3
# Beyond the edge, this many continued pixels make the spline as good as flat there.
_EDGE = 12
# A cubic spline's value depends on this many pixels on each side, to a thousandth of a grey level.
_REACH = 10
_FLOAT32: Any = np.float32  # scipy's signature names float64 alone.


def map_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps points (N, 2) by a matrix (2, 3); returns (N, 2) float64."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: np.ndarray) -> np.ndarray:
    """Inverts an affine matrix (2, 3)."""
    turned = np.linalg.inv(matrix[:, :2])
    return np.column_stack([turned, -turned @ matrix[:, 2]])


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
    turned = np.ascontiguousarray(inverse[::-1, 1::-1])
    offset = turned @ (0.5, 0.5) + inverse[::-1, 2] - 0.5
    result = np.empty((*shape, picture.shape[2]), np.float32)
    if order == CUBIC:
        _sample_spline(_spline_coefficients(picture), turned, offset, result)
    else:
        _sample_linearly(picture.astype(np.float32), turned, offset, result)
    return result


def _spline_coefficients(picture: np.ndarray) -> np.ndarray:
    """Coefficients of the cubic B-spline through the pixels: (H + 24, W + 24, C) float32."""
    padded = np.pad(
        picture.astype(np.float32), ((_EDGE, _EDGE), (_EDGE, _EDGE), (0, 0)), mode="edge"
    )
    for axis in (0, 1):
        padded = ndimage.spline_filter1d(padded, 3, axis, _FLOAT32, mode="mirror")
    return padded


@compiled(nogil=True)
def _sample_spline(coefficients, turned, offset, result):
    height, width = coefficients.shape[0] - 2 * _EDGE, coefficients.shape[1] - 2 * _EDGE
    rows, columns, channels = result.shape
    down, across = np.empty(4, np.float32), np.empty(4, np.float32)
    for row in range(rows):
        for column in range(columns):
            y = turned[0, 0] * row + turned[0, 1] * column + offset[0]
            x = turned[1, 0] * row + turned[1, 1] * column + offset[1]
            y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
            top, left = int(y), int(x)
            _spline_weights(y - top, down)
            _spline_weights(x - left, across)
            for channel in range(channels):
                value = np.float32(0)
                for i in range(4):
                    line = np.float32(0)
                    for j in range(4):
                        line += (
                            across[j]
                            * coefficients[top + _EDGE - 1 + i, left + _EDGE - 1 + j, channel]
                        )
                    value += down[i] * line
                result[row, column, channel] = value


@compiled(nogil=True)
def _spline_weights(f, weights):
    g = 1 - f
    weights[0] = g * g * g / 6
    weights[1] = (4 - 6 * f * f + 3 * f * f * f) / 6
    weights[2] = (4 - 6 * g * g + 3 * g * g * g) / 6
    weights[3] = f * f * f / 6


@compiled(nogil=True)
def _sample_linearly(picture, turned, offset, result):
    height, width, channels = picture.shape
    rows, columns, _ = result.shape
    for row in range(rows):
        for column in range(columns):
            y = turned[0, 0] * row + turned[0, 1] * column + offset[0]
            x = turned[1, 0] * row + turned[1, 1] * column + offset[1]
            y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            f, g = y - top, x - left
            for channel in range(channels):
                above = (1 - g) * picture[top, left, channel] + g * picture[top, right, channel]
                below = (1 - g) * picture[bottom, left, channel] + g * picture[
                    bottom, right, channel
                ]
                result[row, column, channel] = (1 - f) * above + f * below


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
    return np.stack([np.asarray(channel) for channel in channels], -1), np.column_stack(
        [matrix[:, :2] @ back, matrix[:, 2]]
    )


def _scale(matrix: np.ndarray) -> float:
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
