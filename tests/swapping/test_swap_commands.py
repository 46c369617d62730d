"""`faceshifter swap` and `faceshifter compare` from files to files."""

import csv
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from rendered_scenes import render_face, render_scene
from trained_workdirs import save_networks

from faceshifter_jax import cli
from faceshifter_jax.errors import UserError
from faceshifter_jax.media.provenance.reading import read_provenance
from faceshifter_jax.swapping.stages import load_stages
from faceshifter_jax.swapping.swapper import Swapper


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two trained networks, photos of two people, and files that are no photos of anyone."""
    top = tmp_path_factory.mktemp("place")
    save_networks(top)
    (top / "people").mkdir()
    for name, identity, attributes in (("a1", 1, 1), ("a2", 1, 2), ("b", 2, 3)):
        Image.fromarray(render_face(identity, attributes)).save(top / f"people/{name}.png")
    (top / "crowd").mkdir()
    Image.fromarray(render_scene((1, 2))).save(top / "crowd/both.png")
    for name, person in (("ann", 1), ("ben", 2)):
        Image.fromarray(render_face(person, 31 + person)).save(top / f"{name}=1.png")
    Image.fromarray(np.full((120, 160, 3), 90, np.uint8)).save(top / "wall.png")
    Image.fromarray(np.full((1, 1, 3), 90, np.uint8)).save(top / "dot.png")
    (top / "text.jpg").write_text("hello")
    return top


@pytest.fixture(scope="module")
def swapper(place):
    return Swapper.load(str(place / "aei"))


def swap(place, *options, source="people/a1.png", target="people/b.png", output="out.png"):
    words = ["swap", "--target", place / target, *options]
    if source:
        words += ["--source", place / source]
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
    stages = load_stages(str(place / "aei"))
    np.testing.assert_array_equal(result, stages.swap(*pictures[:, None])[0])
    larger = swapper.swap_aligned(place / "people/a1.png", place / "people/b.png")
    assert larger.shape == (size, size, 3)


def test_pictures_that_cannot_be_swapped(place, swapper):
    source, target = pixels_of(place / "people/a1.png"), pixels_of(place / "people/b.png")
    with pytest.raises(UserError, match=r"^no face was found in the source: "):
        swapper.swap(pixels_of(place / "wall.png"), target)
    with pytest.raises(UserError, match=r"^no face was found in the target .*/dot\.png: "):
        swapper.swap(source, place / "dot.png")
    with pytest.raises(ValueError, match="the target must be uint8"):
        swapper.swap(source, target.astype(float))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "missing.png"}, "missing.png does not exist"),
        ({"target": "text.jpg"}, "text.jpg: it is not a picture in any known format"),
        ({"target": "people"}, "people is a folder: name one to write into, not .*never.png"),
        ({"options": ("--aligned",), "target": "wall.png"}, "the target .*160x120 pixels"),
        ({"options": ("--checkpoint", "nowhere")}, "no weights at nowhere"),
        ({"output": "no/such/folder.png"}, "cannot write to the folder"),
        ({"output": "out.gif"}, "out.gif: the format .gif is not written: end its name in one of"),
        ({"output": "out.mp4"}, "out.mp4: the format .mp4 is not written: end its name in one of"),
        ({"output": "out"}, "out says no picture's format: end its name in one of .png"),
        ({"options": ("--save-masks", "")}, "--save-masks is empty: name a file or a folder"),
        ({"output": "wall.png"}, "wall.png exists: .*--overwrite"),
        ({"output": "out.bmp"}, "out.bmp: BMP cannot say .* --no-provenance"),
        ({"source": None}, "either --source PHOTO or --map"),
        ({"options": ("--map", "a=b")}, "either --source PHOTO or --map"),
        ({"options": ("--map", "nothing"), "source": None}, "PERSON=SOURCE, two photos, not 'no"),
        ({"options": ("--map", "no=face"), "source": None}, "the picture no does not exist"),
        ({"options": ("--threshold", "2")}, "--threshold is a cosine"),
        ({"options": ("--detector", "eyes")}, "no face detector eyes: known are blazeface mtcnn"),
        (
            {"options": ("--threshold", "0.4")},
            "--threshold has no effect without --map: leave it out",
        ),
        ({"options": ("--detector", "os:path")}, "os:path cannot be made: TypeError"),
        ({"options": ("--save-error", "e.xyz")}, "e.xyz: the format .xyz is not written"),
        (
            {"options": ("--save-error", "e.png", "--save-masks", "./e.png")},
            "--save-error and --save-masks are both ./e.png: name another place for one",
        ),
        ({"target": "crowd", "options": ("--aligned",)}, "--aligned takes one --source and one"),
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


def test_one_place_for_two_outputs_is_refused(place, capfd):
    for target, output in (("people/b.png", "twice.png"), ("crowd", "twice")):
        options = ("--save-error", place / output, "--overwrite")
        assert swap(place, *options, target=target, output=output) == 2
        assert "--output and --save-error are both" in capfd.readouterr().err
        assert not (place / output).exists()


def test_one_person_twice_is_refused(place, capfd):
    ann, ben = place / "ann=1.png", place / "ben=1.png"
    (place / "link.png").symlink_to(ann)
    pairs = (f"{ann}={ben}", f"{place / 'link.png'}={ben}")
    assert swap(place, "--map", *pairs, source=None, output="never.png") == 2
    assert capfd.readouterr().err.endswith("link.png twice: one person becomes one other\n")


def test_nothing_is_left_after_sigterm(place):
    command = [sys.executable, "-m", "faceshifter_jax.cli", "swap", "--checkpoint", "aei"]
    command += ["--source", "people/a1.png", "--target", "people/b.png", "--output", "late.png"]
    process = subprocess.Popen(command, cwd=place)
    # It is there from the beginning, and loading and compiling the networks takes seconds.
    deadline = time.monotonic() + 120
    while not list(place.glob(".late.png.*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.terminate()
    assert process.wait(timeout=240) == 128 + signal.SIGTERM
    assert list(place.glob("*late.png*")) == []


def test_a_callers_own_handling_of_sigterm_stays(place):
    assert swap(place, source=None) == 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert swap(place, source=None) == 2
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_output_says_what_it_is_unless_told_not_to(place, swapper):
    assert swap(place, "--no-provenance", output="silent.png") == 0
    assert read_provenance(place / "silent.png") is None
    assert swap(place, "--overwrite", output="silent.png") == 0
    said = read_provenance(place / "silent.png")
    assert said == swapper.provenance
    assert said.checkpoint_sha256 == load_stages(str(place / "aei")).generator.sha256


def test_all_faces_with_their_errors_and_masks(place, capfd):
    assert swap(place, target="crowd/both.png", output="largest.png") == 0
    assert "of its 2 faces the largest is swapped" in capfd.readouterr().err
    extra = ["--save-error", place / "error.png", "--save-masks", place / "masks.png"]
    code = swap(place, "--faces", "all", *extra, target="crowd/both.png", output="all.png")
    assert code == 0
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()] == ["wrote"] * 3
    before, one, both = (
        pixels_of(place / name) for name in ("crowd/both.png", "largest.png", "all.png")
    )
    np.testing.assert_array_equal((one != before)[:, :640], (both != before)[:, :640])
    assert not (one != before)[:, 640:].any()
    assert (both != before)[:, 640:].any()
    error, masks = pixels_of(place / "error.png"), pixels_of(place / "masks.png")
    assert error.shape[0] == masks.shape[0] > 2 * 32  # two rows of 32 pixels
    assert error.shape[1] < masks.shape[1]
    assert read_provenance(place / "masks.png") is not None


def test_people_by_name(place, capfd):
    ann, ben = place / "ann=1.png", place / "ben=1.png"
    pair = f"{ann}={place / 'people/b.png'}"
    # An untrained identity network finds everyone alike.
    options = ("--map", pair, f"{ben}={ann}", "--threshold", "-1")
    assert swap(place, *options, source=None, target="crowd/both.png", output="mapped.png") == 0
    assert capfd.readouterr().err == ""
    before, after = pixels_of(place / "crowd/both.png"), pixels_of(place / "mapped.png")
    changed = (before != after).any(-1)
    assert changed[:, :640].any()
    assert changed[:, 640:].any()
    one = ("--map", pair, "--threshold", "-1", "--overwrite")
    assert swap(place, *one, source=None, target="crowd/both.png", output="mapped.png") == 0
    told = capfd.readouterr().err
    assert "left as it is, the face of" in told
    assert f"the nearest is {ann}, cosine" in told
    strict = ("--map", pair, "--threshold", "1", "--overwrite")
    assert swap(place, *strict, source=None, target="crowd/both.png", output="mapped.png") == 2
    assert "none of the people to be replaced was found in" in capfd.readouterr().err


def test_a_folder_of_targets_with_a_bad_one_among_them(place, capfd, swapper):
    folder = place / "many"
    (folder / "below").mkdir(parents=True)
    for name in ("one.png", "below/two.jpg", "three.bmp"):
        Image.fromarray(pixels_of(place / "people/b.png")).save(folder / name)
    (folder / "broken.png").write_text("hello")
    assert swap(place, target="many", output="many/out") == 2
    captured = capfd.readouterr()
    assert "broken.png: it is not a picture in any known format" in captured.err
    assert captured.err.splitlines()[-1].startswith("error: 1 of 4 pictures were left out")
    assert "wrote 3 pictures into" in captured.out
    written = sorted(
        p.relative_to(folder / "out").as_posix() for p in (folder / "out").rglob("*.*")
    )
    assert written == ["below/two.jpg", "one.png", "three.bmp.png"]
    expected = swapper.swap(place / "people/a1.png", folder / "one.png")
    np.testing.assert_array_equal(pixels_of(folder / "out/one.png"), expected)
    assert all(read_provenance(folder / "out" / name) for name in written)
    (folder / "out/one.png").unlink()
    (folder / "broken.png").unlink()
    for count in ("1 picture", "0 pictures"):
        there = 2 if count == "1 picture" else 3
        assert swap(place, target="many", output="many/out") == 0
        assert capfd.readouterr().out.splitlines() == [
            f"wrote {count} into {folder / 'out'}",
            f"{there} were there already: pass --overwrite to replace them",
        ]


def test_two_targets_of_one_output(place, capfd):
    (place / "pair").mkdir()
    for name in ("a.gif", "a.gif.png"):
        Image.fromarray(pixels_of(place / "people/b.png")).save(place / "pair" / name)
    assert swap(place, "--overwrite", target="pair", output="pair/out") == 2
    captured = capfd.readouterr()
    assert "left out: a.gif.png and a.gif would both become a.gif.png: rename" in captured.err
    assert captured.out == f"wrote 1 picture into {place / 'pair/out'}\n"
    with Image.open(place / "pair/a.gif") as image:
        palette = np.asarray(image.convert("RGB"))[:20, :20]
    np.testing.assert_array_equal(pixels_of(place / "pair/out/a.gif.png")[:20, :20], palette)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(place, capfd):
    (place / "locked").mkdir(mode=0o500)
    assert swap(place, output="locked/a.png") == 2
    assert "cannot write to the folder" in capfd.readouterr().err
    assert swap(place, target="crowd", output="locked/many") == 2
    assert "cannot write to the folder" in capfd.readouterr().err


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


def test_names_need_not_be_utf8(place):
    """Nor may the end of the work fail at printing them, as in the locale en_US.UTF-8."""
    folder = os.fsencode(place / "names")
    os.mkdir(folder)
    source, target, output = (folder + b"/%s\xe9.png" % name for name in (b"s", b"t", b"o"))
    for path in (source, target):
        Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(os.fsdecode(path))
    words = ["swap", "--aligned", "--checkpoint", place / "aei", "--source", source]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "faceshifter_jax.cli",
            *words,
            "--target",
            target,
            "--output",
            output,
        ],
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"o\\xe9.png" in done.stdout
    assert os.path.getsize(output) > 100
    assert sorted(os.listdir(folder)) == [b"o\xe9.png", b"s\xe9.png", b"t\xe9.png"]
