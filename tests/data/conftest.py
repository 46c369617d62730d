"""Small folders of photos and datasets made of them."""

from pathlib import Path

import pytest
from small_pictures import SIZE, save_picture

from faceshifter_jax.data import PreparedDataset, prepare_folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Three people with 3 pictures, one with a single one, two pictures of unknown people."""
    folder = tmp_path_factory.mktemp("photos")
    number = 0
    for identity in ("anna", "films/bert", "films/carl"):
        for _ in range(3):
            save_picture(folder / identity / f"{number:02}.png", number)
            number += 1
    save_picture(folder / "dora/09.png", 9)
    save_picture(folder / "10.png", 10)
    save_picture(folder / "11.png", 11)
    return folder


@pytest.fixture(scope="session")
def dataset_path(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "data"
    return prepare_folder(photos, out, size=SIZE, num_workers=1)


@pytest.fixture
def dataset(dataset_path) -> PreparedDataset:
    return PreparedDataset(dataset_path)


@pytest.fixture(scope="session")
def flat_path(tmp_path_factory) -> Path:
    """Ten pictures of unknown people."""
    folder = tmp_path_factory.mktemp("flat")
    for number in range(10):
        save_picture(folder / f"{number}.png", number)
    out = tmp_path_factory.mktemp("prepared_flat") / "data"
    return prepare_folder(folder, out, size=SIZE, num_workers=1)
