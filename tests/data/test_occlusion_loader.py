"""Occlusions in the batches of a loader."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from small_pictures import SIZE, make_picture

from faceshifter_jax.data import PreparedDataset, build_loader
from faceshifter_jax.data.augment import augment
from faceshifter_jax.data.order import visit
from faceshifter_jax.data.pairs import PictureSet, build_pair_choosers
from faceshifter_jax.data.settings import DataSettings, read_settings
from faceshifter_jax.errors import UserError

EVERYTHING = {
    "same_picture_share": 0.4,
    "same_identity_share": 0.2,
    "horizontal_flip": True,
    "colour_jitter": 0.3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three cut-outs: black, white and half-transparent."""
    path = tmp_path_factory.mktemp("cutouts")
    for number, colour in enumerate([(0, 0, 0, 255), (255, 255, 255, 255), (90, 90, 90, 128)]):
        pixels = np.zeros((12, 10, 4), np.uint8)
        pixels[1:-1, 1:-1] = colour
        Image.fromarray(pixels).save(path / f"{number}.png")
    return path


def load(path, num_batches, first_step=0, process=(0, 1), **settings):
    loader = build_loader(
        "pairs",
        {"path": str(path)} | settings,
        seed=1,
        batch_size=8,
        image_size=SIZE,
        first_step=first_step,
        process_index=process[0],
        process_count=process[1],
    )
    batches = [next(loader) for _ in range(num_batches)]
    loader.close()
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def assert_equal_rows(some, others):
    assert some.keys() == others.keys()
    for name in some:
        np.testing.assert_array_equal(some[name], others[name])


def rows_without_occlusions(path, num_rows):
    """What the rows were before there were occlusions, drawn as they always were."""
    dataset = PreparedDataset(path)
    (chooser,) = build_pair_choosers([PictureSet(dataset.identities)], 0.4, 0.2)
    sources, targets, same = [], [], []
    for position in range(num_rows):
        rng = np.random.default_rng(np.random.SeedSequence(1, spawn_key=divmod(position, 8)))
        pair = chooser.choose(visit(1, position, dataset.num_pictures), rng)
        change = {"horizontal_flip": True, "colour_jitter": 0.3}
        targets.append(augment(dataset.picture(pair.target), rng, **change))
        source = targets[-1]
        if not pair.same_picture:
            source = augment(dataset.picture(pair.source), rng, **change)
        sources.append(source)
        same.append(np.float32(pair.same_picture))
    return {"source": np.array(sources), "target": np.array(targets), "same": np.array(same)}


@pytest.mark.parametrize("extra", [{}, {"occlusion_share": 0.0}])
def test_without_occlusions_batches_are_what_they_always_were(dataset_path, extra):
    expected = rows_without_occlusions(dataset_path, 96)
    assert_equal_rows(load(dataset_path, 12, **EVERYTHING, **extra), expected)


@pytest.mark.parametrize("built_in", [True, False])
def test_only_targets_change_and_as_many_as_asked_for(dataset_path, folder, built_in):
    plain = load(dataset_path, 60, **EVERYTHING)
    shares = {"occlusion_share": 0.3, "occluders": "" if built_in else str(folder)}
    occluded = load(dataset_path, 60, **EVERYTHING, **shares)
    np.testing.assert_array_equal(plain["source"], occluded["source"])
    np.testing.assert_array_equal(plain["same"], occluded["same"])
    changed = (plain["target"] != occluded["target"]).any((1, 2, 3))
    assert changed.mean() == pytest.approx(0.3, abs=0.06)
    reconstructed = changed[plain["same"] == 1]
    assert reconstructed.mean() == pytest.approx(0.3, abs=0.1)
    # More occlusions: those that were there stay.
    more = load(dataset_path, 60, **EVERYTHING, **shares | {"occlusion_share": 0.8})
    np.testing.assert_array_equal(more["target"][changed], occluded["target"][changed])


def test_a_cut_out_too_thin_to_shrink_is_taken_as_it_is(dataset_path, tmp_path):
    pixels = np.zeros((600, 600, 4), np.uint8)
    pixels[[0, -1], [0, -1]] = 255
    Image.fromarray(pixels).save(tmp_path / "thin.png")
    load(dataset_path, 2, occlusion_share=1.0, occluders=str(tmp_path))


@pytest.mark.parametrize("built_in", [True, False])
def test_the_batch_says_where_the_occlusion_lies(dataset_path, folder, built_in):
    plain = load(dataset_path, 20, **EVERYTHING)
    shares = {"occlusion_share": 0.5, "occluders": "" if built_in else str(folder)}
    rows = load(dataset_path, 20, **EVERYTHING, **shares)
    assert rows["occluder"].dtype == np.uint8
    assert rows["occluder"].shape == rows["target"].shape[:3]
    change = np.abs(rows["target"].astype(int) - plain["target"]).max(-1)
    assert (change[rows["occluder"] == 0] <= 1).all(), "an alpha below half a level shows nothing"
    covered = rows["occluder"].max((1, 2)) > 0
    assert covered.mean() == pytest.approx(0.5, abs=0.1)
    assert change[rows["occluder"] > 200].mean() > 20


