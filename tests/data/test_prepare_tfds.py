"""`faceshifter prepare tfds:NAME`: a dataset that TFDS builds becomes one of ours."""

from typing import ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds

from faceshifter_jax import cli
from faceshifter_jax.data import PreparedDataset

SIZE = 16
PEOPLE = ("Ann/of Green", "Ann_of Green", "Ben")


class _Pictures(tfds.core.GeneratorBasedBuilder):
    """Two pictures each of three people, four for training and two for testing."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(None, None, 3)), **self.MORE}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 4), "test": self._generate_examples(4, 6)}

    def _generate_examples(self, first, last):
        for number in range(first, last):
            picture = np.full((SIZE, SIZE, 3), number * 40, np.uint8)
            yield number, {"image": picture, **self.more(number)}


class TinyNamedPeople(_Pictures):
    MORE: ClassVar = {"label": tfds.features.ClassLabel(names=PEOPLE)}

    def more(self, number):
        return {"label": number % 3}


class TinyNobody(_Pictures):
    MORE: ClassVar = {"score": np.float32}

    def more(self, number):
        return {"score": 0.5}


class TinyPairs(_Pictures):
    MORE: ClassVar = {"second": tfds.features.Image(shape=(None, None, 3))}

    def more(self, number):
        return {"second": np.zeros((SIZE, SIZE, 3), np.uint8)}


class TinyNumbers(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"score": np.float32})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": iter([(0, {"score": 1.0})])}

    def _generate_examples(self):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def home_of_tfds(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))


def prepare(name, out, *words):
    return cli.main(["prepare", name, str(out), "--size", str(SIZE), "--num-workers", "1", *words])


def brightness(dataset):
    return sorted(int(dataset.picture(i).mean()) for i in range(len(dataset)))


def test_labels_are_people(tmp_path):
    assert prepare("tfds:tiny_named_people", tmp_path / "out") == 0
    dataset = PreparedDataset(tmp_path / "out")
    assert brightness(dataset) == [0, 40, 80, 120, 160, 200]
    # Two labels that would become one folder stay two people.
    assert dataset.metadata["identity_names"] == ["Ann_of Green", "Ann_of Green~1", "Ben"]
    by_person = {}
    for i in range(len(dataset)):
        person = dataset.record(i)["identity"]
        by_person.setdefault(person, []).append(int(dataset.picture(i).mean()))
    assert sorted(map(sorted, by_person.values())) == [[0, 120], [40, 160], [80, 200]]
    assert not list(tmp_path.glob(".unpacked*"))
    assert prepare("tfds:tiny_named_people", tmp_path / "again", "--identities", "none") == 0
    assert PreparedDataset(tmp_path / "again").metadata["identity_names"] == []


def test_without_labels_nobody_is_known(tmp_path):
    assert prepare("tfds:tiny_nobody", tmp_path / "out") == 0
    dataset = PreparedDataset(tmp_path / "out")
    assert len(dataset) == 6
    assert dataset.metadata["identity_names"] == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tfds:no_such_faces", "TFDS knows no dataset 'no_such_faces'"),
        ("tfds:", "names no dataset"),
        ("tfds:tiny_named_people/large", "TFDS cannot get 'tiny_named_people/large'"),
        ("tfds:tiny_numbers", "must have one picture in each example, and has only score"),
    ],
)
def test_what_cannot_be_had_is_one_line(name, reason, tmp_path, capsys):
    assert prepare(name, tmp_path / "out") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert reason in error
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".unpacked*"))


def test_of_several_pictures_the_one_called_image_is_taken(tmp_path):
    assert prepare("tfds:tiny_pairs", tmp_path / "out") == 0
    assert brightness(PreparedDataset(tmp_path / "out")) == [0, 40, 80, 120, 160, 200]
