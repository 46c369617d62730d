"""Datasets on a disk that fills up: one line, and nothing is left of them."""

import numpy as np
import pytest
import small_disks
from PIL import Image

from faceshifter_jax import cli


@pytest.fixture
def small_disk(tmp_path):
    with small_disks.small_disk(tmp_path, "100k") as path:
        yield path


def test_a_full_disk_ends_a_preparation_in_one_line(small_disk, tmp_path, capsys):
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(20):
        picture = Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8))
        picture.save(tmp_path / "photos" / f"{number}.png")
    words = ["prepare", tmp_path / "photos", small_disk / "faces", "--size", "64"]
    assert cli.main([*map(str, words), "--num-workers", "1"]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: cannot write to {small_disk}: no space is left on the disk")
    assert not list(small_disk.iterdir())
