"""One device, four under jit or pmap, two processes with two each: the same training.

`zero` is jit with a divided state.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rounding_noise import WITHOUT_EFFECT
from several_processes import free_port

HERE = Path(__file__).parent
ONE_PAIR = 0.201  # of the five pairs of different people in a batch


def start(task, mode, devices, path, *several):
    flags = [os.environ["XLA_FLAGS"], f"--xla_force_host_platform_device_count={devices}"]
    environment = {
        **os.environ,
        "XLA_FLAGS": " ".join(flags),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(HERE.parents[1]),
    }
    command = [sys.executable, str(HERE / "run_task_steps.py"), task, mode, str(path), *several]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def largest_gradient(results, key):
    """The root of Adam's second moment, which no cancellation makes small."""
    moment = results[key.replace("params", "opt_state", 1).replace("']", "'][0].nu", 1)]
    return np.sqrt(moment.max() / (1 - 0.999**10))


@pytest.mark.parametrize(
    "task",
    [
        "arcface",
        "aei",
        pytest.param("aei with answers", marks=pytest.mark.slow),
        pytest.param("aei in micro-batches", marks=pytest.mark.slow),
        pytest.param("hear", marks=pytest.mark.slow),
    ],
)
def test_devices_and_compilers_agree(task, tmp_path):
    one = finish(start(task, "jit", 1, tmp_path / "one.npz"))
    assert one["devices"] == 1
    for mode in ("jit", "pmap", "zero"):
        assert_same_training(task, finish(start(task, mode, 4, tmp_path / f"{mode}.npz")), one)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["aei", "hear"])
def test_processes_agree(task, tmp_path):
    one = finish(start(task, "jit", 1, tmp_path / "one.npz"))
    for mode in ("jit", "pmap", "zero"):
        where = f"127.0.0.1:{free_port()}"
        both = [
            start(task, mode, 2, tmp_path / f"{mode}{process}.npz", where, str(process))
            for process in range(2)
        ]
        for results in map(finish, both):
            assert_same_training(task, results, one)


def finish(process):
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    with np.load(process.args[4]) as file:
        return dict(file)


def assert_same_training(task, other, one):
    assert other["devices"] == 4
    assert one.keys() == other.keys()
    without_effect = re.compile(WITHOUT_EFFECT[task.split()[0]])
    for key, value in one.items():
        if key == "devices":
            continue
        if without_effect.search(key):
            if key.startswith("params"):
                assert largest_gradient(one, key) < 1e-5
            continue
        # Moments are gradients, which reach 10 here, and change faster than what they lead to.
        scale = max(1.0, np.abs(value).max()) if key.startswith(("opt", "metric")) else 1.0
        tolerance = 1e-4 if key.startswith("opt") or "gradient_norm" in key else 1e-5
        if "nearer_source" in key:
            # The cosines agree to 1e-5, but of two nearly equal ones rounding says which is larger.
            tolerance = ONE_PAIR
        np.testing.assert_allclose(other[key], value, rtol=0, atol=tolerance * scale, err_msg=key)
