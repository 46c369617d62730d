"""Datasets whose description was damaged: one line each."""

import json
import shutil

import pytest

from faceshifter_jax.data import PreparedDataset
from faceshifter_jax.errors import UserError

FILES = ("dataset_info.json", "features.json", "metadata.json")


@pytest.fixture
def own(dataset_path, tmp_path):
    return shutil.copytree(dataset_path, tmp_path / "own")


def assert_refused(path):
    with pytest.raises(UserError, match="prepare") as caught:
        PreparedDataset(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content",
    ["", "{", "null", "[]", "7", '"text"', "{}", "[" * 100_000, "\0" * 50, "half"],
    ids=["empty", "open", "null", "list", "number", "text", "object", "deep", "zeros", "half"],
)
def test_files_that_are_no_description(name, content, own):
    if content == "half":
        content = (own / name).read_text()[: (own / name).stat().st_size // 2]
    (own / name).write_text(content)
    assert_refused(own)


def change(value, path=()):
    """Yields a JSON value with each part of it replaced by one of a wrong type, in turn."""
    for other in (None, [], {}, "text", -7, 1e300):
        yield path, other
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in list(items)[:4]:
            yield from change(item, (*path, key))


def put(value, path, other):
    if not path:
        return other
    copy = value.copy()
    copy[path[0]] = put(copy[path[0]], path[1:], other)
    return copy


@pytest.mark.parametrize("name", FILES)
def test_values_of_another_type_are_one_line_or_do_not_matter(name, own):
    original = json.loads((own / name).read_text())
    refusals = []
    for path, other in change(original):
        (own / name).write_text(json.dumps(put(original, path, other)))
        try:
            dataset = PreparedDataset(own)
            dataset.picture(0)
            dataset.record(1)
            assert dataset.summary()
        except UserError as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert not any("\n" in refusal for refusal in refusals)


def test_a_description_imports_no_module(own):
    features = json.loads((own / "features.json").read_text())
    features["pythonClassName"] = "this.NoFeature"
    (own / "features.json").write_text(json.dumps(features))
    with pytest.raises(UserError, match="which is not a feature"):
        PreparedDataset(own)
