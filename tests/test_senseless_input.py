"""Numbers, names and configs that cannot work: one line each, and nothing is made."""

from pathlib import Path

import pytest

from faceshifter_jax import cli
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.watch import watch
from faceshifter_jax.training import main as training

CONFIGS = Path(__file__).parents[1] / "configs"
LONG = "n" * 300
DIGITS = "9" * 20


def assert_one_line(code, words, captured, folder, before):
    assert code == 2
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1, captured.err
    assert words in captured.err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (f"render out --seed {DIGITS}", "the seed must lie between"),
        ("render out --identities 1000000000000", "make several datasets"),
        (f"render out --pictures {DIGITS}", "make several datasets"),
        (f"render out --num-workers {DIGITS}", "the number of workers"),
        (f"render out --size {DIGITS}", "the size must lie between"),
        ("render out --occluders nan", "the share of occluders"),
        (f"render {LONG}", "File name too long"),
        ("prepare photos out --faces detect --min-sharpness nan", "must not be negative"),
        ("prepare photos out --faces detect --min-sharpness inf", "must not be negative"),
        (f"prepare photos {LONG} --faces detect", "File name too long"),
        (f"prepare {LONG} out", "File name too long"),
        (f"evaluate --checkpoint run --pairs {'9' * 30}", "at most 1000000"),
        ("evaluate --checkpoint run --identities 1000000000000", "at most 1000000"),
        (f"evaluate --checkpoint run --data d --pairs {'9' * 30}", "at most 1000000"),
        (f"evaluate --checkpoint {LONG}", "File name too long"),
        (f"swap --checkpoint run --source a --target b --output {LONG}.png", "File name too long"),
        (f"swap --checkpoint run --source a --target {LONG} --output o.png", "File name too long"),
        (f"inspect {LONG}", "File name too long"),
        (f"compare {LONG} {LONG}", "File name too long"),
    ],
)
def test_commands(command, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    before = sorted(tmp_path.rglob("*"))
    code = cli.main(command.split())
    assert_one_line(code, words, capsys.readouterr(), tmp_path, before)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (f"--config.seed={DIGITS}", "config.seed is"),
        (f"--config.batch_size={DIGITS}", "config.batch_size is"),
        (f"--config.num_steps={DIGITS}", "config.num_steps is"),
        (f"--config.log_every_steps={DIGITS}", "config.log_every_steps is"),
        ("--config.optimizer.generator.b1=2", "config.optimizer.generator.b1 is"),
        ("--config.optimizer.generator.b2=1.0", "config.optimizer.generator.b2 is"),
        ("--config.optimizer.generator.learning_rate=nan", "learning_rate is nan"),
        ("--config.loss.identity=inf", "config.loss.identity is inf"),
        ("--config.ema_decay=nan", "config.ema_decay is nan"),
        (f"--workdir={LONG}", "File name too long"),
    ],
)
def test_trainings(flags, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["train.py", f"--config={CONFIGS / 'aei.py'}:demo", "--workdir=run", flags]
    assert_one_line(training.main(arguments), words, capsys.readouterr(), tmp_path, [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(:\n", "config.py, line 1: "),
        ("import no_such_module\n", "config.py, line 1: ModuleNotFoundError: "),
        ("x = 1\ny = undefined\n", "config.py, line 2: NameError: "),
        (
            "def get_config(variant):\n    return variant.none\n",
            "config.py, line 2: AttributeError",
        ),
        ("def get_config(variant):\n    return None\n", "must return a ConfigDict"),
        ("\0", "config.py"),
        ("x = 1\n", "defines no function get_config"),
    ],
)
def test_configs(text, words, tmp_path, capsys):
    path = tmp_path / "config.py"
    path.write_text(text)
    code = training.main(["train.py", f"--config={path}", f"--workdir={tmp_path / 'run'}"])
    assert_one_line(code, words, capsys.readouterr(), tmp_path, [path])


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 0, -1, 1e9])
def test_waiting_for_ever(seconds, tmp_path):
    with pytest.raises(UserError, match="--poll-seconds must be above 0 and at most"):
        watch(
            tmp_path / "run",
            tmp_path / "output",
            load=lambda path: pytest.fail(path),
            measure=lambda subject: pytest.fail("measured"),
            fixed_second_stage=False,
            poll_seconds=seconds,
        )
    assert not list(tmp_path.iterdir())
