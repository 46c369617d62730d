"""One device, four under jit and four under pmap: the same training of the real tasks.

Some parameters have no effect: a bias right before a normalisation that takes it away again.
Their gradient is 0 but for rounding, which depends on the order of summation, and Adam turns
the sign of that into a step of the whole learning rate. They are named here and must be the
only ones left out, with the running means that take them away again in evaluation; that they
have no effect shows in the metrics, which are compared too.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
WITHOUT_EFFECT = {
    "aei": r"\['start_bias'\]|\['discriminator'\]\['scale_\d'\]\['conv_1'\]\['bias'\]",
    "hear": r"\['(down_\d|up_\d|full_size)'\]\['bias'\]"
    r"|^batch_stats.*\['(down_norm_\d|up_norm_\d|full_size_norm)'\]\['norm'\]\['mean'\]",
    "arcface": r"\['(norm_3|shortcut_norm|out_norm)'\]\['norm'\]\['bias'\]"
    r"|\['embedding'\]\['bias'\]"
    r"|^batch_stats.*\['(norm_1|shortcut_norm|out_norm|embedding_norm)'\]\['norm'\]\['mean'\]",
}


def start(task, mode, devices, path):
    flags = [
        f"--xla_force_host_platform_device_count={devices}",
        "--xla_backend_optimization_level=0",  # compiles in half the time
    ]
    environment = {
        **os.environ,
        "XLA_FLAGS": " ".join(flags),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(HERE.parents[1]),
    }
    command = [sys.executable, str(HERE / "run_task_steps.py"), task, mode, str(path)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def largest_gradient(results, key):
    """The root of Adam's second moment, which no cancellation makes small."""
    moment = results[key.replace("params", "opt_state", 1).replace("']", "'][0].nu", 1)]
    return np.sqrt(moment.max() / (1 - 0.999**3))


@pytest.mark.parametrize("task", ["arcface", "aei", pytest.param("hear", marks=pytest.mark.slow)])
def test_devices_and_compilers_agree(task, tmp_path):
    results = {}
    for mode, devices in (("jit", 1), ("jit", 4), ("pmap", 4)):
        path = tmp_path / f"{mode}{devices}.npz"
        process = start(task, mode, devices, path)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        with np.load(path) as file:
            results[mode, devices] = dict(file)
        assert results[mode, devices].pop("devices") == devices
    one = results.pop(("jit", 1))
    without_effect = re.compile(WITHOUT_EFFECT[task])
    for other in results.values():
        assert one.keys() == other.keys()
        for key, value in one.items():
            if without_effect.search(key):
                if key.startswith("params"):
                    assert largest_gradient(one, key) < 1e-5
                continue
            # Moments are sums of gradients, which reach 10 here, and of their squares.
            scale = max(1.0, np.abs(value).max()) if key.startswith(("opt", "metric")) else 1.0
            np.testing.assert_allclose(other[key], value, rtol=0, atol=1e-5 * scale, err_msg=key)
