"""Pictures: what belongs to the identity, what to the attributes, and how they look."""

import dataclasses

import numpy as np
import pytest

from faceshifter_jax.errors import UserError
from faceshifter_jax.synthetic import (
    OCCLUDERS,
    render,
    render_layers,
    sample_attributes,
    sample_identity,
)
from faceshifter_jax.synthetic.attributes import BACKGROUNDS, EXPRESSIONS, HAIR_STYLES, Framing
from faceshifter_jax.synthetic.camera import template_points

STILL = Framing(shift_x=0.0, shift_y=0.0, zoom=1.0, turn=0.0)


def _frontal(seed):
    attributes = sample_attributes(seed, occluder="none")
    return dataclasses.replace(
        attributes, yaw=0.0, pitch=0.0, roll=0.0, expression=(), framing=STILL
    )


def test_two_hundred_faces_are_sane():
    for seed in range(200):
        layers = render_layers(sample_identity(seed), sample_attributes(seed), 48)
        assert layers.image.shape == (48, 48, 3)
        assert layers.image.dtype == np.uint8
        assert layers.image.std() > 8
        for mask in (layers.occluder_mask, layers.face_mask):
            assert mask.dtype == np.float32
            assert np.isfinite(mask).all()
            assert mask.min() >= 0
            assert mask.max() <= 1
        assert 0.12 < (layers.face_mask + layers.occluder_mask).mean() < 1.0
        assert np.isfinite(layers.landmarks).all()
        assert (np.abs(layers.landmarks - 24) < 24).all()


def test_face_fills_a_sane_share_without_occluder():
    shares = []
    for k in range(60):
        attributes = sample_attributes(k, occluder="none")
        shares.append(render_layers(sample_identity(k), attributes, 48).face_mask.mean())
    assert min(shares) > 0.22
    assert max(shares) < 0.85


@pytest.mark.parametrize("seed", range(6))
def test_outside_the_face_the_identity_does_not_show(seed):
    attributes = sample_attributes(seed, occluder="none")
    one, other = (render_layers(sample_identity(k), attributes, 96) for k in (40, 41))
    outside = (one.face_mask == 0) & (other.face_mask == 0)
    assert outside.mean() > 0.1
    assert np.array_equal(one.image[outside], other.image[outside])
    inside = (one.face_mask == 1) & (other.face_mask == 1)
    gap = np.abs(one.image[inside].astype(float) - other.image[inside]).mean()
    assert gap > 1.0


@pytest.mark.parametrize("kind", OCCLUDERS)
def test_occluder_mask_is_exact_and_not_the_identitys(kind):
    areas = []
    for seed in range(8):
        attributes = sample_attributes(seed, occluder=kind)
        free = sample_attributes(seed, occluder="none")
        one = render_layers(sample_identity(3), attributes, 64)
        other = render_layers(sample_identity(4), attributes, 64)
        assert np.array_equal(one.occluder_mask, other.occluder_mask)
        without = render(sample_identity(3), free, 64)
        clear = one.occluder_mask == 0
        assert np.array_equal(one.image[clear], without[clear])
        # Where the occluder covers all, nothing of the person is left.
        full = one.occluder_mask == 1
        assert np.array_equal(one.image[full], other.image[full])
        areas.append(one.occluder_mask.mean())
    assert 0.01 < np.mean(areas) < 0.6
    assert max(areas) < 0.75
    assert ((one.occluder_mask > 0.02) & (one.occluder_mask < 0.98)).any()


def test_occluded_picture_is_a_blend_by_the_mask():
    attributes = sample_attributes(5, occluder="glasses")
    free = sample_attributes(5, occluder="none")
    with_it = [render_layers(sample_identity(k), attributes, 96) for k in (1, 2)]
    without = [render(sample_identity(k), free, 96).astype(float) for k in (1, 2)]
    rest = 1 - with_it[0].occluder_mask[..., None]
    gap = with_it[0].image.astype(float) - with_it[1].image
    assert np.abs(gap - rest * (without[0] - without[1])).max() <= 2.0


