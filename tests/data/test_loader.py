import hashlib
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from small_pictures import SIZE, colour_of, make_picture, save_picture

from faceshifter_jax.data import PreparedDataset, build_loader, prepare_folder
from faceshifter_jax.errors import UserError

EVERYTHING = {
    "same_picture_share": 0.3,
    "same_identity_share": 0.2,
    "horizontal_flip": True,
    "colour_jitter": 0.3,
}


def load(kind, path, num_batches, batch_size=8, seed=1, first_step=0, process=(0, 1), **settings):
    """The first batches of a loader."""
    loader = build_loader(
        kind,
        {"path": str(path)} | settings,
        seed=seed,
        batch_size=batch_size,
        image_size=SIZE,
        first_step=first_step,
        process_index=process[0],
        process_count=process[1],
    )
    batches = [next(loader) for _ in range(num_batches)]
    loader.close()
    return batches


def assert_equal_batches(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def rows_of(batch):
    return zip(batch["source"], batch["target"], batch["same"], strict=True)


def number_of(picture):
    """Which picture it is, by its colour."""
    distances = [np.abs(picture[8, 8].astype(int) - colour_of(n)).sum() for n in range(20)]
    return int(np.argmin(distances))


def test_shapes_and_dtypes_of_pairs(dataset_path):
    (batch,) = load("pairs", dataset_path, 1)
    assert set(batch) == {"source", "target", "same"}
    for name in ("source", "target"):
        assert batch[name].shape == (8, SIZE, SIZE, 3)
        assert batch[name].dtype == np.uint8
    assert batch["same"].shape == (8,)
    assert batch["same"].dtype == np.float32


def test_same_marks_the_same_picture(dataset_path):
    batches = load("pairs", dataset_path, 60, same_picture_share=0.4, same_identity_share=0.2)
    shares = []
    for batch in batches:
        for source, target, same in rows_of(batch):
            assert same == (number_of(source) == number_of(target))
            shares.append(same)
    assert np.mean(shares) == pytest.approx(0.4, abs=0.07)


def test_same_identity_can_count_as_the_same(dataset_path):
    settings = {"same_picture_share": 0.2, "same_identity_share": 0.3}
    plain = load("pairs", dataset_path, 60, **settings)
    counted = load("pairs", dataset_path, 60, reconstruct_same_identity=True, **settings)
    identity_of = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, None, None]
    for batch in counted:
        for source, target, same in rows_of(batch):
            one, other = number_of(source), number_of(target)
            assert same == (
                one == other
                or (identity_of[one] is not None and identity_of[one] == identity_of[other])
            )
    assert np.mean([batch["same"] for batch in counted]) == pytest.approx(0.5, abs=0.07)
    for batch, other in zip(plain, counted, strict=True):
        np.testing.assert_array_equal(batch["source"], other["source"])


def test_every_target_is_visited_equally_often(flat_path):
    batches = load("pairs", flat_path, 15, batch_size=4)
    numbers = [number_of(picture) for batch in batches for picture in batch["target"]]
    np.testing.assert_array_equal(np.bincount(numbers), np.full(10, 6))


