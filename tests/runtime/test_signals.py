"""Real signals to real processes."""

import signal
import time

import numpy as np
import pytest
from checkpoint_arrays import read_state
from toy import FACTORIES, start_toy, start_two, toy_config

from faceshifter_jax.training.train import train


def wait_for(process, beginning):
    """Reads what a process prints up to a line that begins so."""
    for line in process.stdout:
        if line.startswith(beginning):
            return
    raise AssertionError(process.stderr.read())


def assert_stops_at_once(process, while_other_waits):
    _, errors = process.communicate(timeout=40)
    while_other_waits.kill()
    while_other_waits.communicate()
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "stopped at once, without saving"
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("number", "save_every_steps"),
    [
        (signal.SIGTERM, 0),
        (signal.SIGINT, 1),
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 2, marks=pytest.mark.slow),
    ],
)
def test_signal_saves_the_step_and_exits_with_its_code(number, save_every_steps, tmp_path):
    settings = {
        "num_steps": 100,
        "save_every_steps": save_every_steps,
        "data.step_seconds": 0.2,
        "keep_checkpoints": 1,
    }
    process = start_toy(tmp_path / "stopped", **settings)
    wait_for(process, "step 4/100")
    process.send_signal(number)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 128 + number, errors
    assert errors.count("\n") == 1
    assert "the same command continues" in errors
    saved = [int(path.name) for path in (tmp_path / "stopped" / "checkpoints").iterdir()]
    assert len(saved) == 1
    assert 4 <= saved[0] < 100

    for name in ("stopped", "whole"):
        train(toy_config(num_steps=100, save_every_steps=0), tmp_path / name, **FACTORIES)
    resumed, expected = read_state(tmp_path / "stopped"), read_state(tmp_path / "whole")
    assert resumed.keys() == expected.keys()
    for key in expected:
        np.testing.assert_array_equal(resumed[key], expected[key], err_msg=key)


def test_signals_that_follow_the_first_at_once_do_not_keep_it_from_saving(tmp_path):
    process = start_toy(tmp_path, num_steps=1000, **{"data.step_seconds": 0.7})
    wait_for(process, "compiled the step")
    # As `timeout` does, and then as a launcher that passes on what its group got as well.
    for number, pause in ((signal.SIGTERM, 0), (signal.SIGTERM, 0.3), (signal.SIGINT, 0)):
        process.send_signal(number)
        time.sleep(pause)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "the same command continues" in errors
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_signal_long_after_the_first_ends_the_training_at_once(tmp_path):
    process = start_toy(tmp_path, num_steps=1000, **{"data.step_seconds": 10})
    wait_for(process, "compiled the step")
    process.send_signal(signal.SIGTERM)
    time.sleep(2.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=8)
    assert process.returncode == -signal.SIGTERM
    assert not list((tmp_path / "checkpoints").iterdir())


def test_ctrl_c_before_the_first_step_does_not_wait_for_other_processes(tmp_path):
    both = start_two(tmp_path, **{"data.step_seconds": 60})
    wait_for(both[1], "[Gloo]")  # they have met, and read the first pictures now
    time.sleep(1)
    both[1].send_signal(signal.SIGINT)
    assert_stops_at_once(both[1], while_other_waits=both[0])


@pytest.mark.slow
def test_second_ctrl_c_does_not_wait_for_other_processes(tmp_path):
    both = start_two(tmp_path, **{"data.step_seconds": 20})
    wait_for(both[0], "compiled the step")
    both[0].send_signal(signal.SIGINT)
    time.sleep(2.5)
    both[0].send_signal(signal.SIGINT)
    assert_stops_at_once(both[0], while_other_waits=both[1])
