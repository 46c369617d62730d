"""Mining with a real network and a doctored dataset, and scores of errors made by hand."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_checkpoints import save_aei, save_identity
from tiny_tasks import SIZE

from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.data import PreparedDataset, prepare_folder
from faceshifter_jax.data.subset import read_subset
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation import mine_arguments, mine_command
from faceshifter_jax.evaluation.mining import (
    rank,
    score,
    strength,
    usual_strength,
)
from faceshifter_jax.faces.region import face_weights

NUMBER = 40
FACE, CORNER = (slice(12, 22), slice(10, 22)), (slice(0, 8), slice(0, 8))
DOCTORED = {
    # index: (where, how many grey levels brighter)
    4: (FACE, 110),
    13: (FACE, 60),
    22: ((slice(14, 19), slice(12, 17)), 110),
    31: (CORNER, 110),
}


def patch_error(size, rows, columns, level):
    """An error (1, size, size, 3) of a grey level in a square; rows and columns are shares."""
    error = np.zeros((1, size, size, 3), np.float32)
    rows, columns = (slice(*(round(size * share) for share in pair)) for pair in (rows, columns))
    error[0, rows, columns] = level
    return error


def score_of(error, usual=5.0):
    size = error.shape[1]
    return float(score(strength(error), np.full((size, size), usual, np.float32))[0])


def test_errors_in_the_face_count_by_area_and_strength():
    middle = score_of(patch_error(64, (0.5, 0.6), (0.5, 0.6), 40))
    assert middle > 0
    assert score_of(patch_error(64, (0.5, 0.7), (0.5, 0.6), 40)) > 1.5 * middle
    assert score_of(patch_error(64, (0.5, 0.6), (0.5, 0.6), 80)) > 1.5 * middle
    assert score_of(patch_error(64, (0.5, 0.6), (0.5, 0.6), -40)) == middle


@pytest.mark.parametrize("corner", [(0.0, 0.1), (0.9, 1.0)])
def test_errors_in_the_background_do_not_count(corner):
    for other in ((0.0, 0.1), (0.9, 1.0)):
        assert score_of(patch_error(64, corner, other, 255)) == 0


def test_even_error_counts_by_what_it_has_above_the_usual():
    even = np.full((1, 48, 48, 3), 12.0, np.float32)
    assert score_of(even, usual=5.0) == pytest.approx(7.0, rel=1e-5)
    assert score_of(even, usual=13.0) == 0


def test_single_pixels_hardly_count():
    scattered = np.zeros((1, 160, 160, 3), np.float32)
    scattered[:, ::8, ::8] = 60
    share = np.sqrt(np.mean(scattered > 0))
    compact = patch_error(160, (0.5, 0.5 + share), (0.5, 0.5 + share), 60)
    assert score_of(scattered) == 0
    assert score_of(compact) > 0


def test_score_hardly_depends_on_the_size_of_the_pictures():
    patch = (0.4, 0.6), (0.3, 0.5), 50
    small, large = score_of(patch_error(64, *patch)), score_of(patch_error(256, *patch))
    assert small == pytest.approx(large, rel=0.1)


def test_few_bad_pictures_do_not_raise_what_is_usual():
    random = np.random.default_rng(0)
    good = random.uniform(4, 6, (20, 8, 8))
    with_bad = np.concatenate([good, np.full((5, 8, 8), 200.0)])
    assert usual_strength(with_bad).max() < 7
    assert usual_strength(np.full((3, 8, 8), 2.0)).max() == 2


def test_face_lies_inside_the_crop_for_identity():
    weights = face_weights(256)
    inside = np.flatnonzero(weights.any(1))
    assert 19 <= inside.min() < inside.max() < 237
    assert weights[138, 128] == 1
    np.testing.assert_allclose(weights, weights[:, ::-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Workdir of an AEI-Net; next to it that of its identity network."""
    top = tmp_path_factory.mktemp("trained")
    save_aei(top / "aei", save_identity(top / "identity", seed=5))
    return top / "aei"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """One picture with other noise each time, and at times a bright patch."""
    top = tmp_path_factory.mktemp("doctored")
    (top / "photos").mkdir()
    random = np.random.default_rng(0)
    blocks = random.integers(116, 140, (8, 8, 3))
    common = np.kron(blocks, np.ones((SIZE // 8, SIZE // 8, 1), int))
    for index in range(NUMBER):
        picture = common + random.integers(-2, 3, common.shape)
        if index in DOCTORED:
            where, brighter = DOCTORED[index]
            picture[where] += brighter
        Image.fromarray(picture.astype(np.uint8)).save(top / "photos" / f"{index:02}.png")
    return prepare_folder(top / "photos", top / "data", size=SIZE, num_workers=1)


@pytest.fixture(scope="module")
def larger(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("larger") / "data"
    return prepare_folder(data.parent / "photos", out, size=2 * SIZE, num_workers=1)


def run(*arguments):
    parser = argparse.ArgumentParser()
    mine_arguments.add_arguments(parser)
    mine_arguments.run(parser.parse_args([str(argument) for argument in arguments]))


def mine(trained, data, output, *more):
    run("--checkpoint", trained, "--data", data, "--output", output, *more)


def read_list(path):
    return json.loads(path.read_text())["pictures"]


@pytest.fixture(scope="module")
def mined(trained, data, tmp_path_factory):
    output = tmp_path_factory.mktemp("mined") / "mined.json"
    mine(trained, data, output, "--share", "1")
    return output


def test_doctored_pictures_are_ranked_by_what_is_in_the_face(mined, data):
    order = read_subset(mined, PreparedDataset(data))
    assert sorted(order) == list(range(NUMBER))
    scores = np.array([picture["score"] for picture in read_list(mined)])
    assert (np.diff(scores) <= 0).all()
    assert list(order[:3]) == [4, 13, 22]
    assert scores[2] > 3 * scores[3], "the patch in the background is like the rest"


def test_share_of_the_worst_is_listed(mined, trained, data, tmp_path):
    (tmp_path / "few.png").write_text("another file")
    with pytest.raises(UserError, match=r"few\.png exists"):
        mine(trained, data, tmp_path / "few.json")
    assert [path.name for path in tmp_path.iterdir()] == ["few.png"]
    mine(trained, data, tmp_path / "few.json", "--overwrite")
    content, whole = (json.loads(path.read_text()) for path in (tmp_path / "few.json", mined))
    assert content["pictures"] == whole["pictures"][:4]
    assert content["pictures"][0]["name"] == "04.png"
    assert content["share"] == 0.1
    assert content["checkpoint_sha256"] == read_weights(trained).sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few.json", "few.png"]


def test_four_devices_rank_alike(mined, trained, data, tmp_path):
    code = (
        "import sys, jax, test_mining; assert jax.device_count() == 4; "
        "test_mining.mine(*sys.argv[1:], '--share', '1')"
    )
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(map(str, (here.parents[1], here, here.parent / "tasks"))),
    }
    command = [sys.executable, "-c", code, trained, data, tmp_path / "four.json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, four = read_list(mined), read_list(tmp_path / "four.json")
    assert [picture["index"] for picture in four[:3]] == [picture["index"] for picture in one[:3]]
    scores = [
        {picture["index"]: picture["score"] for picture in pictures} for pictures in (one, four)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_contact_sheet_shows_the_worst_beside_their_errors(mined, data):
    sheet = np.asarray(Image.open(mined.with_suffix(".png")))
    pixels, gap, title = 112, 2, 18
    assert sheet.shape == (title + 8 * (pixels + gap), 5 * (2 * pixels + gap), 3)
    worst = Image.fromarray(PreparedDataset(data).picture(4)).resize((pixels, pixels))
    np.testing.assert_array_equal(sheet[title : title + pixels, :pixels], np.asarray(worst))
    error = sheet[title : title + pixels, pixels : 2 * pixels]
    in_patch, around = error[45:75, 40:70].mean(), error[:, 90:].mean()
    assert in_patch > around


def test_sheet_of_few_pictures_is_filled_up_with_white():
    pictures = np.zeros((3, 16, 16, 3), np.uint8)
    errors = np.full((3, 16, 16, 3), -32.0)
    sheet = mine_command.draw_sheet(pictures, errors)
    assert (sheet[18:130, :112] == 0).all()
    assert (sheet[18:130, 112:224] == 128).all()
    assert (sheet[18 + 3 * 114 :] == 255).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--checkpoint": "missing"}, "no weights at missing"),
        ({"--checkpoint": "IDENTITY"}, "not an AEI-Net"),
        ({"--identity": "missing"}, "--identity"),
        ({"--data": "missing"}, "no prepared dataset at missing"),
        ({"--data": "PHOTOS"}, "is not a prepared dataset"),
        ({"--data": "LARGER"}, "prepare it again with --size 32"),
        ({"--share": "0"}, "must be above 0"),
        ({"--share": "1.5"}, "must be above 0 and at most 1"),
        ({"--share": "nan"}, "must be above 0"),
        ({"--share": "0.01"}, "lists none"),
        ({"--output": "mined.txt"}, "does not end in .json"),
        ({"--output": "EXISTING"}, "--overwrite"),
        ({"--output": "missing/mined.json"}, "cannot write to"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    changes, message, trained, data, larger, mined, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    places = {
        "IDENTITY": trained.parent / "identity",
        "PHOTOS": data.parent / "photos",
        "LARGER": larger,
        "EXISTING": mined,
    }
    arguments = {"--checkpoint": trained, "--data": data, "--output": "mined.json"} | {
        name: places.get(value, value) for name, value in changes.items()
    }
    before = mined.read_bytes()
    with pytest.raises(UserError, match=message) as error:
        run(*(part for pair in arguments.items() for part in pair))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
    assert mined.read_bytes() == before


def test_network_that_gives_no_numbers_is_named_as_the_cause(data):
    def no_numbers(pictures):
        return np.full(pictures.shape, np.nan, np.float32)

    with pytest.raises(UserError, match=r"error of 00\.png is not a finite number"):
        rank(PreparedDataset(data), no_numbers)
