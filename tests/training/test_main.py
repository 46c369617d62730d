import subprocess
import sys
from pathlib import Path

import pytest

from faceshifter_jax.training.config import parse_arguments
from faceshifter_jax.training.main import main

ROOT = Path(__file__).parents[2]

CONFIG = """
from ml_collections import ConfigDict


def get_config(variant=""):
    if variant not in ("", "demo"):
        raise ValueError(f"no variant {variant!r}")
    width = 2 if variant == "demo" else 64
    return ConfigDict(
        {"batch_size": 8, "rate": 0.5, "flip": True, "data": {"path": ""}, "levels": (1, 2),
         "model": {"width": width}}
    )
"""


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    return str(path)


def test_overrides_variants_and_both_ways_to_write_a_flag(config_file):
    config, workdir = parse_arguments(
        ["train.py", "--config.batch_size=4", "--workdir", "runs/x", "--config",
         f"{config_file}:demo", "--config.levels=(3, 4, 5)", "--noconfig.flip",
         "--config.data.path", "some/where"]
    )  # fmt: skip
    assert workdir == "runs/x"
    assert config.batch_size == 4
    assert config.levels == (3, 4, 5)
    assert config.flip is False
    assert config.data.path == "some/where"
    assert config.model.width == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.batchsize=3"], "unknown config key 'batchsize' (did you mean 'batch_size'?)"),
        (["--config.data.pth=3"], "unknown config key 'data.pth' (did you mean 'data.path'?)"),
        (["--config.batch_size.x=3"], "unknown config key 'batch_size.x'"),
        (["--config.batch_size=many"], "flag --config.batch_size=many: invalid literal"),
        (["--wrkdir=y"], "Unknown command line flag 'wrkdir'. Did you mean: workdir ?"),
        (
            ["--batch_size=3"],
            "unknown flag '--batch_size=3': settings are written --config.batch",
        ),
        (
            ["--nodata.path"],
            "unknown flag '--nodata.path': settings are written --config.data.path=",
        ),
        (["extra"], "unexpected argument 'extra'"),
        (["--workdir="], "--workdir is missing"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(arguments, message, config_file, capsys):
    assert main(["train.py", "--config", config_file, "--workdir", "x", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("configs/no_such.py", "no config file configs/no_such.py"),
        ("{file}:huge", "no variant 'huge'"),
        (__file__, f"{__file__} is not a config file"),
    ],
)
def test_config_files_that_do_not_load_are_named(spec, message, config_file, capsys):
    assert main(["train.py", "--config", spec.format(file=config_file), "--workdir", "x"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_missing_config_flag_and_help(capsys):
    assert main(["train.py", "--workdir", "x"]) == 2
    assert capsys.readouterr().err.startswith("error: --config is missing")
    assert main(["train.py", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: python train.py")


def test_help_lists_the_settings_of_a_config(config_file, capsys):
    assert main(["train.py", f"--config={config_file}:demo", "--help"]) == 0
    out = capsys.readouterr().out
    assert "  --config.batch_size=" in out
    assert "  --config.data.path=" in out
    assert main(["train.py", "--config=no/such.py", "--help"]) == 2
    assert capsys.readouterr().err.startswith("error: no config file no/such.py")


def test_the_module_is_a_command_too():
    process = subprocess.run(
        [sys.executable, "-m", "faceshifter_jax.training.main", "--workdir", "x"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 2
    assert process.stderr.startswith("error: --config is missing")


def test_real_command_reports_a_misspelt_key_in_one_line(tmp_path):
    process = subprocess.run(
        [sys.executable, "train.py", "--config", "configs/aei.py", "--workdir", tmp_path / "run",
         "--config.batchsize=3"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 2
    assert process.stderr == (
        "error: unknown config key 'batchsize' (did you mean 'batch_size'?)\n"
    )
    assert not (tmp_path / "run").exists()
