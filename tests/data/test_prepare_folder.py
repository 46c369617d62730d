import itertools
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from small_pictures import SIZE, make_picture, save_picture

from faceshifter_jax.data import PreparedDataset, build_loader, prepare_folder
from faceshifter_jax.errors import UserError


def test_every_sub_folder_is_an_identity(dataset):
    assert dataset.num_pictures == len(dataset) == 12
    assert dataset.num_identities == 4
    assert dataset.metadata["identity_names"] == ["anna", "dora", "films/bert", "films/carl"]
    np.testing.assert_array_equal(dataset.identities, [-1, -1, 0, 0, 0, 1, 2, 2, 2, 3, 3, 3])
    assert dataset.image_size == SIZE


def test_records_hold_picture_identity_and_name(dataset):
    for index in range(len(dataset)):
        record = dataset.record(index)
        number = int(record["name"].split("/")[-1].removesuffix(".png"))
        assert record["identity"] == dataset.identities[index]
        np.testing.assert_array_equal(dataset.picture(index), make_picture(number))
    assert dataset.record(6)["name"] == "films/bert/03.png"


def test_cached_pictures_are_the_same(dataset, dataset_path):
    cached = PreparedDataset(dataset_path, cache_megabytes=1)
    for _ in range(2):
        for index in range(len(dataset)):
            np.testing.assert_array_equal(cached.picture(index), dataset.picture(index))


def test_plain_tfds_reads_it(dataset_path):
    builder = tfds.builder_from_directory(dataset_path)
    assert builder.info.splits["train"].num_examples == 12
    record = builder.as_data_source("train")[3]
    np.testing.assert_array_equal(record["image"], make_picture(1))
    assert record["identity"] == 0


def test_a_flat_folder_has_no_known_identity(flat_path):
    dataset = PreparedDataset(flat_path)
    assert dataset.num_identities == 0
    assert set(dataset.identities) == {-1}


def test_broken_files_are_named_and_left_out(tmp_path, capsys):
    save_picture(tmp_path / "photos/good/1.png", 1)
    (tmp_path / "photos/bad").mkdir()
    (tmp_path / "photos/bad/text.jpg").write_text("hello")
    (tmp_path / "photos/bad/empty.PNG").touch()
    (tmp_path / "photos/readme.txt").write_text("no picture, and not taken for one")
    out = prepare_folder(tmp_path / "photos", tmp_path / "out", size=SIZE, num_workers=1)

    dataset = PreparedDataset(out)
    assert [dataset.record(i)["name"] for i in range(len(dataset))] == ["good/1.png"]
    assert dataset.metadata["identity_names"] == ["good"]
    left_out = (out / "left_out.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in left_out] == ["bad/empty.PNG", "bad/text.jpg"]
    errors = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("left out bad/") for line in errors) == 2
    assert not any("readme" in line for line in errors)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "does not exist"),
        (lambda folder: folder.write_text(""), "is not a folder"),
        (lambda folder: folder.mkdir(), "holds no picture"),
        (
            lambda folder: (folder.mkdir(), (folder / "a.jpg").write_text("hello")),
            "none of the 1 files",
        ),
    ],
)
def test_unusable_folders_are_refused_and_leave_nothing(tmp_path, make, message):
    make(tmp_path / "photos")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        prepare_folder(tmp_path / "photos", tmp_path / "out", size=SIZE)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("arguments", [{"size": 0}, {"size": 10**5}, {"num_workers": 0}])
def test_senseless_numbers_are_refused(photos, tmp_path, arguments):
    with pytest.raises(UserError, match=r"must"):
        prepare_folder(photos, tmp_path / "out", **arguments)


def test_an_existing_dataset_is_replaced_only_on_demand(tmp_path):
    save_picture(tmp_path / "a/1.png", 1)
    save_picture(tmp_path / "b/2.png", 2)
    out = tmp_path / "out"
    prepare_folder(tmp_path / "a", out, size=SIZE)
    with pytest.raises(UserError, match="--overwrite"):
        prepare_folder(tmp_path / "b", out, size=SIZE)
    assert PreparedDataset(out).record(0)["name"] == "1.png"
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError):
        prepare_folder(tmp_path / "empty", out, size=SIZE, overwrite=True)
    assert PreparedDataset(out).record(0)["name"] == "1.png"
    prepare_folder(tmp_path / "b", out, size=SIZE, overwrite=True)
    assert PreparedDataset(out).record(0)["name"] == "2.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "empty", "out"]


def test_what_is_no_dataset_is_never_overwritten(photos, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("years of work")
    with pytest.raises(UserError, match="not a prepared dataset"):
        prepare_folder(photos, tmp_path / "thesis", size=SIZE, overwrite=True)
    assert (tmp_path / "thesis/chapter.txt").read_text() == "years of work"


def test_an_empty_directory_is_filled(photos, tmp_path):
    (tmp_path / "out").mkdir()
    prepare_folder(photos, tmp_path / "out", size=SIZE, num_workers=1)
    assert len(PreparedDataset(tmp_path / "out")) == 12


def test_an_exception_midway_leaves_nothing(photos, tmp_path, monkeypatch):
    from faceshifter_jax.data.preparation import builders

    seen = []

    def fail_at_the_fifth(path, size):
        seen.append(path)
        if len(seen) == 5:
            raise RuntimeError("the disk is full")
        return read_photo(path, size)

    read_photo = builders.read_photo
    monkeypatch.setattr(builders, "read_photo", fail_at_the_fifth)
    with pytest.raises(RuntimeError, match="the disk is full"):
        prepare_folder(photos, tmp_path / "out", size=SIZE, num_workers=1)
    assert not list(tmp_path.iterdir())


def read_files(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_one_worker_and_two_write_the_same_bytes(tmp_path):
    for number in range(25):
        save_picture(tmp_path / f"photos/{number % 4}/{number}.png", number, size=SIZE + number)
    (tmp_path / "photos/broken.jpg").write_text("hello")
    for num_workers in (1, 2):
        out = tmp_path / f"out{num_workers}"
        prepare_folder(tmp_path / "photos", out, size=SIZE, num_workers=num_workers)
    assert read_files(tmp_path / "out1") == read_files(tmp_path / "out2")


def test_wrong_paths_say_how_to_prepare(tmp_path, photos):
    with pytest.raises(UserError, match="faceshifter prepare PHOTOS OUT"):
        PreparedDataset(tmp_path / "missing")
    with pytest.raises(UserError, match="faceshifter prepare PHOTOS OUT"):
        PreparedDataset(photos)


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"")])
def test_a_damaged_dataset_is_refused(photos, tmp_path, damage):
    out = prepare_folder(photos, tmp_path / "out", size=SIZE, num_workers=1)
    damage(next(out.glob("*array_record*")))
    with pytest.raises(UserError, match="prepare it again"):
        PreparedDataset(out)


