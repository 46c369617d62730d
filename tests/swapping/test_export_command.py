"""An exported swap, run by a process that cannot import this package."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from trained_workdirs import save_networks

from faceshifter_jax.cli import main
from faceshifter_jax.swapping.stages import load_stages

PROGRAM = """
import sys
sys.modules["faceshifter_jax"] = None
import jax, numpy as np
swap = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
pictures = np.load(sys.argv[2])
np.save(sys.argv[3], swap.call(pictures["source"], pictures["target"]))
"""


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    return save_networks(tmp_path_factory.mktemp("trained"))


@pytest.mark.parametrize("batch", [1, 5])
def test_an_exported_swap_is_the_same_elsewhere(batch, workdirs, tmp_path):
    out = tmp_path / "swap.stablehlo"
    assert main(["export", str(workdirs[0]), str(out), "--batch", str(batch)]) == 0
    facts = json.loads((tmp_path / "swap.stablehlo.json").read_text())
    assert facts["alignment"] == "arcface"
    assert facts["platforms"] == ["cpu", "cuda", "tpu"]
    stages = load_stages(str(workdirs[0]))
    assert facts["provenance"]["checkpoint_sha256"] == stages.generator.sha256
    shape = tuple(facts["inputs"]["source"]["shape"])
    assert shape == (batch, stages.image_size, stages.image_size, 3)
    draw = np.random.default_rng(batch).integers
    source, target = (draw(0, 256, shape, np.uint8) for _ in range(2))
    np.savez(tmp_path / "pictures.npz", source=source, target=target)
    subprocess.run(
        [sys.executable, "-c", PROGRAM, out, tmp_path / "pictures.npz", tmp_path / "result.npy"],
        check=True,
    )
    wanted = jax.device_get(stages.swap(source, target))
    found = np.load(tmp_path / "result.npy")
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert np.ptp(found) > 20


def test_a_batch_without_pictures_and_a_file_that_is_there_are_refused(workdirs, tmp_path, capsys):
    out = tmp_path / "swap.stablehlo"
    assert main(["export", str(workdirs[0]), str(out), "--batch", "0"]) == 2
    assert "--batch must be at least 1, not 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    out.write_text("mine")
    assert main(["export", str(workdirs[0]), str(out)]) == 2
    assert out.read_text() == "mine"
