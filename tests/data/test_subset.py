import json

import numpy as np
import pytest

from faceshifter_jax.data import PreparedDataset
from faceshifter_jax.data.subset import ListedPicture, read_subset, write_subset
from faceshifter_jax.errors import UserError

PICTURES = [
    ListedPicture(7, "films/carl/07.png", 5.25),
    ListedPicture(0, "10.png", 3.0),
    ListedPicture(11, "films/\udce9t\u00e9.png", 0.5),
]


@pytest.fixture
def listed(dataset, tmp_path):
    path = tmp_path / "mined.json"
    write_subset(path, dataset, {"share": 0.25}, PICTURES)
    return path


def change(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def read_error(path, dataset) -> str:
    with pytest.raises(UserError) as error:
        read_subset(path, dataset)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


def test_what_was_written_is_read_in_its_order(listed, dataset):
    indices = read_subset(str(listed), dataset)
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, [7, 0, 11])


def test_file_says_what_it_is(listed, dataset):
    content = json.loads(listed.read_text())
    assert content["dataset"] == str(dataset.path)
    assert content["share"] == 0.25
    assert [ListedPicture(**picture) for picture in content["pictures"]] == PICTURES
    assert sum('"index"' in line for line in listed.read_text().splitlines()) == 3


def test_list_of_another_dataset_is_refused(listed, flat_path):
    assert "another dataset" in read_error(listed, PreparedDataset(flat_path))


def test_empty_list_is_refused(listed, dataset):
    write_subset(listed, dataset, {}, [])
    assert "is empty: mine again" in read_error(listed, dataset)


def test_missing_list_says_how_to_make_one(tmp_path, dataset):
    assert "faceshifter mine" in read_error(tmp_path / "none.json", dataset)
    assert "cannot read" in read_error(tmp_path, dataset)


def test_list_of_a_later_version_is_refused(listed, dataset):
    change(listed, format="faceshifter subset 2")
    assert "this version reads" in read_error(listed, dataset)


@pytest.mark.parametrize("size", [0, 1, 40, -20, -4])
def test_truncated_list_is_refused(size, listed, dataset):
    listed.write_bytes(listed.read_bytes()[:size])
    assert "damaged" in read_error(listed, dataset)


@pytest.mark.parametrize(
    "pictures",
    [
        [{"index": -1}],
        [{"index": 12}],
        [{"index": 1.5}],
        [{"index": True}],
        [{"index": 2**70}],
        [{"index": "1"}],
        [{"index": [1]}],
        [{"index": 1}, {"index": 1}],
        [{"name": "a"}],
        [3],
        {"index": 1},
        None,
    ],
)
def test_pictures_that_do_not_exist_are_refused(pictures, listed, dataset):
    change(listed, pictures=pictures)
    assert "damaged" in read_error(listed, dataset)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[]", b'"text"', b"{}", b"[" * 100_000])
def test_other_files_are_refused(content, tmp_path, dataset):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    assert "damaged" in read_error(path, dataset)
