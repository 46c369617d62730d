"""Several photos of a person, and swaps that go part of the way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rendered_scenes import render_face
from trained_workdirs import save_networks

from faceshifter_jax import cli
from faceshifter_jax.networks.identity import blend_embeddings, mean_embedding
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.swapping.stage_functions import find_person
from faceshifter_jax.swapping.stages import load_stages
from faceshifter_jax.swapping.swapper import Swapper


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Networks that run a few times do not pay for compiling well."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Networks, three photos of one person (1) and one of another (2)."""
    top = tmp_path_factory.mktemp("sources")
    save_networks(top)
    for name, person, attributes in (("a", 1, 1), ("b", 1, 2), ("c,d", 1, 3), ("target", 2, 4)):
        Image.fromarray(render_face(person, attributes)).save(top / f"{name}.png")
    return top


@pytest.fixture(scope="module")
def swapper(place):
    return Swapper.load(str(place / "aei"))


def test_mean_and_line_of_unit_and_raw_embeddings():
    rows = jnp.asarray([[3.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(mean_embedding(rows, "unit"), [[0.5**0.5] * 2], atol=1e-6)
    np.testing.assert_allclose(mean_embedding(rows, "raw"), [[1.5, 0.5]], atol=1e-6)
    own, other = rows[:1], rows[1:]
    for strength, unit, raw in ((0, [1, 0], [3, 0]), (1, [0, 1], [0, 1])):
        np.testing.assert_allclose(blend_embeddings(own, other, strength, "unit"), [unit], 0, 1e-6)
        np.testing.assert_allclose(blend_embeddings(own, other, strength, "raw"), [raw], 0, 1e-6)
    part = np.array([0.75, 0.25])
    found = blend_embeddings(own, other, 0.25, "unit")
    np.testing.assert_allclose(found, [part / np.linalg.norm(part)], atol=1e-6)
    np.testing.assert_allclose(blend_embeddings(own, other, 0.25, "raw"), [[2.25, 0.25]], 0, 1e-6)


def test_stages_take_the_mean_and_go_part_of_the_way(place):
    stages = load_stages(str(place / "aei"), batch_size=2)
    size, (_, identity, _) = stages.image_size, stages.networks
    draw = np.random.default_rng(0).integers
    photos, target = (draw(0, 256, (n, size, size, 3), np.uint8) for n in (2, 2))
    embed = jax.jit(lambda pictures: identity.embed(to_unit_range(pictures)))
    mean = np.asarray(embed(photos)).mean(0)
    found = jax.jit(find_person)(stages.networks, photos)
    np.testing.assert_allclose(found, [mean / np.linalg.norm(mean)], atol=1e-5)
    full = stages.run([photos, photos[0]], target)
    # Twice the same photo is that photo; one person has two photos here, the other one.
    twice = np.stack([photos[0]] * 2)
    single = stages.run([photos[0], photos[0]], target)
    np.testing.assert_allclose(stages.run([twice, photos[0]], target), single, atol=1e-4)
    np.testing.assert_allclose(full[1], single[1], atol=1e-4)
    assert np.abs(full[0] - single[0]).max() > 1e-3
    # At strength 0 the target gets its own identity; close to 1, what it gets at 1.
    own = stages.run(target, target)
    np.testing.assert_allclose(stages.run([photos, photos[0]], target, 0.0), own, atol=1e-4)
    nearly = stages.run([photos, photos[0]], target, float(np.nextafter(1, 0)))
    np.testing.assert_allclose(nearly, full, atol=1e-4)
    half = stages.run([photos, photos[0]], target, 0.5)
    assert min(np.abs(half - other).max() for other in (own, full)) > 1e-3


def test_swap_command_takes_photos_and_strength(place, swapper, capsys):
    photos = [place / f"{name}.png" for name in ("a", "b", "c,d")]

    def swap(*words, output):
        words = ["swap", "--checkpoint", place / "aei", "--target", place / "target.png", *words]
        code = cli.main([*map(str, words), "--output", str(place / output)])
        with Image.open(place / output) as image:
            return code, np.asarray(image)

    code, result = swap("--source", *photos[:2], "--source", photos[2], output="all.png")
    assert code == 0
    np.testing.assert_array_equal(result, swapper.swap(photos, place / "target.png"))
    assert (result != swapper.swap(photos[0], place / "target.png")).any()
    pair = f"{place / 'target.png'}={photos[0]},{photos[1]}"
    code, mapped = swap("--map", pair, "--threshold", "-1", output="mapped.png")
    assert code == 0
    np.testing.assert_array_equal(mapped, swapper.swap(photos[:2], place / "target.png"))
    # This file's name holds a comma.
    pair = f"{place / 'target.png'}={photos[2]}"
    mapped = swap("--map", pair, "--threshold", "-1", output="comma.png")[1]
    np.testing.assert_array_equal(mapped, swapper.swap(photos[2], place / "target.png"))
    none = swap("--source", photos[0], "--strength", "0", output="none.png")[1]
    other = swap("--source", photos[1], "--strength", "0", output="other.png")[1]
    np.testing.assert_array_equal(none, other)
    capsys.readouterr()
    for value in ("1.5", "-0.1", "nan"):
        words = ["swap", "--source", "x", "--target", "y", f"--strength={value}", "--output", "z"]
        assert cli.main(words) == 2
        assert "--strength must lie between 0 and 1" in capsys.readouterr().err


def test_a_photo_of_somebody_else_is_named(place):
    people = {place / f"{name}.png": number for number, name in enumerate(("a", "b", "target"))}
    photos = list(people)
    embeddings = np.array([[1, 0], [0.9, 0.1], [-0.2, 1]], np.float32)
    swapper = Swapper(lambda sources, targets: targets, 64, embed=lambda squares: embeddings)
    notes = swapper.assign_source(photos)[1]
    assert len(notes) == 1
    assert "target.png is not much like the other photos of that person, cosine -0.15" in notes[0]
    embeddings = embeddings[[0, 1, 0]]
    assert swapper.assign_source(photos)[1] == []
