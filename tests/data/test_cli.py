import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from faceshifter_jax import cli
from faceshifter_jax.data import PreparedDataset

COMMAND = [sys.executable, "-m", "faceshifter_jax.cli"]


def run(*arguments):
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_prepare_says_what_it_made(photos, tmp_path):
    result = run("prepare", photos, tmp_path / "out", "--size", 16)
    assert result.returncode == 0, result.stderr
    assert "12 pictures of 16 pixels" in result.stdout
    assert len(PreparedDataset(tmp_path / "out")) == 12
    again = run("prepare", photos, tmp_path / "out", "--size", 16)
    assert again.returncode == 2
    assert run("prepare", photos, tmp_path / "out", "--size", 24, "--overwrite").returncode == 0
    assert PreparedDataset(tmp_path / "out").image_size == 24


@pytest.mark.parametrize(
    "arguments",
    [
        ("prepare", "{}/missing", "{}/out"),
        ("prepare", "{}/empty", "{}/out"),
        ("prepare", "{}/text", "{}/out"),
        ("prepare", "{}/text", "{}/empty/../text", "--overwrite"),
        ("prepare", "{}/text", "{}/text/a.jpg/out"),
        ("prepare", "{}/text", "{}/out", "--size", "1"),
        ("render", "{}/out", "--identities", "0"),
        ("render", "{}/out", "--pictures", "-3"),
        ("render", "{}/out", "--occluders", "1.5"),
        ("render", "{}/out", "--seed", "-1"),
        ("render", "{}/out", "--seed", str(2**40)),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(tmp_path, arguments):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.jpg").write_text("hello")
    result = run(*(argument.format(tmp_path) for argument in arguments))
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


def test_folder_without_a_usable_picture_names_the_first_files(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_text("hello")
    result = run("prepare", tmp_path, tmp_path / "out")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "(0.jpg: not a picture in any known format; 1.jpg: not a picture" in result.stderr
    assert result.stderr.endswith("; and 2 more)\n")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from faceshifter_jax import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('jax', 'tensorflow_datasets', 'numba', 'grain') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[]", result.stderr
    assert "prepare" in result.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["no_such_command"], ["prepare"], ["prepare", "a", "b", "--siez=3"]]
)
def test_unknown_words_are_refused(arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["prepair"], "did you mean 'prepare'?"),
        (
            ["prepare", "a", "b", "--siez=3"],
            "--siez=3; did you mean --size?",
        ),
        (["swap", "--source", "a", "--target", "b", "--output", "c", "--fces", "all"], "--faces?"),
    ],
)
def test_what_was_meant_is_said(arguments, meant, capsys):
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert meant in capsys.readouterr().err.splitlines()[-1]


def test_the_package_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "faceshifter_jax", "--help"], capture_output=True, text=True
    )
    assert result.returncode == 0
    assert "prepare" in result.stdout


def start_long_preparation(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    for number in range(300):
        path = tmp_path / f"photos/{number}.png"
        if number == 0:
            Image.fromarray(noise).save(path, compress_level=1)
        else:
            os.link(tmp_path / "photos/0.png", path)
    (tmp_path / "photos/-first.jpg").write_text("its being named shows that the work has begun")
    (tmp_path / "outs").mkdir()
    arguments = ["prepare", tmp_path / "photos", tmp_path / "outs/out", "--num-workers", "2"]
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    # A slow machine reports its progress before.
    while "-first.jpg" not in (line := process.stderr.readline()):
        assert is_progress(line)
    return process


def is_progress(line):
    return line.startswith("preparing: ")


def test_interrupted_preparation_leaves_nothing(tmp_path):
    process = start_long_preparation(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    said = [line for line in errors.splitlines() if not is_progress(line)]
    assert said == ["interrupted"]
    assert not list((tmp_path / "outs").iterdir())


def group_is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_killed_preparation_leaves_no_dataset_and_no_process(tmp_path):
    process = start_long_preparation(tmp_path)
    process.kill()
    process.wait(timeout=60)
    assert not (tmp_path / "outs/out").exists()
    deadline = time.monotonic() + 60
    while group_is_alive(process.pid):
        assert time.monotonic() < deadline, "worker processes outlive the killed preparation"
        time.sleep(0.1)
    process.stderr.close()
