"""`faceshifter prepare --faces detect`: raw photographs into a dataset."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from wall_faces import SIDE, WallDetector, face_square, scene

from faceshifter_jax import cli
from faceshifter_jax.data import PreparedDataset, prepare_photos
from faceshifter_jax.data.preparation.raw_photos import sharpness
from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import align
from faceshifter_jax.files import unfinished_work
from faceshifter_jax.synthetic import render_layers, sample_attributes, sample_identity

QUICK = "wall_faces:WallDetector"
SIZE = 64


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two people, photos of every kind that is rejected, and files that are no photos."""
    folder = tmp_path_factory.mktemp("raw")
    first, second = face_square(1), face_square(2)
    for i in range(10):
        save(folder / f"anna/{i:02}.png", scene([(first, 20 + 5 * i, 30)]))
    save(folder / "bert/one.jpg", scene([(second, 40, 20)]))
    save(folder / "bert/two.png", scene([(second, 0, 20), (first, 170, 30)]))
    small = np.asarray(Image.fromarray(second).resize((30, 30)))
    save(folder / "bert/crowd.png", scene([(second, 0, 20), (small, 250, 10)]))
    save(folder / "bert/small.png", scene([(small, 40, 20)]))
    blurred = np.asarray(Image.fromarray(second).filter(ImageFilter.GaussianBlur(5)))
    save(folder / "bert/blurred.png", scene([(blurred, 40, 20)]))
    save(folder / "bert/wall.png", scene([]))
    (folder / "bert/text.jpg").write_text("hello")
    (folder / "bert/gone.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "bert/pipe.png")
    save(folder / "unknown.png", scene([(first, 100, 30)]))
    return folder


def prepare(photos, out, **options):
    options = {"size": SIZE, "detector": QUICK, "num_workers": 1} | options
    return prepare_photos(photos, out, **options)


def table_of(out):
    header, *rows = (out / "photos.tsv").read_text().splitlines()
    columns = header.split("\t")
    return {
        row["name"]: row for row in (dict(zip(columns, r.split("\t"), strict=True)) for r in rows)
    }


def test_faces_are_aligned_and_every_rejection_has_its_reason(photos, tmp_path):
    out = prepare(photos, tmp_path / "out", single=True, min_pixels=SIZE)
    dataset, table = PreparedDataset(out), table_of(out)
    reasons = {name: row["reason"] for name, row in table.items() if row["reason"]}
    assert reasons == {
        "bert/blurred.png": "blurred",
        "bert/gone.png": "unreadable",
        "bert/pipe.png": "unreadable",
        "bert/small.png": "too small",
        "bert/text.jpg": "unreadable",
        "bert/two.png": "several faces",
        "bert/wall.png": "no face",
    }
    names = [dataset.record(i)["name"] for i in range(len(dataset))]
    assert names == [name for name in table if name not in reasons]
    assert dataset.metadata["identity_names"] == ["anna", "bert"]
    assert dataset.image_size == SIZE
    left_out = (out / "left_out.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in left_out] == list(reasons)
    assert left_out[1].endswith("\tunreadable (it does not exist)")
    assert left_out[2].endswith("\tunreadable (it is a folder or the like, not a picture)")
    with Image.open(photos / "anna/03.png") as image:
        landmarks = np.array(table["anna/03.png"]["landmarks"].split(), float).reshape(5, 2)
        wanted = align(np.asarray(image), landmarks, SIZE).astype(int)
    assert np.abs(dataset.picture(names.index("anna/03.png")) - wanted).mean() < 3
    assert float(table["anna/03.png"]["pixels"]) == pytest.approx(SIDE, rel=0.4)
    # Without the rule, the largest face is taken.
    anyone = PreparedDataset(prepare(photos, tmp_path / "anyone", min_pixels=SIZE))
    assert len(anyone) == len(dataset) + 1


def read_all(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_the_number_of_processes_changes_nothing(photos, tmp_path):
    for workers in (1, 2):
        prepare(photos, tmp_path / f"out{workers}", num_workers=workers)
    assert read_all(tmp_path / "out1") == read_all(tmp_path / "out2")


def test_a_killed_run_goes_on(tmp_path):
    for number in range(60):
        save(tmp_path / f"photos/{number:02}.png", scene([(face_square(1), number, 30)]))
    whole = prepare(tmp_path / "photos", tmp_path / "whole")
    out = tmp_path / "out"
    log = tmp_path / ".out.unfinished/findings"
    run = (
        "import sys; sys.path.insert(0, sys.argv[3])\n"
        "from faceshifter_jax.data import prepare_photos\n"
        "if __name__ == '__main__':\n"
        "    prepare_photos(sys.argv[1], sys.argv[2], size=64, num_workers=1,\n"
        f"                   detector={QUICK!r})\n"
    )
    (tmp_path / "run.py").write_text(run)
    tests = str(Path(__file__).parent.parent)
    command = [sys.executable, tmp_path / "run.py", tmp_path / "photos", out, tests]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (log.exists() and log.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == [".out.unfinished"]
    # What it left is of no use to another plan.
    assert list((tmp_path / ".out.unfinished").glob(".out.partial-*"))
    shutil.copytree(tmp_path / ".out.unfinished", tmp_path / ".other.unfinished")
    with unfinished_work(tmp_path / "other", {"another": "plan"}) as work:
        assert sorted(os.listdir(work.folder)) == ["lock", "work.json"]
    # As if it had been killed while it wrote.
    with log.open("ab") as file:
        file.write(b"\x40\0\0\0half")
    prepare(tmp_path / "photos", out)
    assert read_all(out) == read_all(whole)
    left = [name for name in os.listdir(tmp_path) if name.startswith(".")]
    assert left == []


def test_bad_input_leaves_nothing(photos, tmp_path, capsys):
    save(tmp_path / "walls/1.png", scene([]))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"none of the 1 files .*no face \(none was found\)"):
        prepare(tmp_path / "walls", tmp_path / "out")
    with pytest.raises(UserError, match="there is no face detector"):
        prepare(photos, tmp_path / "out", detector="nothing")
    with pytest.raises(UserError, match="must not be negative"):
        prepare(photos, tmp_path / "out", min_pixels=-1)
    words = ["prepare", str(photos), str(tmp_path / "out"), "--single"]
    assert cli.main(words) == 2
    assert "--single: these are for --faces detect" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_photos_by_the_usual_detector(tmp_path, capsys):
    size = 320
    for seed in range(3):
        layers = render_layers(
            sample_identity(seed), sample_attributes(seed + 100, occluder="none"), size
        )
        room = np.full((600, 800, 3), (90, 110, 130), np.uint8)
        room[150 : 150 + size, 200 : 200 + size] = layers.image
        save(tmp_path / f"photos/{seed}/a.jpg", room)
        np.save(tmp_path / f"{seed}.npy", layers.landmarks + np.array([200, 150]))
    words = ["prepare", str(tmp_path / "photos"), str(tmp_path / "out"), "--size", "128"]
    assert cli.main([*words, "--faces", "detect", "--num-workers", "1"]) == 0
    assert "3 pictures of 128 pixels, 3 known identities" in capsys.readouterr().out
    table = table_of(tmp_path / "out")
    for seed in range(3):
        found = np.array(table[f"{seed}/a.jpg"]["landmarks"].split(), float).reshape(5, 2)
        error = np.hypot(*(found - np.load(tmp_path / f"{seed}.npy")).T).mean()
        assert error < 0.1 * 0.267 * size


def test_sharpness_falls_with_blur():
    picture, landmarks = Image.fromarray(face_square(3, 256)), WallDetector().landmarks * 2
    values = [
        sharpness(np.asarray(picture.filter(ImageFilter.GaussianBlur(radius))), landmarks)
        for radius in (0, 1, 2, 4, 8)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 25 > values[-1]
