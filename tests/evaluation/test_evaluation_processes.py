"""Evaluations in two real processes with two devices each, against one process with one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faceforensics_folder import make_folder
from onnx_estimators import save_hopenet_like, save_mean_colour
from several_processes import free_port
from tiny_checkpoints import save_aei, save_identity

from faceshifter_jax import cli
from faceshifter_jax.data import prepare_embedded

HERE = Path(__file__).parent
COUNTS = ("--pairs", "7", "--identities", "3")
# Of these alone may an evaluation in several processes differ.
OF_THE_RUN = {"command", "devices", "time"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Workdirs of an AEI-Net, its identity network and a judge."""
    top = tmp_path_factory.mktemp("trained")
    identity = save_identity(top / "identity", seed=5)
    save_identity(top / "judge", seed=6)
    for step in (20, 30):
        save_aei(top / "aei", identity, step=step, seed=step)
    (top / "aei" / "config.json").write_text(json.dumps({"num_steps": 30}))
    return top


def evaluate_by(trained, output, *words):
    checkpoint, judge = trained / "aei", trained / "judge"
    given = ["--checkpoint", checkpoint, "--judge", judge, "--output", output, *words]
    return ["evaluate", *map(str, given)]


def start_two(*commands, timeout_seconds=60):
    """Starts commands, one after another, in two processes; each is a list, or a pair of them."""
    several = ["--distributed", "coordinator", "--coordinator", f"127.0.0.1:{free_port()}"]
    several += ["--num-processes", "2", "--timeout-seconds", str(timeout_seconds)]
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(HERE.parents[1]),
    }
    processes = []
    for process in range(2):
        words = []
        for command in commands:
            own = command[process] if isinstance(command, tuple) else command
            words += [*own, *several, "--process-id", str(process), "then"]
        processes.append(
            subprocess.Popen(
                [sys.executable, HERE / "run_evaluation.py", *words],
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
    return processes


def finish(processes, *codes):
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == list(codes), outputs
    return outputs


def own_lines(text):
    # Gloo's threads write into each other's lines.
    return [line for line in text.splitlines() if line.strip() and "peer ranks" not in line]


def read_metrics(output):
    metrics = json.loads((output / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name not in OF_THE_RUN}


def assert_same(first, second, where=""):
    """Equal, but numbers to 1e-5."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for name in first:
            assert_same(first[name], second[name], f"{where}.{name}")
    elif isinstance(first, list):
        assert len(first) == len(second), where
        for one, other in zip(first, second, strict=True):
            assert_same(one, other, where)
    elif isinstance(first, float):
        assert second == pytest.approx(first, rel=1e-5, abs=1e-5), where
    else:
        assert first == second, where


def assert_as_one(one, two):
    assert_same(read_metrics(one), read_metrics(two))
    assert "in 2 processes" in json.loads((two / "metrics.json").read_text())["devices"]
    assert len((two / "evaluations.jsonl").read_text().splitlines()) == 1
    assert len(list(two.glob("events.out.tfevents.*"))) == 1


def test_two_processes_evaluate_as_one_and_the_first_one_writes(trained, tmp_path):
    assert cli.main(evaluate_by(trained, tmp_path / "one", *COUNTS)) == 0
    both = tuple(evaluate_by(trained, tmp_path / name, *COUNTS) for name in ("two", "none"))
    (printed, _), (silent, errors) = finish(start_two(both), 0, 0)
    assert "psnr_swap" in printed
    assert own_lines(silent) == ["devices 4 of them here 2"]
    assert "error" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    assert_as_one(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_pictures_videos_and_onnx_networks_are_shared_out(trained, tmp_path):
    faces = prepare_embedded(
        tmp_path / "faces", num_identities=3, pictures_per_identity=2, size=32, num_workers=1
    )
    root = make_folder(tmp_path / "ff")
    colours = save_mean_colour(tmp_path / "colours.onnx", ("B", 3, 32, 32))
    pose = save_hopenet_like(tmp_path / "pose.onnx")
    words = {
        "pairs": ["--data", faces, "--features", colours],
        "faceforensics": ["--protocol", "faceforensics", "--data", root, "--expression", colours,
                          "--pose", pose, "--pose-range", "unit"],
    }  # fmt: skip
    commands = {
        top: [evaluate_by(trained, tmp_path / top / name, *own) for name, own in words.items()]
        for top in ("one", "two")
    }
    for command in commands["one"]:
        assert cli.main(command) == 0
    (_, said), (_, silent) = finish(start_two(*commands["two"]), 0, 0)
    for name in words:
        assert_as_one(tmp_path / "one" / name, tmp_path / "two" / name)
    assert said.count("left out: no face in frame") >= 2
    assert "left out" not in silent
    assert "reading videos" not in silent


@pytest.mark.slow
def test_watch_evaluates_each_checkpoint_once_and_a_signal_to_one_stops_both(trained, tmp_path):
    words = ("--watch", "--poll-seconds", "0.2", *COUNTS)
    assert cli.main(evaluate_by(trained, tmp_path / "one", *words)) == 0
    (printed, _), (silent, _) = finish(
        start_two(evaluate_by(trained, tmp_path / "two", *words)), 0, 0
    )
    assert "the training run has ended with step 30" in printed
    assert own_lines(silent) == ["devices 4 of them here 2"]
    for step in ("20", "30"):
        places = [tmp_path / top / "steps" / step for top in ("one", "two")]
        assert_same(*map(read_metrics, places))

    # The training goes on, it seems: the watch waits until the signal.
    (trained / "aei" / "config.json").write_text(json.dumps({"num_steps": 40}))
    both = start_two(evaluate_by(trained, tmp_path / "two", *words))
    for line in both[0].stdout:
        if line.startswith("watching"):
            both[1].send_signal(signal.SIGTERM)
            break
    finish(both, 143, 143)
    assert len((tmp_path / "two" / "evaluations.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_what_one_process_cannot_read_ends_both_in_one_line(trained, tmp_path):
    words = evaluate_by(trained, tmp_path / "out", *COUNTS)
    elsewhere = ["missing" if word == str(trained / "judge") else word for word in words]
    (_, first), (_, second) = finish(start_two((words, elsewhere)), 2, 2)
    assert own_lines(first) == ["error: process 1 could not continue: see what it printed"]
    assert own_lines(second)[0].startswith("error: no weights at missing")
    other = [*words[:-1], "4"]
    for _, errors in finish(start_two((words, other)), 2, 2):
        assert own_lines(errors) == [
            "error: the processes disagree on --identities: start all of them with the same "
            "config and data"
        ]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_other_in_one_line(trained, tmp_path):
    (trained / "aei" / "config.json").write_text(json.dumps({"num_steps": 50}))
    words = ("--watch", "--poll-seconds", "0.2", *COUNTS)
    both = start_two(evaluate_by(trained, tmp_path / "out", *words))
    for line in both[0].stdout:
        if line.startswith("step 30"):
            both[1].kill()
            break
    (_, errors), _ = finish(both, 2, -signal.SIGKILL)
    (line,) = [line for line in errors.splitlines() if line.startswith("error")]
    assert "another process is gone or cannot be reached" in line
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--coordinator", "host:1"], "--distributed names a coordinator or processes, but its "),
        (["--timeout-seconds", "9"], "--timeout-seconds has no effect without --distributed"),
        (["--distributed", "coordinator"], "--coordinator is '': name process 0 as host:port"),
        (
            ["--distributed", "coordinator", "--coordinator", "h:1", "--num-processes", "2",
             "--process-id", "2"],
            "--process-id is 2: of 2 processes it must be 0 to 1",
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_one_line(words, message, tmp_path, capfd):
    assert cli.main(["evaluate", "--checkpoint", str(tmp_path / "aei"), *words]) == 2
    errors = capfd.readouterr().err
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
