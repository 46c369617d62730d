"""Identities and attributes: plain, seeded, separate values."""

import dataclasses
import hashlib
import importlib
import subprocess
import sys

import numpy as np
import pytest

from faceshifter_jax.errors import UserError
from faceshifter_jax.synthetic import (
    OCCLUDERS,
    identity_code,
    neutral_vertices,
    render,
    render_layers,
    sample_attributes,
    sample_identity,
)
from faceshifter_jax.synthetic.model import MODEL_PATH, head_model
from faceshifter_jax.tasks.arcface import CODE_SIZE

# By its name: the package's own `render` is the function.
RENDER = importlib.import_module("faceshifter_jax.synthetic.render")

DIGEST_CODE = """
import hashlib
from faceshifter_jax.synthetic import render, sample_attributes, sample_identity
digest = hashlib.sha256()
for k in range(3):
    identity, attributes = sample_identity(k), sample_attributes(k, occluder="mask")
    digest.update(repr((identity, attributes)).encode())
    digest.update(render(identity, attributes, 48).tobytes())
print(digest.hexdigest())
"""


def _plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_plain(part) for part in value)
    if dataclasses.is_dataclass(value):
        return all(_plain(getattr(value, f.name)) for f in dataclasses.fields(value))
    return type(value) in (int, float, str)


def test_values_are_plain_hashable_and_repeatable():
    for seed in (0, 7, 123456789012):
        identity, attributes = sample_identity(seed), sample_attributes(seed)
        assert identity == sample_identity(seed)
        assert attributes == sample_attributes(seed)
        assert _plain(identity)
        assert _plain(attributes)
        assert len({identity, sample_identity(seed)}) == 1
        assert hash(attributes) == hash(sample_attributes(seed))
    assert len({sample_identity(seed) for seed in range(50)}) == 50


def test_the_same_pictures_in_another_process():
    digest = hashlib.sha256()
    for k in range(3):
        identity, attributes = sample_identity(k), sample_attributes(k, occluder="mask")
        digest.update(repr((identity, attributes)).encode())
        digest.update(render(identity, attributes, 48).tobytes())
    run = subprocess.run(
        [sys.executable, "-c", DIGEST_CODE], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == digest.hexdigest()


def test_occluders_are_in_a_quarter_of_the_pictures():
    kinds = [sample_attributes(seed).occluder.kind for seed in range(800)]
    share = 1 - kinds.count("none") / len(kinds)
    assert 0.20 < share < 0.30
    assert set(kinds) == {"none", *OCCLUDERS}


def test_the_choice_of_occluder_changes_nothing_else():
    free = sample_attributes(11, occluder="none")
    for kind in (*OCCLUDERS, "random"):
        other = sample_attributes(11, occluder=kind)
        assert dataclasses.replace(other, occluder=free.occluder) == free
        assert kind == "random" or other.occluder.kind == kind


def test_attributes_vary_as_pictures_do():
    drawn = [sample_attributes(seed) for seed in range(400)]
    yaw = np.array([attributes.yaw for attributes in drawn])
    assert 12 < yaw.std() < 22
    assert np.abs(yaw).max() <= 38
    brightness = np.array([np.mean(attributes.skin.tone) for attributes in drawn])
    assert brightness.min() < 0.3
    assert brightness.max() > 0.75
    assert len({attributes.hair.style for attributes in drawn}) == 10


def test_people_differ_as_much_as_people_do():
    one, other = (neutral_vertices(sample_identity(seed)) for seed in (1, 2))
    gap = np.sqrt(((other - one) ** 2).sum(1))
    assert gap.max() > 0.04
    assert gap.max() < 0.6


@pytest.fixture
def draw(monkeypatch):
    """Renders and gives the layers with the unposed vertices that were drawn."""
    drawn = []
    draw_head = RENDER._draw_head

    def note(samples, vertices, *others):
        drawn.append(vertices.copy())
        draw_head(samples, vertices, *others)

    monkeypatch.setattr(RENDER, "_draw_head", note)

    def run(identity, attributes):
        layers = render_layers(identity, attributes, 64)
        return layers, drawn.pop()

    return run


@pytest.mark.parametrize("part", ["light", "skin", "hair", "background", "clothes", "occluder"])
def test_changing_an_attribute_leaves_the_geometry_alone(part, draw):
    identity = sample_identity(1)
    before = sample_attributes(6, occluder="none")
    other = sample_attributes(2, occluder="mask")
    after = dataclasses.replace(before, **{part: getattr(other, part)})
    (one, vertices), (two, moved) = (draw(identity, attributes) for attributes in (before, after))
    assert np.array_equal(vertices, moved)
    assert np.array_equal(one.landmarks, two.landmarks)
    assert not np.array_equal(one.image, two.image)


def test_an_expression_moves_everybody_alike(draw):
    identity = sample_identity(1)
    neutral = neutral_vertices(identity) - neutral_vertices(None)
    for seed in range(3):
        attributes = sample_attributes(seed)
        _, vertices = draw(identity, attributes)
        mean = RENDER._expressive(neutral_vertices(None), attributes)
        assert np.abs(vertices - neutral_vertices(identity)).max() > 0.01
        np.testing.assert_allclose(vertices - mean, neutral, rtol=0, atol=2e-6)


def test_skull_and_neck_are_everybodys():
    rest = head_model().rest
    fixed = (rest[:, 1] > 1.2) | (rest[:, 1] < -1.0) | (rest[:, 2] < -0.25)
    for seed in range(10):
        shape = neutral_vertices(sample_identity(seed))
        assert np.array_equal(shape[fixed], rest[fixed])


@pytest.mark.parametrize("kind", ["Glasses", "", "beard"])
def test_unknown_occluder_is_one_clear_line(kind):
    with pytest.raises(UserError, match="use random, none, glasses"):
        sample_attributes(0, occluder=kind)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None])
def test_bad_seed_is_one_clear_line(seed):
    with pytest.raises(UserError, match="seed"):
        sample_identity(seed)
    with pytest.raises(UserError, match="seed"):
        sample_attributes(seed)


def test_stored_model_is_small():
    assert MODEL_PATH.stat().st_size < 2_500_000


def test_codes_are_what_makes_a_person_at_one_scale():
    people = [sample_identity(seed) for seed in range(400)]
    codes = np.stack([identity_code(person) for person in people])
    assert codes.shape == (400, CODE_SIZE)
    assert codes.dtype == np.float32
    assert np.abs(codes.mean(0)).max() < 0.4
    assert codes.std(0).min() > 0.7
    assert codes.std(0).max() < 1.4
    # Every number that makes a person is in it.
    changed = dataclasses.replace(people[0], brow_gap=people[0].brow_gap + 0.021)
    difference = identity_code(changed) - codes[0]
    np.testing.assert_allclose(np.abs(difference).max(), 1, rtol=1e-3)
    assert np.count_nonzero(np.abs(difference) > 1e-5) == 1
