"""`config.profile_steps`: a trace of the right steps, which changes nothing."""

import re

import jax
import numpy as np
from toy import FACTORIES, toy_config

from faceshifter_jax.training.train import train


def traces(workdir):
    return sorted((workdir / "profile").rglob("*.xplane.pb"))


def test_a_trace_of_some_steps_and_the_same_training(tmp_path, capsys):
    plain = train(toy_config(num_steps=16), tmp_path / "plain", **FACTORIES)
    assert traces(tmp_path / "plain") == []
    config = toy_config(num_steps=16)
    with config.unlocked():
        config.profile_steps = 3
    capsys.readouterr()
    traced = train(config, tmp_path / "traced", **FACTORIES)
    (file,) = traces(tmp_path / "traced")
    assert file.stat().st_size > 1000
    assert re.search(
        r"traced steps 11 to 13: tensorboard --logdir .*profile", capsys.readouterr().out
    )
    jax.tree.map(np.testing.assert_array_equal, plain, traced)


def test_a_run_that_ends_earlier_leaves_a_trace_of_fewer_steps(tmp_path):
    config = toy_config(num_steps=12)
    with config.unlocked():
        config.profile_steps = 100
    train(config, tmp_path, **FACTORIES)
    assert len(traces(tmp_path)) == 1