def test_labelled_pictures(dataset, dataset_path):
    batches = load("identities", dataset_path, 5)
    seen = []
    for batch in batches:
        assert batch["label"].dtype == np.int32
        for picture, label in zip(batch["image"], batch["label"], strict=True):
            seen.append(number_of(picture))
            name = dataset.metadata["identity_names"][label]
            assert name == ["anna", "films/bert", "films/carl", "dora"][seen[-1] // 3]
    # 40 rows: four epochs of the ten pictures whose identity is known.
    np.testing.assert_array_equal(np.bincount(seen), np.full(10, 4))


@pytest.mark.parametrize("kind", ["pairs", "identities"])
def test_any_step_can_be_the_first(dataset_path, kind):
    settings = EVERYTHING if kind == "pairs" else {"horizontal_flip": True, "colour_jitter": 0.3}
    from_zero = load(kind, dataset_path, 9, **settings)
    assert_equal_batches(from_zero[6:], load(kind, dataset_path, 3, first_step=6, **settings))


def test_a_late_first_step_takes_no_longer(dataset_path):
    begin = time.perf_counter()
    load("pairs", dataset_path, 1, first_step=10**9)
    assert time.perf_counter() - begin < 10


@pytest.mark.parametrize(
    "settings",
    [
        {"num_threads": 0},
        {"num_threads": 1},
        {"num_threads": 7, "prefetch_batches": 3},
        {"cache_megabytes": 0},
    ],
)
def test_threads_and_cache_change_nothing(dataset_path, settings):
    expected = load("pairs", dataset_path, 12, **EVERYTHING)
    assert_equal_batches(expected, load("pairs", dataset_path, 12, **EVERYTHING, **settings))


def test_processes_share_the_global_batch(dataset_path):
    expected = load("pairs", dataset_path, 5, **EVERYTHING)
    parts = [load("pairs", dataset_path, 5, process=(i, 4), **EVERYTHING) for i in range(4)]
    joined = [
        {name: np.concatenate([batch[name] for batch in step]) for name in step[0]}
        for step in zip(*parts, strict=True)
    ]
    assert_equal_batches(expected, joined)


def test_seeds_make_a_difference(dataset_path):
    one, other = (load("pairs", dataset_path, 1, seed=seed)[0] for seed in (1, 2))
    assert not np.array_equal(one["source"], other["source"])


HASH_IN_A_NEW_PROCESS = """
import hashlib, sys
from faceshifter_jax.data import build_loader
loader = build_loader(
    "pairs", {{"path": sys.argv[1], **{settings}}}, seed=1, batch_size=8, image_size=16,
    first_step=4,
)
batch = next(loader)
print(hashlib.sha256(b"".join(batch[name].tobytes() for name in sorted(batch))).hexdigest())
print("tensorflow" in sys.modules)
loader.close()
"""


def test_another_process_gives_the_same_batch_without_tensorflow(dataset_path):
    code = HASH_IN_A_NEW_PROCESS.format(settings=EVERYTHING)
    output = subprocess.run(
        [sys.executable, "-c", code, str(dataset_path)], capture_output=True, text=True, check=True
    ).stdout.split()
    batch = load("pairs", dataset_path, 5, **EVERYTHING)[4]
    content = b"".join(batch[name].tobytes() for name in sorted(batch))
    assert output == [hashlib.sha256(content).hexdigest(), "False"]


def test_flips_are_the_same_for_the_same_picture_and_independent_otherwise(dataset_path):
    flips = {0.0: [], 1.0: []}
    for batch in load("pairs", dataset_path, 60, same_picture_share=0.5, horizontal_flip=True):
        for source, target, same in rows_of(batch):
            pair = (source[0, -1].min() == 255, target[0, -1].min() == 255)
            flips[float(same)].append(pair)
    assert {(0, 0), (1, 1)} == set(flips[1.0])
    kinds, counts = np.unique(flips[0.0], axis=0, return_counts=True)
    assert len(kinds) == 4
    np.testing.assert_allclose(counts / counts.sum(), 0.25, atol=0.1)


def test_jitter_is_the_same_for_the_same_picture(flat_path):
    for batch in load("pairs", flat_path, 10, same_picture_share=1.0, colour_jitter=0.5):
        np.testing.assert_array_equal(batch["source"], batch["target"])
        originals = [make_picture(n) for n in range(10)]
        assert not any(np.array_equal(batch["target"][0], original) for original in originals)


def test_info_and_waiting_time(dataset_path):
    loader = build_loader(
        "pairs", {"path": str(dataset_path)}, seed=0, batch_size=4, image_size=SIZE
    )
    assert (loader.info.num_pictures, loader.info.num_identities) == (12, 4)
    assert loader.info.image_size == SIZE
    assert loader.wait_seconds == 0
    assert iter(loader) is loader
    next(loader)
    waited = loader.wait_seconds
    assert waited > 0
    time.sleep(0.3)
    next(loader)
    assert loader.wait_seconds - waited < 0.2
    loader.close()


def test_close_ends_the_threads(dataset_path):
    before = set(threading.enumerate())
    loader = build_loader(
        "pairs", {"path": str(dataset_path)}, seed=0, batch_size=4, image_size=SIZE
    )
    next(loader)
    assert set(threading.enumerate()) - before
    loader.close()
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline, "threads are still running"
        time.sleep(0.01)


def build(path, kind="pairs", image_size=SIZE, **arguments):
    arguments = {"seed": 0, "batch_size": 4} | arguments
    return build_loader(kind, {"path": str(path)}, image_size=image_size, **arguments)


def test_another_size_names_both(dataset_path):
    with pytest.raises(UserError, match=r"16 pixels.* needs 64: .*--size 64"):
        build(dataset_path, image_size=64)


def test_a_batch_must_divide(dataset_path):
    with pytest.raises(UserError, match="6 cannot be divided among 4"):
        build(dataset_path, batch_size=6, process_count=4)
    with pytest.raises(UserError, match="batch_size"):
        build(dataset_path, batch_size=0)


def test_negative_seeds_are_refused(dataset_path):
    with pytest.raises(UserError, match="seed"):
        build(dataset_path, seed=-1)


def test_unknown_identities_cannot_be_classified(flat_path):
    with pytest.raises(UserError, match="one sub-folder per identity"):
        build(flat_path, kind="identities")


def test_a_single_picture_is_too_few(tmp_path):
    save_picture(tmp_path / "photos/1.png", 1)
    out = prepare_folder(tmp_path / "photos", tmp_path / "out", size=SIZE)
    assert len(PreparedDataset(out)) == 1
    with pytest.raises(UserError, match="single picture"):
        build(out)