def test_the_source_of_a_pair_of_one_picture_stays_clean(flat_path, folder):
    settings = {"same_picture_share": 1.0, "occlusion_share": 1.0, "occluders": str(folder)}
    rows = load(flat_path, 10, **settings)
    assert (rows["same"] == 1).all()
    clean = {make_picture(number).tobytes() for number in range(10)}
    assert {source.tobytes() for source in rows["source"]} == clean
    assert (rows["source"] != rows["target"]).any((1, 2, 3)).all()


def test_pictures_in_memory_are_left_alone(flat_path, folder):
    # Ten pictures, eight rows a step: each is the target many times, and cached.
    settings = {"occlusion_share": 1.0, "occluders": str(folder), "num_threads": 0}
    rows = load(flat_path, 20, **settings)
    plain = load(flat_path, 20, num_threads=0)
    np.testing.assert_array_equal(rows["source"], plain["source"])


@pytest.mark.parametrize(
    "settings", [{"num_threads": 0}, {"num_threads": 7}, {"cache_megabytes": 0}]
)
def test_threads_and_cache_change_nothing(dataset_path, settings):
    occlusions = {"occlusion_share": 0.6}
    expected = load(dataset_path, 10, **EVERYTHING, **occlusions)
    assert_equal_rows(load(dataset_path, 10, **EVERYTHING, **occlusions, **settings), expected)


def test_any_step_can_be_the_first_and_processes_share_the_batch(dataset_path, folder):
    occlusions = {"occlusion_share": 0.6, "occluders": str(folder)}
    whole = load(dataset_path, 6, **EVERYTHING, **occlusions)
    late = load(dataset_path, 2, first_step=4, **EVERYTHING, **occlusions)
    assert_equal_rows(late, {name: rows[32:] for name, rows in whole.items()})
    half = load(dataset_path, 6, process=(1, 2), **EVERYTHING, **occlusions)
    mine = np.arange(48) % 8 >= 4
    assert_equal_rows(half, {name: rows[mine] for name, rows in whole.items()})


HASH_IN_A_NEW_PROCESS = """
import hashlib, sys
from faceshifter_jax.data import build_loader
loader = build_loader(
    "pairs", {{"path": sys.argv[1], **{settings}}}, seed=1, batch_size=8, image_size=16,
    first_step=4,
)
batch = next(loader)
print(hashlib.sha256(b"".join(batch[name].tobytes() for name in sorted(batch))).hexdigest())
print("faceshifter_jax.synthetic" in sys.modules)
loader.close()
"""


@pytest.mark.parametrize("built_in", [True, False])
def test_another_process_gives_the_same_and_renders_only_what_is_built_in(
    dataset_path, folder, built_in
):
    occluders = "" if built_in else str(folder)
    settings = EVERYTHING | {"occlusion_share": 0.7, "occluders": occluders}
    output = subprocess.run(
        [sys.executable, "-c", HASH_IN_A_NEW_PROCESS.format(settings=settings), str(dataset_path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    rows = load(dataset_path, 1, first_step=4, num_threads=1, **settings)
    content = b"".join(rows[name].tobytes() for name in sorted(rows))
    assert output == [hashlib.sha256(content).hexdigest(), str(built_in)]


def test_the_dataset_stays_the_same_dataset(dataset_path, folder):
    settings = {"path": str(dataset_path), "occlusion_share": 1.0, "occluders": str(folder)}
    loader = build_loader("pairs", settings, seed=0, batch_size=4, image_size=SIZE)
    assert loader.info.fingerprint == PreparedDataset(dataset_path).fingerprint
    loader.close()


def test_cut_outs_are_checked_before_the_first_batch(dataset_path, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "opaque.png")
    settings = {"path": str(dataset_path), "occlusion_share": 0.5, "occluders": str(tmp_path)}
    with pytest.raises(UserError, match=r"data\.occluders: .*opaque\.png \(no alpha channel\)"):
        build_loader("pairs", settings, seed=0, batch_size=4, image_size=SIZE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"occlusion_share": 1.5}, "data.occlusion_share must lie between 0 and 1"),
        ({"occlusion_share": -0.1}, "data.occlusion_share must lie between 0 and 1"),
        ({"occluders": None}, "data.occluders must be of type str"),
        ({"occluders": "cutouts"}, "data.occlusion_share is 0, so that none is laid"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        read_settings("pairs", {"path": "x"} | settings)


def test_occlusions_are_off_by_default_and_for_pairs_alone():
    assert DataSettings(path="x").occlusion_share == 0
    with pytest.raises(UserError, match=r"data\.occlusion_share is not a setting"):
        read_settings("identities", {"path": "x", "occlusion_share": 0.5})
