"""Trainings of the real tasks that are restarted, moved to other devices, or killed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoint_arrays import read_state
from killing import train_through_kills
from rounding_noise import WITHOUT_EFFECT

ROOT = Path(__file__).parent.parent
SMALL = {
    "arcface": [
        "--config.model.depth=10",
        "--config.model.width=4",
        "--config.model.embedding_size=8",
        "--config.model.input_size=16",
    ],
    "aei": [
        "--config.model.encoder_channels=(4,6)",
        "--config.model.generator_channels=(6,6,4)",
        "--config.model.aad.num_units=1",
        "--config.discriminator.num_scales=2",
        "--config.discriminator.width=4",
        "--config.discriminator.num_layers=1",
        "--config.identity.embedding_size=8",
    ],
    "hear": ["--config.model.channels=(4,6)", "--config.model.input_skip=False"],
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Steps of milliseconds do not pay for compiling again and again."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def start(compiled):
    """Starts a training run of one of the tasks in a process with so many devices."""

    def start_training(name, workdir, steps, *options, devices=1):
        flags = os.environ["XLA_FLAGS"], f"--xla_force_host_platform_device_count={devices}"
        settings = [
            *("--config.batch_size=4", "--config.image_size=32", "--config.log_every_steps=1"),
            *("--config.sample_every_steps=0", f"--config.num_steps={steps}"),
            f"--config.compilation_cache={compiled}",
        ]
        command = ["train.py", "--config", f"configs/{name}.py", "--workdir", workdir]
        return subprocess.Popen(
            [sys.executable, *map(str, (*command, *settings, *SMALL[name], *options))],
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(flags)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start_training


@pytest.fixture(scope="module")
def train(start):
    def train_to_the_end(*arguments, **devices):
        process = start(*arguments, **devices)
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, output + errors
        return output

    return train_to_the_end


@pytest.fixture(scope="module")
def needs(train, tmp_path_factory):
    """What each task needs on its command line: pictures and frozen networks."""
    top = tmp_path_factory.mktemp("needs")
    render = ["-m", "faceshifter_jax.cli", "render", top / "faces", "--identities=5",
              "--pictures=3", "--size=32", "--num-workers=1"]  # fmt: skip
    subprocess.run([sys.executable, *map(str, render)], cwd=ROOT, check=True, capture_output=True)
    arcface = [f"--config.data.path={top / 'faces'}"]
    train("arcface", top / "identity", 1, *arcface)
    aei = [*arcface, f"--config.identity.weights={top / 'identity'}"]
    train("aei", top / "aei", 1, *aei)
    hear = [*aei, f"--config.aei.weights={top / 'aei'}"]
    return {"arcface": arcface, "aei": aei, "hear": hear}


@pytest.mark.parametrize("task", ["arcface", "hear"])  # aei: tests/test_end_to_end.py
def test_restarted_training_equals_one_that_was_not_bit_for_bit(task, train, needs, tmp_path):
    options = [
        *needs[task],
        "--config.data.horizontal_flip=True",
        "--config.data.colour_jitter=0.3",
        *(["--config.optimizer.schedule=constant"] if task == "arcface" else []),
    ]
    train(task, tmp_path / "whole", 4, *options)
    train(task, tmp_path / "parts", 2, *options)
    again = train(task, tmp_path / "parts", 4, *options)
    assert "step 3/4" in again
    assert "step 2/4" not in again
    assert_equal_bits(read_state(tmp_path / "parts"), read_state(tmp_path / "whole"))


@pytest.mark.parametrize("task", ["aei", "hear"])
def test_training_moves_between_compilers_and_devices(task, train, needs, tmp_path):
    train(task, tmp_path / "whole", 6, *needs[task])
    train(task, tmp_path / "moved", 2, *needs[task], devices=4)
    train(task, tmp_path / "moved", 4, *needs[task], "--config.parallel=pmap", devices=4)
    output = train(task, tmp_path / "moved", 6, *needs[task])
    assert "devices: 1 x cpu, compiled by jit" in output
    moved, whole = read_state(tmp_path / "moved"), read_state(tmp_path / "whole")
    assert moved.keys() == whole.keys()
    without_effect = re.compile(WITHOUT_EFFECT[task])
    for key, value in whole.items():
        part, *rest = key.split(".")
        if without_effect.search(part + "".join(f"['{name}']" for name in rest)):
            continue
        # Moments are gradients, and change faster than what they lead to.
        tolerance = 1e-4 * max(1.0, np.abs(value).max()) if part == "opt_state" else 1e-5
        np.testing.assert_allclose(moved[key], value, rtol=0, atol=tolerance, err_msg=key)


def test_aei_training_that_is_killed_ten_times_ends_as_one_that_never_was(
    start, train, needs, tmp_path
):
    killed, steps = tmp_path / "killed", 300
    options = [*needs["aei"], "--config.save_every_steps=1"]
    train_through_kills(lambda: start("aei", killed, steps, *options), killed, 10)
    train("aei", tmp_path / "whole", steps, *needs["aei"])
    assert_equal_bits(read_state(killed), read_state(tmp_path / "whole"))
    assert not (killed / "damaged_checkpoints").exists()


def assert_equal_bits(first, second):
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)
