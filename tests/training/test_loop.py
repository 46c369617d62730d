import dataclasses
import json
import re
import signal

import jax
import numpy as np
import pytest
from PIL import Image
from toy import FACTORIES, ToyLoader, start_toy, toy_config

from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.data.loader import DatasetInfo
from faceshifter_jax.errors import UserError
from faceshifter_jax.training.train import train


def assert_equal_bits(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def logged_steps(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_resumed_training_equals_an_uninterrupted_one_bit_for_bit(mode, tmp_path):
    whole = train(toy_config(parallel=mode, num_steps=10), tmp_path / "whole", **FACTORIES)
    train(toy_config(parallel=mode, num_steps=5), tmp_path / "parts", **FACTORIES)
    parts = train(toy_config(parallel=mode, num_steps=10), tmp_path / "parts", **FACTORIES)
    assert int(parts.step) == 10
    assert_equal_bits(whole, parts)


def test_saving_at_every_step_changes_nothing_and_saves_the_state_of_its_step(tmp_path):
    config = toy_config(num_steps=8, save_every_steps=1, keep_checkpoints=100)
    often = train(config, tmp_path / "often", **FACTORIES)
    rarely = train(toy_config(num_steps=8, save_every_steps=0), tmp_path / "rarely", **FACTORIES)
    assert_equal_bits(often, rarely)
    for step in (3, 8):
        short = toy_config(num_steps=step, save_every_steps=0)
        state = train(short, tmp_path / f"until_{step}", **FACTORIES)
        saved = read_weights(tmp_path / "often" / "checkpoints" / str(step))
        assert_equal_bits(jax.device_get(state.ema_params), saved.params)


def test_workdir_holds_config_metrics_samples_and_tensorboard_files(tmp_path, capsys):
    train(toy_config(num_steps=5, sample_every_steps=2), tmp_path, **FACTORIES)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model"] == {"width": 3, "levels": [1, 2]}
    assert logged_steps(tmp_path) == [2, 4, 5]
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["step_00000002.png", "step_00000004.png", "step_00000005.png"]
    assert list(tmp_path.glob("events.out.tfevents.*"))
    printed = capsys.readouterr().out
    assert re.search(r"compiled the step in .*: a device holds \d+ MiB of state, frozen", printed)
    assert "step 4/5 (80.0 %)  loss " in printed
    grid = np.asarray(Image.open(tmp_path / "samples" / "step_00000005.png"))
    assert grid.shape[1] == 3 * (4 + 2), "columns: source, result, black"
    assert (grid[18:22, 12:16] == 0).all(), "the black column comes last, as predict has it"


def test_resuming_drops_metrics_beyond_the_checkpoint(tmp_path):
    train(toy_config(num_steps=4, log_every_steps=1), tmp_path, **FACTORIES)
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 5, "loss": 9}\n{"step": 6, "lo')
    train(toy_config(num_steps=6, log_every_steps=1), tmp_path, **FACTORIES)
    assert logged_steps(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert '"loss": 9' not in metrics.read_text()


def test_finished_training_is_left_as_it_is(tmp_path, capsys):
    first = train(toy_config(), tmp_path, **FACTORIES)
    before = (tmp_path / "metrics.jsonl").read_text()
    capsys.readouterr()
    again = train(toy_config(), tmp_path, **FACTORIES)
    assert "nothing to do" in capsys.readouterr().out
    assert (tmp_path / "metrics.jsonl").read_text() == before
    assert_equal_bits(first, again)


def test_loss_that_is_not_finite_stops_before_the_state_is_saved(tmp_path):
    config = toy_config(num_steps=20, break_at_step=7, log_every_steps=20)
    with pytest.raises(UserError, match="step 7 gave loss = nan"):
        train(config, tmp_path, **FACTORIES)
    assert read_weights(tmp_path).step == 6


def test_workdir_of_another_training_is_refused(tmp_path):
    train(toy_config(), tmp_path, **FACTORIES)
    with pytest.raises(UserError, match="run of the task 'toy', not 'other'"):
        train(toy_config(task="other", num_steps=6), tmp_path, **FACTORIES)
    with pytest.raises(UserError, match=r"config\.model\.width = 3, not 5"):
        train(toy_config(num_steps=6, **{"model.width": 5}), tmp_path, **FACTORIES)
    with pytest.raises(UserError, match=r"config\.model\.levels = \[1, 2\], not \[1, 3\]"):
        train(toy_config(num_steps=6, **{"model.levels": (1, 3)}), tmp_path, **FACTORIES)


class OtherLoader(ToyLoader):
    info = dataclasses.replace(ToyLoader.info, fingerprint="another one")


class MixedLoader(ToyLoader):
    info = dataclasses.replace(
        ToyLoader.info,
        datasets=(
            DatasetInfo("data/photos", 0.7, 60, 6, "arcface"),
            DatasetInfo("drawn", 0.3, 40, 4, "arcface"),
        ),
    )


def test_each_of_several_datasets_is_named(tmp_path, capsys):
    train(toy_config(num_steps=1), tmp_path, **FACTORIES | {"build_loader": MixedLoader})
    printed = capsys.readouterr().out
    assert "data: 100 pictures of 10 identities, 4 pixels" in printed
    assert "data: 0.7 of the rows from data/photos: 60 pictures of 6 identities" in printed
    assert "data: 0.3 of the rows from drawn: 40 pictures of 4 identities" in printed


def test_another_seed_or_dataset_is_refused(tmp_path):
    train(toy_config(), tmp_path, **FACTORIES)
    with pytest.raises(UserError, match=r"config\.seed = 1, not 2"):
        train(toy_config(num_steps=6, seed=2), tmp_path, **FACTORIES)
    factories = FACTORIES | {"build_loader": OtherLoader}
    with pytest.raises(UserError, match=r"another dataset \(fingerprint toy\)") as error:
        train(toy_config(num_steps=6), tmp_path, **factories)
    assert "\n" not in str(error.value)
    assert read_weights(tmp_path).step == 4


def test_other_settings_may_change_on_resume_and_are_named(tmp_path, capsys):
    train(toy_config(), tmp_path, **FACTORIES)
    assert "continuing with" not in capsys.readouterr().out
    changes = {"batch_size": 16, "optimizer.learning_rate": 0.5}
    state = train(toy_config(num_steps=6, **changes), tmp_path, **FACTORIES)
    assert int(state.step) == 6
    assert (
        "continuing with other settings: batch_size 8 -> 16, num_steps 4 -> 6, "
        "optimizer.learning_rate 0.01 -> 0.5\n"
    ) in capsys.readouterr().out


def test_broken_metrics_are_one_clear_line(tmp_path):
    train(toy_config(), tmp_path, **FACTORIES)
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("oops\n" + metrics.read_text())
    with pytest.raises(UserError, match=rf"line 1 of {metrics} does not hold the metrics"):
        train(toy_config(num_steps=6), tmp_path, **FACTORIES)


@pytest.mark.parametrize(
    "changes", [{"frozen": "nowhere"}, {"batch_size": 0}, {"optimizer.learning_rate": 0.0}]
)
def test_refused_start_leaves_nothing(changes, tmp_path):
    with pytest.raises(UserError):
        train(toy_config(**changes), tmp_path / "run", **FACTORIES)
    assert not list(tmp_path.iterdir())


def test_frozen_weights_are_recorded_and_must_stay_the_same(tmp_path, capsys):
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    train(toy_config(), teacher, **FACTORIES)
    weights = read_weights(teacher)
    train(toy_config(frozen=str(teacher)), student, **FACTORIES)
    assert f"teacher from {weights.directory}, sha256 {weights.sha256[:12]}" in (
        capsys.readouterr().out
    )
    assert read_weights(student).frozen == {
        "teacher": {"path": weights.directory, "sha256": weights.sha256}
    }
    train(toy_config(frozen=str(teacher), num_steps=6), student, **FACTORIES)
    train(toy_config(num_steps=6), teacher, **FACTORIES)
    with pytest.raises(UserError, match="other teacher weights"):
        train(toy_config(frozen=str(teacher), num_steps=8), student, **FACTORIES)
    with pytest.raises(UserError, match="no weights at"):
        train(toy_config(frozen=str(tmp_path / "nowhere")), tmp_path / "third", **FACTORIES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parallel": "pjit"}, "unknown parallel mode 'pjit'"),
        ({"num_steps": 0}, r"config\.num_steps is 0"),
        ({"save_every_steps": -1}, r"config\.save_every_steps is -1"),
        ({"optimizer.learning_rate": 0.0}, r"optimizer\.learning_rate is 0\.0: it must be above 0"),
        ({"optimizer.learning_rate": float("nan")}, r"optimizer\.learning_rate is nan"),
        ({"optimizer.warmup_steps": -1}, r"optimizer\.warmup_steps is -1: .* at least 0"),
        ({"ema_decay": 1.0}, r"config\.ema_decay is 1\.0: .* less than 1"),
        ({"ema_decay": -0.1}, r"config\.ema_decay is -0\.1"),
        ({"compilation_cache": "/dev/null/x"}, r"cannot make config\.compilation_cache"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        train(toy_config(**changes), tmp_path, **FACTORIES)


def test_second_training_in_one_workdir_is_refused_while_the_first_runs(tmp_path):
    settings = {"num_steps": 5000, "log_every_steps": 1, "data.step_seconds": 0.05}
    first = start_toy(tmp_path, **settings)
    for line in first.stdout:
        if line.startswith("step 3/"):
            break
    second = start_toy(tmp_path, **settings)
    _, errors = second.communicate(timeout=120)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert second.returncode == 2, errors
    assert errors == (
        f"error: another training run writes to {tmp_path}: wait until it ends, or stop it\n"
    )
    newest = read_weights(tmp_path).step
    train(toy_config(num_steps=newest + 2), tmp_path, **FACTORIES)
    assert read_weights(tmp_path).step == newest + 2


def test_file_in_place_of_the_workdir_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create the directory"):
        train(toy_config(), tmp_path / "file", **FACTORIES)


@pytest.mark.slow
def test_programs_are_compiled_once_for_all_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    cache = tmp_path / "deep" / "cache"
    stored = []
    for run in ("first", "second"):
        process = start_toy(tmp_path / run, compilation_cache=cache)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, output + errors
        stored.append({path.name for path in cache.iterdir() if path.name.endswith("-cache")})
    assert stored[0]
    assert stored[0] == stored[1]
    first, second = (read_weights(tmp_path / run) for run in ("first", "second"))
    assert_equal_bits(first.params, second.params)