@pytest.fixture
def own_dataset(dataset_path, tmp_path):
    return shutil.copytree(dataset_path, tmp_path / "own")


def flip_bits(path, begin, number):
    content = bytearray(path.read_bytes())
    for index in range(begin, begin + number):
        content[index] ^= 255
    path.write_bytes(content)


def test_a_record_that_the_disk_has_changed_is_named(own_dataset, dataset):
    records = next(own_dataset.glob("*array_record*"))
    encoded = dataset.record(2)["image"]
    flip_bits(records, records.read_bytes().index(encoded) + len(encoded) // 2, 8)
    damaged = PreparedDataset(own_dataset)
    np.testing.assert_array_equal(damaged.picture(3), dataset.picture(3))
    for read in (damaged.picture, damaged.record):
        with pytest.raises(UserError, match=r"damaged: prepare it again \(record 2: ") as error:
            read(2)
        assert "\n" not in str(error.value)


def test_records_that_were_cut_off_under_an_open_dataset_are_named(own_dataset):
    damaged = PreparedDataset(own_dataset)
    os.truncate(next(own_dataset.glob("*array_record*")), 100)
    for read in (damaged.picture, damaged.record):
        with pytest.raises(UserError, match=r"damaged: prepare it again .*record 5"):
            read(5)


def test_a_loader_says_that_a_record_is_damaged(own_dataset):
    settings = {"path": str(own_dataset), "num_threads": 2}
    loader = build_loader("pairs", settings, seed=0, batch_size=4, image_size=SIZE)
    os.truncate(next(own_dataset.glob("*array_record*")), 100)
    with closing(loader), pytest.raises(UserError, match="damaged: prepare it again"):
        list(itertools.islice(loader, 20))


def test_photographs_have_no_scene(dataset):
    with pytest.raises(UserError, match="holds photographs"):
        dataset.scene(0)


def test_metadata_is_plain_json(dataset_path):
    assert json.loads((dataset_path / "metadata.json").read_text())["size"] == SIZE


def test_grey_photographs_among_others(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("L", (40, 30), 77).save(tmp_path / "photos/grey.png")
    out = prepare_folder(tmp_path / "photos", tmp_path / "out", size=SIZE)
    np.testing.assert_allclose(PreparedDataset(out).picture(0), 77, atol=1)


def test_linked_folders_are_followed_once(photos, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/linked").symlink_to(photos / "anna")
    (tmp_path / "photos/again").symlink_to(tmp_path / "photos")
    out = prepare_folder(tmp_path / "photos", tmp_path / "out", size=SIZE, num_workers=1)
    dataset = PreparedDataset(out)
    assert len(dataset) == 3
    assert dataset.metadata["identity_names"] == ["linked"]


def test_file_names_need_not_be_utf8(tmp_path):
    folder = tmp_path / "photos"
    for number, raw in enumerate([b"J\xfcrgen", "Žofie".encode()]):
        save_picture(folder / os.fsdecode(raw) / "1.png", number)
    (folder / os.fsdecode(b"\xff.jpg")).write_text("hello")
    out = prepare_folder(folder, tmp_path / "out", size=SIZE, num_workers=1)
    dataset = PreparedDataset(out)
    names = [dataset.record(index)["name"] for index in range(2)]
    assert all((folder / name).is_file() for name in names)
    assert (out / "left_out.txt").read_bytes().startswith(b"\xff.jpg\t")


def test_tensorflow_is_not_needed(photos, tmp_path):
    code = (
        "import sys; from faceshifter_jax.data import prepare_folder\n"
        "prepare_folder(sys.argv[1], sys.argv[2], size=16, num_workers=1)\n"
        "print('tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(photos), str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_records_keep_their_order_over_several_files(tmp_path, monkeypatch):
    from faceshifter_jax.data.preparation import builders

    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(11):
        Image.new("RGB", (64, 64), (10 * number, 0, 0)).save(photos / f"{number:02d}.png")
    monkeypatch.setattr(builders, "_SHARD_PIXELS", 4 * 32**2)
    monkeypatch.setattr(builders, "_BATCH_PIXELS", 3 * 32**2)
    out = prepare_folder(photos, tmp_path / "out", size=32, num_workers=1)
    assert len(list(out.glob("*array_record*"))) == 3
    dataset = PreparedDataset(out)
    names = [dataset.record(index)["name"] for index in range(11)]
    assert names == [f"{number:02d}.png" for number in range(11)]
    reds = [int(dataset.picture(index)[16, 16, 0]) for index in range(11)]
    np.testing.assert_allclose(reds, 10 * np.arange(11), atol=1)
