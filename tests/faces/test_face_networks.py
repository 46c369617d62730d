"""MediaPipe's networks against what the original TFLite files answer."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces import face_networks
from faceshifter_jax.faces.face_networks import FOLDER, NETWORKS, load_network, read_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "face_networks.npz"
# Every how many anchors are kept in the file.
EVERY = {"short_range": 2, "full_range": 5, "face_mesh": 1}
# Of numbers up to 200.
TOLERANCE = 1e-3


def check(name: str, *, with_jax: bool) -> None:
    golden, size = np.load(GOLDEN), NETWORKS[name].size
    start = (192 - size) // 2
    picture = golden["picture"][start:, start:][:size, :size]
    results = load_network(name, with_jax=with_jax)(np.stack([picture, picture[::-1]]))
    for i, result in enumerate(results):
        wanted = golden[f"{name}_{i}"]
        found = result[0].reshape(-1, wanted.shape[-1])[:: EVERY[name]]
        np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", NETWORKS)
def test_numpy_answers_as_the_original(name):
    check(name, with_jax=False)


def test_the_linen_module_answers_as_the_original():
    check("short_range", with_jax=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full_range", "face_mesh"])
def test_the_larger_linen_modules_answer_as_the_originals(name):
    check(name, with_jax=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_files_say_where_they_come_from(name):
    with safe_open(FOLDER / f"{name}.safetensors", "numpy") as file:
        source = json.loads(file.metadata()["faceshifter_jax"])
    assert source["licence"] == "Apache-2.0"
    assert source["file"].endswith(NETWORKS[name].original)
    assert source["sha256"] in (FOLDER / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_weights_that_are_not_those_of_the_package_are_refused(damage, tmp_path, monkeypatch):
    monkeypatch.setattr(face_networks, "FOLDER", tmp_path)
    if damage == "changed":
        shutil.copy(FOLDER / "full_range.safetensors", tmp_path / "short_range.safetensors")
    with pytest.raises(UserError, match="install the package again"):
        read_weights("short_range")
