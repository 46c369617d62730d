"""The command line as a whole: help, completion, levels of what is said, closed pipes."""

import contextlib
import io
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceshifter_jax import cli
from faceshifter_jax.faces.alignment import ALIGNMENTS
from faceshifter_jax.faces.names import ALIGNMENT_NAMES
from faceshifter_jax.logs import shown_on_stderr

ROOT = Path(__file__).parents[1]
HEAVY = ("jax", "flax", "numpy", "numba", "scipy", "tensorflow_datasets", "orbax", "grain")


def run(*words, **options):
    command = [sys.executable, "-m", "faceshifter_jax", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, **options)


@pytest.fixture(scope="module")
def parsers():
    _, subparsers = cli._build_parser(cli.COMMANDS)
    return subparsers.choices


def test_help_of_all_commands_loads_nothing_heavy():
    code = (
        "import sys; from faceshifter_jax import cli\n"
        "_, subparsers = cli._build_parser(cli.COMMANDS)\n"
        "texts = [parser.format_help() for parser in subparsers.choices.values()]\n"
        f"print(len(texts), [name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split(maxsplit=1) == [str(len(cli.COMMANDS)), "[]\n"], result.stderr


def seconds_of_help(command):
    """The processor's seconds, which do not depend on what else runs."""
    words = [sys.executable, "-m", "faceshifter_jax", command, "--help"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_takes_less_than_two_fifths_of_a_second(command):
    assert min(seconds_of_help(command) for _ in range(2)) < 0.4


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_ends_with_examples_that_parse(command, parsers, monkeypatch):
    text = parsers[command].format_help()
    *_, examples = text.split("\nexamples:\n")
    lines = [line.strip() for line in examples.splitlines()]
    assert any(line.startswith(f"faceshifter {command} ") for line in lines), text
    for line in lines:
        words = shlex.split(line.removesuffix("..."))
        if words[0] == "faceshifter":
            assert cli._parse(words[1:]).command == words[1]


def test_defaults_are_said_in_one_way(parsers):
    wrong = []
    for command, parser in parsers.items():
        for action in parser._actions:
            text = parser._get_formatter()._expand_help(action) if action.help else ""
            # An own value at the end, such as (200) or (default 25).
            if re.search(r"\((?!default: )[^()\s]+\)$|\(default [^:]", text):
                wrong.append((command, text))
    assert not wrong
    text = " ".join(parsers["evaluate"].format_help().split())
    assert (
        "ground-truth: number of swaps (default: 200); pairs: number of swaps (default: 1000)"
        in text
    )
    assert "pixels a side (default: 256)" in parsers["prepare"].format_help()


def test_names_of_alignments_are_those_that_there_are():
    assert tuple(sorted(ALIGNMENT_NAMES)) == tuple(sorted(ALIGNMENTS))


def complete(line, script):
    """What bash proposes for the last word of a line."""
    code = (
        f"source {script}; COMP_WORDS=({line}); "
        "COMP_CWORD=$((${#COMP_WORDS[@]}-1))\n"
        "_shtab_faceshifter; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    result = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.split()


def test_bash_completes_commands_and_options(tmp_path):
    printed = run("--print-completion", "bash")
    assert printed.returncode == 0, printed.stderr
    (tmp_path / "script").write_text(printed.stdout)
    assert complete("faceshifter sw", tmp_path / "script") == ["swap"]
    assert set(complete("faceshifter swap --sa", tmp_path / "script")) == {
        "--save-error",
        "--save-masks",
    }
    assert "ffhq" in complete("faceshifter swap --alignment ff", tmp_path / "script")


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "faceshifter_jax", "--help"],
        ["-m", "faceshifter_jax", "evaluate", "--help"],
        ["-m", "faceshifter_jax", "train", "--config", "aei", "--settings"],
        ["train.py", "--help", "--config", "configs/aei.py"],
        ["-m", "faceshifter_jax", "convert", "--list"],
    ],
    ids=" ".join,
)
def test_a_closed_pipe_is_no_traceback(words):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, *words], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    assert result.stderr.count("\n") <= 1
    # argparse says nothing where its own help finds no reader at once, as with PYTHONUNBUFFERED.
    assert result.returncode == 141 or "--help" in words


def make_photos(folder):
    folder.mkdir()
    for number in range(3):
        pixels = np.full((20, 20, 3), number * 80, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_text("hello")


def test_levels_say_more_or_less(tmp_path):
    make_photos(tmp_path / "photos")
    words = ("prepare", tmp_path / "photos", tmp_path / "out", "--size", 16, "--num-workers", 1)
    usual = run(*words)
    assert "left out broken.jpg" in usual.stderr
    assert "preparing: " in usual.stderr
    quiet = run(*words, "--overwrite", "--log-level", "warning")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert quiet.stdout == usual.stdout
    # An error is said at any level, and where it was found on demand.
    refused = run(*words, "--log-level", "error")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
    traced = run(*words, "--log-level", "debug")
    assert traced.returncode == 2
    assert "Traceback" in traced.stderr
    assert traced.stderr.splitlines()[-1] == refused.stderr.strip()
    assert run(*words, "--log-level", "loud").returncode == 2


def test_inspect_prints_json(tmp_path, capsys):
    make_photos(tmp_path / "photos")
    files = [str(tmp_path / "photos" / name) for name in ("0.png", "broken.jpg")]
    assert cli.main(["inspect", "--json", *files]) == 2
    captured = capsys.readouterr()
    plain, broken = json.loads(captured.out)
    assert plain == {"file": files[0], "swapped_by_faceshifter_jax": False, "statement": None}
    assert broken["file"] == files[1]
    assert f"error: {broken['error']}\n" == captured.err


@pytest.mark.parametrize("word", ["--batch-size=3", "--batch_size=3", "batch_size=3"])
def test_a_setting_without_its_prefix_is_said_right(word, capsys):
    words = ["--config", "configs/aei.py", "--workdir", "x", word]
    with contextlib.chdir(ROOT):
        assert cli.main(["train", *words]) == 2
    assert "--config.batch_size=VALUE" in capsys.readouterr().err


def test_configs_are_found_by_name_anywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--config", "hear:demo", "--settings"]) == 0
    assert "--config.task='hear'" in capsys.readouterr().out
    assert cli.main(["train", "--config", "hera", "--workdir", "x"]) == 2
    assert "did you mean 'hear'?" in capsys.readouterr().err
    # A file of the user's goes before.
    Path("aei").write_text(
        "import ml_collections\ndef get_config(_): return ml_collections.ConfigDict({'mine': 1})\n"
    )
    assert cli.main(["train", "--config", "aei", "--settings"]) == 0
    assert "--config.mine=1" in capsys.readouterr().out


def test_notes_are_logged_and_names_in_them_forge_nothing():
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), shown_on_stderr("warning"):
        logger = logging.getLogger("faceshifter_jax.some.part")
        logger.info("a note")
        logger.warning("a doubt about %s", "a\x1b[2Jname")
        logging.getLogger("jax").warning("of a library")
    assert stream.getvalue() == "warning: a doubt about a\\x1b[2Jname\n"
