"""Paths as they are typed, in every command and every config."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from faceshifter_jax import cli
from faceshifter_jax.data import PreparedDataset
from faceshifter_jax.errors import UserError
from faceshifter_jax.paths import local_path, local_paths
from faceshifter_jax.training import main as training

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize(
    "address", ["gs://bucket/run", "s3://b", "file:///tmp/x", "http://a/b", "hdfs://n:1/x"]
)
def test_addresses_are_refused(address):
    with pytest.raises(UserError, match="is an address"):
        local_path(address)
    with pytest.raises(UserError, match="is an address"):
        local_path(Path(address))
    with pytest.raises(UserError, match="is an address"):
        local_paths(f"here, {address}")


@pytest.mark.parametrize("name", ["Interview: part 1.mp4", "a:b", "./gs://x", "~odd~", "", "12:/x"])
def test_odd_names_are_names(name):
    assert local_path(name) == name


def test_homes_are_expanded_as_by_a_shell(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert local_path("~/run") == "/home/anna/run"
    assert local_path("~") == "/home/anna"
    assert local_path("a/~/b") == "a/~/b"
    assert local_paths("~/a, b,~/c") == "/home/anna/a,b,/home/anna/c"


ADDRESS = "gs://bucket/x"
COMMANDS = [
    ["prepare", "PHOTOS", ADDRESS],
    ["prepare", ADDRESS, "out"],
    ["render", ADDRESS],
    ["convert", "in.pth", ADDRESS],
    ["convert", ADDRESS, "out.safetensors"],
    ["evaluate", "--checkpoint", ADDRESS],
    ["evaluate", "--checkpoint", "run", "--output", ADDRESS],
    ["evaluate", "--checkpoint", "run", "--judge", ADDRESS],
    ["evaluate", "--checkpoint", "run", "--data", ADDRESS],
    ["evaluate", "--checkpoint", "run", "--features", ADDRESS],
    ["mine", "--checkpoint", "run", "--data", "d", "--output", ADDRESS],
    ["swap", "--checkpoint", "run", "--source", "s.png", "--target", "t.png", "--output", ADDRESS],
    ["swap", "--checkpoint", "run", "--source", ADDRESS, "--target", "t.png", "--output", "o.png"],
    ["swap", "--checkpoint", "run", "--map", f"a={ADDRESS}", "--target", "t", "--output", "o.png"],
    ["inspect", ADDRESS],
    ["compare", ADDRESS, "other"],
    ["tpu-check", "--config", ADDRESS, "--topology", "v5e:4x4"],
    ["device-check", "--config", ADDRESS, "--device", "h100"],
    ["device-check", "--config", "configs/aei.py", "--device", ADDRESS],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_refuse_addresses_before_anything_is_made(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "PHOTOS").mkdir()
    (tmp_path / "t.png").touch()
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "is an address" in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "flags",
    [
        ["--workdir=gs://bucket/run"],
        ["--workdir=run", "--config.data.path=gs://bucket/data"],
        ["--workdir=run", "--config.data.path=here,gs://bucket/data"],
        ["--workdir=run", "--config.data.path=here:0.5, s3://bucket/data:0.5"],
        ["--workdir=run", "--config.identity.weights=s3://bucket/arcface"],
        ["--workdir=run", "--config.init_from=here,gs://bucket/aei"],
        ["--workdir=run", "--config.compilation_cache=gs://bucket/cache"],
    ],
)
def test_trainings_refuse_addresses_before_anything_is_made(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert training.main(["train.py", f"--config={CONFIGS / 'aei.py'}:demo", *flags]) == 2
    error = capsys.readouterr().err
    assert "is an address" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_home_of_a_config_is_expanded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    flags = ["--workdir=~/run", "--config.data.path=~/faces"]
    assert training.main(["train.py", f"--config={CONFIGS / 'aei.py'}:demo", *flags]) == 2
    assert f"{tmp_path}/faces" in capsys.readouterr().err


def test_a_closed_pipe_is_one_line(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "faceshifter_jax.cli", "convert", "--list"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 141
    assert done.stderr.count("\n") == 1, done.stderr


def test_output_that_a_full_disk_takes_is_one_line():
    command = [sys.executable, "-m", "faceshifter_jax.cli", "convert", "--list"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "no space is left" in done.stderr


def name_of_another_encoding(folder):
    path = folder / os.fsdecode(b"caf\xe9")
    try:
        path.mkdir()
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    return path


def test_names_that_are_not_utf8_are_refused_where_libraries_need_text(tmp_path, capsys):
    odd = name_of_another_encoding(tmp_path)
    (odd / "photos").mkdir()
    Image.new("RGB", (64, 64)).save(odd / "photos" / os.fsdecode(b"\xe9.png"))
    refused = "caf\\xe9/out is not in UTF-8"
    prepare = ["prepare", str(odd / "photos"), str(odd / "out"), "--size", "32"]
    for more in ([], ["--faces", "detect"]):
        assert cli.main([*prepare, *more]) == 2
        assert refused in capsys.readouterr().err
    # What is read may have any name; so may what is written without those libraries.
    prepare[2] = str(tmp_path / "out")
    assert cli.main(prepare) == 0
    (tmp_path / "out").rename(odd / "out")
    with pytest.raises(UserError, match="not in UTF-8"):
        PreparedDataset(odd / "out")
    config = str(CONFIGS / "aei.py")
    words = ["train.py", "--config", config, f"--config.data.path={tmp_path}"]
    capsys.readouterr()
    assert training.main([*words, "--config.identity.weights=x", f"--workdir={odd / 'out'}"]) == 2
    assert refused in capsys.readouterr().err
    assert sorted(os.listdir(odd)) == ["out", "photos"]
