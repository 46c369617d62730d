"""One step body on one device and on four: real processes, four fake devices."""

import re

import numpy as np
import pytest
from checkpoint_arrays import read_state
from toy import FACTORIES, start_toy, start_two, toy_config

from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.errors import UserError
from faceshifter_jax.training.train import train


def run_toy(workdir, **settings):
    process = start_toy(workdir, **settings)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


def assert_close(first, second):
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_allclose(first[key], second[key], atol=1e-5, err_msg=key)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one")
    train(toy_config(num_steps=40), workdir, **FACTORIES)
    return read_state(workdir)


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_four_devices_give_the_parameters_of_one(mode, one_device, tmp_path):
    output = run_toy(tmp_path, devices=4, num_steps=40, parallel=mode)
    assert "devices: 4 x cpu" in output
    assert_close(read_state(tmp_path), one_device)
    weights = read_weights(tmp_path)
    np.testing.assert_allclose(
        weights.params["generator"]["mix"], one_device["ema_params.generator.mix"], atol=1e-5
    )


def test_training_moves_from_one_device_to_four_and_from_jit_to_pmap(one_device, tmp_path):
    train(toy_config(num_steps=10), tmp_path, **FACTORIES)
    run_toy(tmp_path, devices=4, num_steps=20, parallel="jit")
    run_toy(tmp_path, devices=4, num_steps=30, parallel="pmap")
    train(toy_config(num_steps=40), tmp_path, **FACTORIES)
    assert_close(read_state(tmp_path), one_device)


WIDE = {"model.width": 64}  # enough for a divided state


def test_divided_state_gives_the_parameters_of_a_whole_one(tmp_path):
    train(toy_config(num_steps=40, **WIDE), tmp_path / "one", **FACTORIES)
    divided = {"sharding": "zero", **WIDE}
    output = run_toy(tmp_path / "four", devices=4, num_steps=10, **divided)
    assert re.search(r"state: divided over the devices, 0\.0 MiB on each in place of 0\.", output)
    # Two processes continue it divided, four devices whole, and one alone.
    both = start_two(tmp_path / "four", num_steps=20, **divided)
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    output = run_toy(tmp_path / "four", devices=4, num_steps=30, **WIDE)
    assert "divided" not in output
    assert "sharding zero -> replicated" in output
    train(toy_config(num_steps=40, **WIDE), tmp_path / "four", **FACTORIES)
    assert_close(read_state(tmp_path / "four"), read_state(tmp_path / "one"))


def test_divided_state_needs_jit(tmp_path):
    with pytest.raises(UserError, match=r"config\.sharding=zero needs config\.parallel=jit"):
        train(toy_config(parallel="pmap", sharding="zero"), tmp_path, **FACTORIES)
    with pytest.raises(UserError, match="unknown sharding 'one': choose one of replicated, zero"):
        train(toy_config(sharding="one"), tmp_path, **FACTORIES)


def test_batch_that_does_not_divide_is_refused(tmp_path):
    process = start_toy(tmp_path, devices=4, batch_size=6)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert errors == (
        "error: batch_size 6 cannot be divided among 4 devices: make it a multiple of 4\n"
    )


def test_training_of_300_steps_on_two_fake_devices_ends(tmp_path):
    """Collectives of steps that are queued together would wait for each other for ever."""
    output = run_toy(tmp_path, devices=2, num_steps=300, log_every_steps=100, save_every_steps=0)
    assert "step 300/300" in output
