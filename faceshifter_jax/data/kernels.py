"""Compiled loops over the pixels of a picture, where numpy would need many passes.

They release Python's lock, so that the threads of a loader run in parallel, and give the same
results as numpy and Pillow, to the bit. The first use in a fresh installation compiles them, which
takes seconds; numba keeps the result next to this file.

Libraries were tried, on 256 x 256 pixels and one thread. `np.bincount` and indexing take 3 to 7
times as long (412 us against 85 of `weigh_levels`, 510 against 70 of `look_up`) and would slow the
loader down. OpenCV 5 is faster where it only multiplies (43 us against 202 of `transform_colours`),
but rounds 6 % of the values differently, and is another 150 MB next to numba, which the rendered
faces need anyway.
"""

import numpy as np

from faceshifter_jax.compiled import compiled

_KERNEL = {"nogil": True, "error_model": "numpy"}


@compiled(**_KERNEL)
def transform_colours(picture: np.ndarray, matrix: np.ndarray, mirrored: bool) -> np.ndarray:
    """Gives each pixel the colour `matrix @ (R, G, B, 1)`, rounded and clipped as in Pillow.

    Args:
        picture: uint8 (height, width, 3).
        matrix: float32 (3, 4).
        mirrored: whether to exchange left and right as well.

    Returns:
        uint8 (height, width, 3).
    """
    height, width, _ = picture.shape
    result = np.empty((height, width, 3), np.uint8)
    # Channel by channel, a row at a time, so that the arithmetic is vectorised over pixels.
    row = np.empty((3, width), np.float32)
    moved = np.empty(width, np.float32)
    half, most, least = np.float32(0.5), np.float32(255), np.float32(0)
    for y in range(height):
        for x in range(width):
            place = width - 1 - x if mirrored else x
            row[0, x] = picture[y, place, 0]
            row[1, x] = picture[y, place, 1]
            row[2, x] = picture[y, place, 2]
        for channel in range(3):
            red, green, blue = matrix[channel, 0], matrix[channel, 1], matrix[channel, 2]
            shift = matrix[channel, 3]
            for x in range(width):
                value = red * row[0, x] + green * row[1, x] + blue * row[2, x] + shift + half
                moved[x] = min(max(value, least), most)
            for x in range(width):
                result[y, x, channel] = np.uint8(moved[x])
    return result


@compiled(**_KERNEL)
def pixels_inside(
    picture: np.ndarray, region: np.ndarray, top: int, bottom: int, left: int, right: int
) -> np.ndarray:
    """Returns the pixels of a box that lie in a region, row by row: `picture[box][region[box]]`.

    Args:
        picture: uint8 (height, width, 3).
        region: bool (height, width).
        top, bottom, left, right: the box, the ends excluded and within the picture.

    Returns:
        uint8 (n, 3).
    """
    number = 0
    for y in range(top, bottom):
        for x in range(left, right):
            number += region[y, x]
    found = np.empty((number, 3), np.uint8)
    number = 0
    for y in range(top, bottom):
        for x in range(left, right):
            if region[y, x]:
                found[number, 0] = picture[y, x, 0]
                found[number, 1] = picture[y, x, 1]
                found[number, 2] = picture[y, x, 2]
                number += 1
    return found


@compiled(**_KERNEL)
def weigh_levels(colours: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums the weights of each level of each channel: `np.bincount` of every channel.

    Args:
        colours: uint8 (height, width, 3).
        weights: float32 (height, width).

    Returns:
        float64 (3, 256); summed in one order, row by row.
    """
    counts = np.zeros((3, 256), np.float64)
    height, width, _ = colours.shape
    for y in range(height):
        for x in range(width):
            weight = np.float64(weights[y, x])
            counts[0, colours[y, x, 0]] += weight
            counts[1, colours[y, x, 1]] += weight
            counts[2, colours[y, x, 2]] += weight
    return counts


@compiled(**_KERNEL)
def count_levels(pixels: np.ndarray) -> np.ndarray:
    """Counts how often each level of each channel occurs in uint8 (n, 3): int64 (3, 256)."""
    counts = np.zeros((3, 256), np.int64)
    for index in range(len(pixels)):
        counts[0, pixels[index, 0]] += 1
        counts[1, pixels[index, 1]] += 1
        counts[2, pixels[index, 2]] += 1
    return counts


@compiled(**_KERNEL)
def look_up(colours: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Replaces the levels of uint8 (height, width, 3) by those in tables, uint8 (3, 256)."""
    height, width, _ = colours.shape
    result = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            result[y, x, 0] = tables[0, colours[y, x, 0]]
            result[y, x, 1] = tables[1, colours[y, x, 1]]
            result[y, x, 2] = tables[2, colours[y, x, 2]]
    return result


@compiled(**_KERNEL)
def blend(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Returns the weighted mean of two pictures, in float32, rounded to nearest with halves
    upwards.

    Args:
        below: uint8 (height, width, 3), seen where `alpha` is 0.
        above: uint8 (height, width, 3), seen where `alpha` is 1.
        alpha: float32 (height, width) in [0, 1].

    Returns:
        uint8 (height, width, 3).
    """
    height, width, _ = below.shape
    result = np.empty((height, width, 3), np.uint8)
    half = np.float32(0.5)
    for y in range(height):
        for x in range(width):
            for channel in range(3):
                under = np.float32(below[y, x, channel])
                over = np.float32(above[y, x, channel])
                result[y, x, channel] = np.uint8(under + (over - under) * alpha[y, x] + half)
    return result
