"""`faceshifter swap` and `faceshifter compare` from files to files."""

import csv
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from trained_workdirs import save_networks

from faceshifter_jax import cli
from faceshifter_jax.errors import UserError
from faceshifter_jax.swapping.networks import load_swap
from faceshifter_jax.swapping.swapper import Swapper
from faceshifter_jax.synthetic import render, sample_attributes, sample_identity


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two trained networks, photos of two people, and files that are no photos of anyone."""
    top = tmp_path_factory.mktemp("place")
    save_networks(top)
    (top / "people").mkdir()
    for name, identity, attributes in (("a1", 1, 1), ("a2", 1, 2), ("b", 2, 3)):
        face = render(
            sample_identity(identity), sample_attributes(attributes, occluder="none"), 256
        )
        Image.fromarray(face).save(top / f"people/{name}.png")
    Image.fromarray(np.full((120, 160, 3), 90, np.uint8)).save(top / "wall.png")
    Image.fromarray(np.full((1, 1, 3), 90, np.uint8)).save(top / "dot.png")
    (top / "text.jpg").write_text("hello")
    return top


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Networks that run a few times do not pay for compiling well."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def swapper(place):
    return Swapper.load(str(place / "aei"))


def swap(place, *options, source="people/a1.png", target="people/b.png", output="out.png"):
    words = ["swap", "--source", place / source, "--target", place / target, *options]
    if "--checkpoint" not in options:
        words += ["--checkpoint", place / "aei"]
    return cli.main([*map(str, words), "--output", str(place / output)])


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_swap_changes_the_face_alone(place, swapper):
    assert swap(place) == 0
    source, target = place / "people/a1.png", place / "people/b.png"
    before, result = pixels_of(target), pixels_of(place / "out.png")
    assert result.shape == before.shape
    changed = (result != before).any(-1)
    assert 0.1 < changed.mean() < 0.9
    assert not changed[:20, :20].any()
    assert changed[100:180, 100:160].mean() > 0.9
    np.testing.assert_array_equal(swapper.swap(source, target), result)
    np.testing.assert_array_equal(swapper.swap(pixels_of(source), pixels_of(target)), result)


def test_aligned_squares_give_the_networks_own_output(place, swapper):
    size = swapper.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    for name, picture in zip(("s", "t"), pictures, strict=True):
        Image.fromarray(picture).save(place / f"{name}.png")
    assert swap(place, "--aligned", source="s.png", target="t.png", output="square.png") == 0
    result = pixels_of(place / "square.png")
    np.testing.assert_array_equal(result, load_swap(str(place / "aei"))[0](*pictures[:, None])[0])
    larger = swapper.swap_aligned(place / "people/a1.png", place / "people/b.png")
    assert larger.shape == (size, size, 3)


def test_pictures_that_cannot_be_swapped(place, swapper):
    source, target = pixels_of(place / "people/a1.png"), pixels_of(place / "people/b.png")
    with pytest.raises(UserError, match=r"^no face was found in the source: "):
        swapper.swap(pixels_of(place / "wall.png"), target)
    with pytest.raises(UserError, match=r"^no face was found in .*/dot\.png: "):
        swapper.swap(source, place / "dot.png")
    with pytest.raises(ValueError, match="the target must be uint8"):
        swapper.swap(source, target.astype(float))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "missing.png"}, "missing.png does not exist"),
        ({"target": "text.jpg"}, "text.jpg: it is no picture in any known format"),
        ({"target": "people"}, "people is no picture"),
        ({"options": ("--aligned",), "target": "wall.png"}, "the target .*160x120 pixels"),
        ({"options": ("--checkpoint", "nowhere")}, "no weights at nowhere"),
        ({"output": "no/such/folder.png"}, "cannot write to the folder"),
        ({"output": "out.gif"}, "out.gif does not say the picture's format"),
        ({"output": "wall.png"}, "wall.png exists: .*--overwrite"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(place, capfd, changes, reason):
    before = sorted(place.rglob("*"))
    changes = {"output": "never.png"} | changes
    assert swap(place, *changes.pop("options", ()), **changes) == 2
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1, errors
    assert errors.startswith("error: ")
    assert re.search(reason, errors), errors
    assert sorted(place.rglob("*")) == before


def test_compare_prints_every_pair_and_writes_a_table(place, capfd):
    words = ["compare", place / "people", place / "wall.png", place / "text.jpg"]
    words += ["--identity", place / "identity", "--output", place / "table.csv"]
    assert cli.main([*map(str, words)]) == 0
    printed = capfd.readouterr()
    assert "3 faces, 3 pairs" in printed.out
    left_out = [line for line in printed.err.splitlines() if line.startswith("left out: ")]
    assert len(left_out) == 2
    assert "no face was found in" in left_out[0]
    with (place / "table.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["first", "second", "cosine"]
    cosines = [float(row[2]) for row in rows]
    assert cosines == sorted(cosines, reverse=True)
    pairs = {tuple(sorted(os.path.basename(name) for name in row[:2])) for row in rows}
    assert pairs == {("a1.png", "a2.png"), ("a1.png", "b.png"), ("a2.png", "b.png")}
    assert f"{cosines[0]:6.3f}" in printed.out


@pytest.mark.parametrize(
    ("pictures", "options", "reason"),
    [
        (["wall.png", "people/b.png"], [], "a face was found in 1 of 2 pictures"),
        (["missing.png"], [], "missing.png does not exist"),
        (["people"], ["--output", "{}/wall.png"], "wall.png exists"),
        (["people"], ["--identity", "nowhere"], "no weights at nowhere"),
    ],
)
def test_bad_input_of_compare(place, capfd, pictures, options, reason):
    words = ["compare", *(str(place / picture) for picture in pictures)]
    words += ["--identity", str(place / "identity"), *(o.format(place) for o in options)]
    assert cli.main(words) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert reason in last


def test_the_command_itself_prints_nothing_but_its_own_lines(place):
    command = [sys.executable, "-m", "faceshifter_jax.cli", "swap", "--checkpoint", "aei"]
    command += ["--source", "people/b.png", "--target", "wall.png", "--output", "never.png"]
    result = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: no face was found in the target wall.png: ")
    assert result.stderr.count("\n") == 1
    assert not (place / "never.png").exists()
