"""Real signals to real processes."""

import signal

import numpy as np
import pytest
from checkpoint_arrays import read_state
from toy import FACTORIES, start_toy, toy_config

from faceshifter_jax.training.loop import train


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_the_step_and_exits_with_its_code(number, tmp_path):
    settings = {"num_steps": 100, "save_every_steps": 0, "data.step_seconds": 0.05}
    process = start_toy(tmp_path / "stopped", **settings)
    for line in process.stdout:
        if line.startswith("step 4/100"):
            process.send_signal(number)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert errors.count("\n") == 1
    assert "the same command continues" in errors
    saved = [int(path.name) for path in (tmp_path / "stopped" / "checkpoints").iterdir()]
    assert len(saved) == 1
    assert 4 <= saved[0] < 100

    train(toy_config(num_steps=100), tmp_path / "stopped", **FACTORIES)
    train(toy_config(num_steps=100), tmp_path / "whole", **FACTORIES)
    resumed, expected = read_state(tmp_path / "stopped"), read_state(tmp_path / "whole")
    assert resumed.keys() == expected.keys()
    for key in expected:
        np.testing.assert_array_equal(resumed[key], expected[key], err_msg=key)
