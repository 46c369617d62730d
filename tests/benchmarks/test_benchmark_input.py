"""What all benchmarks do before they measure: refuse bad input, and choose where they compute."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = ("data", "growth", "lowering", "step", "swap", "tpu")


def first_of_each(cases, key=lambda case: case[0]):
    """The first case of each script, and the others marked slow: each costs the imports."""
    seen = set()
    for case in cases:
        again = key(case) in seen
        seen.add(key(case))
        yield pytest.param(*case, marks=pytest.mark.slow) if again else case


def run(*command, **environment):
    return subprocess.run(
        [sys.executable, *command],
        cwd=BENCHMARKS.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("script", "words", "says"),
    first_of_each(
        [
            ("data", ["--pictures", "3"], "--pictures: must be a whole number, at least 4"),
            ("data", ["--seconds", "0"], "--seconds: must be a number above 0"),
            ("growth", ["--steps", "0"], "--steps: must be a whole number, at least 1"),
            ("growth", ["--widths", "1", "nan"], "--widths: must be a number above 0: 'nan'"),
            ("growth", ["--sizes", "64", "100"], "side 100: it must be a multiple of 32"),
            ("lowering", ["--rounds", "0"], "--rounds: must be"),
            ("step", ["--batch", "2", "0"], "--batch: must be"),
            ("step", ["--rounds", "-1"], "--rounds: must be"),
            ("swap", ["--batches", "0"], "--batches: must be"),
            ("swap", ["--rounds", "many"], "--rounds: must be"),
            ("tpu", ["--parts", "step", "aad_99"], "no part 'aad_99': there are aad_0 to aad_7"),
            ("tpu", ["--parts", "aad_1", "--config=configs/hear.py"], "none of task 'hear'"),
        ]
    ),
)
def test_bad_input_is_one_line_before_any_work(script, words, says):
    done = run(BENCHMARKS / f"{script}.py", *words)
    assert done.returncode != 0
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("script", "option"),
    first_of_each(
        [*((script, "--output") for script in SCRIPTS), ("growth", "--plot")],
        key=lambda case: case[1],
    ),
)
def test_a_file_that_cannot_be_written_is_found_out_first(script, option, tmp_path):
    (tmp_path / "file").touch()
    done = run(BENCHMARKS / f"{script}.py", option, tmp_path / "file" / "under" / "it.json")
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write to the folder ")
    assert done.stderr.count("\n") == 1


def test_a_folder_is_no_file_to_write(tmp_path):
    done = run(BENCHMARKS / "data.py", "--output", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path} is a folder: name the file to write\n"


@pytest.mark.parametrize(
    "script",
    [
        "swap",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("growth", "lowering", "step")),
    ],
)
def test_ours_computes_on_the_cpu_whatever_else_there_is(script):
    code = f"import {script}, jax; print(jax.default_backend())"
    done = run(
        "-c",
        code,
        PYTHONPATH=os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")]),
        JAX_PLATFORMS="cuda",
    )
    assert done.stdout == "cpu\n", done.stderr
