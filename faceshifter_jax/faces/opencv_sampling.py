"""Sampling as OpenCV 4 does it, in whole numbers.

Published generators were trained, and are run at home, on crops that OpenCV's `warpAffine` and
`resize` cut with 8-bit pictures. Their positions are rounded to 1/32 of a pixel and their weights
to 1/1024 and 1/2048 (modules/imgproc/src/imgwarp.cpp and resize.cpp of OpenCV 4.10); OpenCV 5
interpolates exactly and gives other pixels, up to 3 levels away, so it is no replacement. The warp
agrees with 4.10 to the bit. Pixel indices are coordinates: the first pixel's centre is at 0.
"""

import numpy as np

from faceshifter_jax.compiled import compiled

_POSITION_BITS = 10  # of a pixel, while positions are added up
_STEP_BITS = 5  # of a pixel, where weights are looked up
_WEIGHT = 2048  # one, as a weight of `resize_as_opencv`


def warp_as_opencv(picture: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Cuts a square out of a picture, bilinearly; beyond the picture everything is 0.

    Args:
      picture: uint8 (H, W, 3).
      matrix: (2, 3); takes pixel indices (column, row, 1) of the picture to those of the square.
      size: side of the square in pixels.

    Returns:
      uint8 (size, size, 3).
    """
    (a, b, x), (c, d, y) = np.asarray(matrix, np.float64)
    scale = 1 / (a * d - b * c)
    a, b, c, d = d * scale, -b * scale, -c * scale, a * scale
    x, y = -a * x - b * y, -c * x - d * y
    one, place = 1 << _POSITION_BITS, np.arange(size)
    half_step = one >> (_STEP_BITS + 1)
    result = np.empty((size, size, 3), np.uint8)
    _sample(
        np.ascontiguousarray(picture),
        np.rint(a * place * one).astype(np.int64),
        np.rint(c * place * one).astype(np.int64),
        np.rint((b * place + x) * one).astype(np.int64) + half_step,
        np.rint((d * place + y) * one).astype(np.int64) + half_step,
        result,
    )
    return result


@compiled(nogil=True)
def _sample(picture, across_x, across_y, down_x, down_y, result):
    """Writes the square; a pixel's position is the sum of its column's and its row's."""
    height, width, channels = picture.shape
    shift, steps = _POSITION_BITS - _STEP_BITS, 1 << _STEP_BITS
    for row in range(len(result)):
        for column in range(len(result)):
            x = (across_x[column] + down_x[row]) >> shift
            y = (across_y[column] + down_y[row]) >> shift
            left, top = x >> _STEP_BITS, y >> _STEP_BITS
            f, g = x & (steps - 1), y & (steps - 1)
            for channel in range(channels):
                value = 1 << (2 * _STEP_BITS - 1)
                for i in range(2):
                    for j in range(2):
                        if 0 <= top + i < height and 0 <= left + j < width:
                            weight = (g if i else steps - g) * (f if j else steps - f)
                            value += weight * np.int64(picture[top + i, left + j, channel])
                result[row, column, channel] = value >> (2 * _STEP_BITS)


def resize_as_opencv(picture: np.ndarray, size: int) -> np.ndarray:
    """Resizes a square, uint8 (S, S, 3), to (size, size, 3): bilinearly, without antialiasing.

    The centres of pixels are at halves; what is beyond the edge is as the edge.
    """
    if len(picture) == size:
        return picture
    low, high, low_weight, high_weight = _weights(len(picture), size)
    wide = picture.astype(np.int64)
    wide = wide[:, low] * low_weight[:, None] + wide[:, high] * high_weight[:, None]
    wide = wide >> 4
    above = low_weight[:, None, None] * wide[low] >> 16
    below = high_weight[:, None, None] * wide[high] >> 16
    return ((above + below + 2) >> 2).astype(np.uint8)


def _weights(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each new pixel the two old ones that it is between, and their weights."""
    place = np.clip(((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32), 0, old - 1)
    low = np.floor(place).astype(np.int64)
    high_weight = np.rint((place - low) * _WEIGHT).astype(np.int64)
    return low, np.minimum(low + 1, old - 1), _WEIGHT - high_weight, high_weight
