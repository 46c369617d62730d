import colorsys

import numpy as np
import pytest

from faceshifter_jax.data.augment import augment


@pytest.fixture
def picture():
    return np.random.default_rng(3).integers(60, 180, (20, 24, 3), dtype=np.uint8)


def apply(picture, seed, **options):
    options = {"horizontal_flip": False, "colour_jitter": 0.0} | options
    return augment(picture, np.random.default_rng(seed), **options)


def test_nothing_asked_for_nothing_done(picture):
    np.testing.assert_array_equal(apply(picture, 0), picture)


def test_half_are_mirrored(picture):
    flips = 0
    for seed in range(400):
        result = apply(picture, seed, horizontal_flip=True)
        flipped = np.array_equal(result, picture[:, ::-1])
        assert flipped or np.array_equal(result, picture)
        flips += flipped
    assert 150 < flips < 250


def test_jitter_depends_on_the_generator_only(picture):
    before = picture.copy()
    results = [apply(picture, seed, colour_jitter=0.4) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert results[0].dtype == np.uint8
    assert results[0].shape == picture.shape
    np.testing.assert_array_equal(picture, before)


def test_faint_jitter_hardly_changes_a_picture(picture):
    result = apply(picture, 0, colour_jitter=1e-6)
    assert np.abs(result.astype(int) - picture).max() <= 1


def test_stronger_jitter_changes_more(picture):
    def change(strength):
        results = [apply(picture, seed, colour_jitter=strength) for seed in range(40)]
        return np.mean([np.abs(result.astype(int) - picture).mean() for result in results])

    assert 0 < change(0.1) < change(0.3) < change(0.8)


def test_brightness_contrast_saturation_and_hue_all_vary(picture):
    results = [apply(picture, seed, colour_jitter=0.3) / 255 for seed in range(60)]
    brightness = np.std([result.mean() for result in results])
    contrast = np.std([result.mean(-1).std() for result in results])
    hsv = np.array([colorsys.rgb_to_hsv(*result[0, 0]) for result in results])
    assert brightness > 0.03
    assert contrast > 0.005
    assert hsv[:, 1].std() > 0.02
    assert hsv[:, 0].std() > 0.005


def test_grey_stays_grey():
    grey = np.full((8, 8, 3), 120, np.uint8)
    for seed in range(20):
        result = apply(grey, seed, colour_jitter=0.5).astype(int)
        assert np.ptp(result, axis=-1).max() <= 1
