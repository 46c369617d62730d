"""The compiled loops give the bytes of what they stand for."""

import numpy as np
import pytest
from PIL import Image

from faceshifter_jax.data import kernels


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (1, 7), (9, 1)])
def test_colours_are_those_of_pillow(height, width, mirrored):
    picture = noise(height, width, 3)
    random = np.random.default_rng(1)
    for scale in (0.3, 1.0, 3.0):
        matrix = (scale * random.standard_normal((3, 4))).astype(np.float32)
        matrix[:, 3] *= 100
        image = Image.fromarray(picture).convert("RGB", tuple(matrix.ravel().tolist()))
        expected = np.asarray(image)[:, :: -1 if mirrored else 1]
        result = kernels.transform_colours(picture, matrix, mirrored)
        np.testing.assert_array_equal(result, expected)


def test_a_part_of_a_picture_and_one_that_is_not_to_be_written_are_taken():
    picture = noise(20, 30, 3)
    picture.setflags(write=False)
    matrix = np.eye(3, 4, dtype=np.float32)
    part = picture[3:11, 5:20]
    np.testing.assert_array_equal(kernels.transform_colours(part, matrix, False), part)
    above, alpha = noise(8, 15, 3, seed=1), np.ones((8, 15), np.float32)
    np.testing.assert_array_equal(kernels.blend(part, above, alpha), above)


def test_pixels_inside_a_region_in_a_box():
    picture, region = noise(24, 30, 3), noise(24, 30, seed=1) > 128
    box = np.s_[2:20, 7:30]
    result = kernels.pixels_inside(picture, region, 2, 20, 7, 30)
    np.testing.assert_array_equal(result, picture[box][region[box]])
    nothing = kernels.pixels_inside(picture, np.zeros_like(region), 0, 24, 0, 30)
    assert nothing.shape == (0, 3)


def test_levels_are_counted_as_numpy_counts_them():
    picture, weights = noise(40, 50, 3), noise(40, 50, seed=1) / np.float32(255)
    weighed = kernels.weigh_levels(picture, weights)
    counted = kernels.count_levels(picture.reshape(-1, 3))
    for channel in range(3):
        values = picture[..., channel].ravel()
        np.testing.assert_array_equal(weighed[channel], np.bincount(values, weights.ravel(), 256))
        np.testing.assert_array_equal(counted[channel], np.bincount(values, minlength=256))


def test_every_channel_has_a_table_of_its_own():
    picture, tables = noise(12, 9, 3), noise(3, 256, seed=1)
    expected = np.stack([tables[channel][picture[..., channel]] for channel in range(3)], -1)
    np.testing.assert_array_equal(kernels.look_up(picture, tables), expected)


def test_blending_rounds_as_numpy_does_in_float32():
    below, above = noise(64, 80, 3), noise(64, 80, 3, seed=1)
    alpha = noise(64, 80, seed=2) / np.float32(255)
    under = below.astype(np.float32)
    mixed = under + (above - under) * alpha[..., None]
    expected = np.floor(mixed + np.float32(0.5)).astype(np.uint8)
    np.testing.assert_array_equal(kernels.blend(below, above, alpha), expected)