def test_no_occluder_means_an_empty_mask():
    layers = render_layers(sample_identity(0), sample_attributes(0, occluder="none"), 64)
    assert not layers.occluder_mask.any()


@pytest.mark.parametrize("size", [64, 200])
def test_landmarks_lie_on_the_template(size):
    wanted = template_points(size)
    gaps = []
    for seed in range(12):
        layers = render_layers(sample_identity(seed), _frontal(seed), size)
        gaps.append((layers.landmarks - wanted) / size)
    gaps = np.array(gaps)
    assert np.abs(gaps).max() < 0.09
    assert np.abs(gaps.mean(0)).max() < 0.035


def test_crop_is_the_same_in_every_size():
    attributes = sample_attributes(9, occluder="none")
    small, large = (render_layers(sample_identity(9), attributes, s) for s in (64, 256))
    np.testing.assert_allclose(small.landmarks * 4, large.landmarks, atol=1e-2)
    shrunk = large.image.reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(shrunk - small.image).mean() < 4


def test_turning_the_head_moves_the_nose_the_same_way():
    frontal = _frontal(2)
    noses = []
    for yaw in (-25.0, 0.0, 25.0):
        layers = render_layers(sample_identity(2), dataclasses.replace(frontal, yaw=yaw), 128)
        noses.append(layers.landmarks[2, 0] - layers.landmarks[:2, 0].mean())
    assert noses[0] < noses[1] - 5
    assert noses[2] > noses[1] + 5


def test_silhouettes_are_anti_aliased():
    attributes = sample_attributes(3, occluder="none")
    bald = dataclasses.replace(attributes, hair=dataclasses.replace(attributes.hair, style="bald"))
    mask = render_layers(sample_identity(3), bald, 64).face_mask
    levels = np.unique(mask)
    assert len(levels) >= 6
    assert 0.01 < ((mask > 0) & (mask < 1)).mean() < 0.15


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_every_hair_style_renders(style):
    attributes = sample_attributes(6, occluder="none")
    hair = dataclasses.replace(attributes.hair, style=style)
    picture = render(sample_identity(6), dataclasses.replace(attributes, hair=hair), 48)
    assert picture.std() > 8


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_every_background_renders(kind):
    attributes = sample_attributes(6, occluder="none")
    background = dataclasses.replace(attributes.background, kind=kind)
    picture = render(sample_identity(6), dataclasses.replace(attributes, background=background), 48)
    assert picture.std() > 8


def test_every_expression_changes_the_face():
    frontal = _frontal(8)
    neutral = render(sample_identity(8), frontal, 64).astype(float)
    for name, units in EXPRESSIONS.items():
        moved = dataclasses.replace(frontal, expression=tuple(units.items()))
        gap = np.abs(render(sample_identity(8), moved, 64) - neutral).mean()
        assert gap > 0.2 or name == "neutral", name


@pytest.mark.parametrize("size", [31, 1025, 64.0, "64", None])
def test_bad_size_is_one_clear_line(size):
    with pytest.raises(UserError, match="32 to 1024"):
        render(sample_identity(0), sample_attributes(0), size)


@pytest.mark.parametrize("size", [32, 97])
def test_odd_sizes_render(size):
    assert render(sample_identity(0), sample_attributes(0), size).shape == (size, size, 3)


@pytest.mark.parametrize("kind", ["glasses", "shape"])
def test_a_picture_is_the_same_after_any_other(kind):
    """What people share under the same attributes is kept; nobody's changes show in it."""
    who, others = sample_identity(3), [sample_identity(seed) for seed in (4, 5)]
    attributes = sample_attributes(6, occluder=kind)
    first = render_layers(who, attributes, 64)
    expected = [layer.copy() for layer in vars(first).values()]
    for layer in vars(first).values():
        layer[:] = 0
    for other in others:
        for size in (64, 48):
            for layer in vars(render_layers(other, attributes, size)).values():
                layer[:] = 1
    render(who, sample_attributes(7), 64)
    again = render_layers(who, attributes, 64)
    for layer, wanted in zip(vars(again).values(), expected, strict=True):
        np.testing.assert_array_equal(layer, wanted)
