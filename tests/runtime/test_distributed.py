"""Trainings in two real processes with two devices each."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from checkpoint_arrays import read_state
from several_processes import free_port
from toy import FACTORIES, start_toy, start_two, toy_config

from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.distributed import initialize
from faceshifter_jax.training.train import train


def finish(processes, code):
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [code, code], outputs
    return outputs


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one")
    train(toy_config(num_steps=20), workdir, **FACTORIES)
    return read_state(workdir)


def assert_close(first, second):
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_allclose(first[key], second[key], atol=1e-5, err_msg=key)


def test_two_processes_train_as_one_and_write_once(one_device, tmp_path):
    own = {}, {"distributed.timeout_seconds": 50}  # which processes need not agree on
    both = start_two(tmp_path, *own, num_steps=20, sample_every_steps=10)
    (output, _), (silent, _) = finish(both, 0)
    assert "devices: 4 x cpu in 2 processes" in output
    assert [line for line in silent.splitlines() if not line.startswith("[Gloo]")] == []
    assert_close(read_state(tmp_path), one_device)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()]
    assert steps == list(range(2, 21, 2))
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["step_00000010.png", "step_00000020.png"]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1


def test_signal_to_one_process_stops_both_at_one_step(one_device, tmp_path):
    settings = {"parallel": "pmap", "save_every_steps": 0, "log_every_steps": 1}
    processes = start_two(tmp_path, num_steps=5000, **settings)
    for line in processes[0].stdout:
        if line.startswith("step 4/"):
            processes[1].send_signal(signal.SIGTERM)
            break
    outputs = finish(processes, 128 + signal.SIGTERM)
    saved = [int(path.name) for path in (tmp_path / "checkpoints").iterdir()]
    assert len(saved) == 1
    assert saved[0] >= 4
    for _, errors in outputs:
        assert f"stopped after step {saved[0]}, which is saved" in errors

    # One process with one device goes on, as if it had been alone from the start.
    end = saved[0] + 10
    train(toy_config(num_steps=end), tmp_path, **FACTORIES)
    train(toy_config(num_steps=end), tmp_path / "alone", **FACTORIES)
    assert_close(read_state(tmp_path), read_state(tmp_path / "alone"))


@pytest.mark.slow
def test_two_processes_resume_what_one_began_by_either_compiler(one_device, tmp_path):
    train(toy_config(num_steps=8), tmp_path, **FACTORIES)
    finish(start_two(tmp_path, num_steps=14, parallel="pmap"), 0)
    finish(start_two(tmp_path, num_steps=20), 0)
    assert_close(read_state(tmp_path), one_device)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_process_that_is_killed_ends_the_other_and_both_resume(victim, tmp_path):
    settings = {"save_every_steps": 5, "log_every_steps": 1, "data.step_seconds": 0.05}
    processes = start_two(tmp_path, num_steps=5000, **settings)
    for line in processes[0].stdout:
        if line.startswith("step 12/"):
            break
    processes[victim].kill()
    _, errors = processes[1 - victim].communicate(timeout=120)
    processes[victim].communicate()
    if victim == 0:  # jax ends those that lose their coordinator, unless it is too late for that
        assert processes[1].returncode in (-signal.SIGABRT, 2), errors
        assert "another task died" in errors or "another process is gone" in errors
    else:
        assert processes[0].returncode == 2, errors
        (line,) = own_lines(errors)
        assert line.startswith("error: another process is gone or cannot be reached (")
        assert "Traceback" not in errors

    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    newest = max(int(name) for name in names if name.isdigit())
    assert newest >= 10
    finish(start_two(tmp_path, num_steps=newest + 5), 0)
    train(toy_config(num_steps=newest + 5), tmp_path / "alone", **FACTORIES)
    assert_close(read_state(tmp_path), read_state(tmp_path / "alone"))


@pytest.mark.slow
def test_what_one_process_cannot_do_ends_both_in_one_line(tmp_path):
    both = start_two(tmp_path, {"frozen": ""}, {"frozen": tmp_path / "nowhere"})
    (_, first), (_, second) = finish(both, 2)
    assert own_lines(first) == ["error: process 1 could not continue: see what it printed"]
    assert own_lines(second)[0].startswith("error: no weights at")


def assert_disagree_on(what, both):
    for _, errors in finish(both, 2):
        assert own_lines(errors) == [
            f"error: the processes disagree on {what}: start all of them with the same config "
            "and data"
        ]


@pytest.mark.slow
def test_processes_that_disagree_are_refused(tmp_path):
    both = start_two(tmp_path / "run", {"seed": 1}, {"seed": 2})
    assert_disagree_on("config.seed", both)
    assert not (tmp_path / "run").exists()


COMPARE = """
import sys
from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.distributed import check_same_everywhere, initialize

port, process, *names = sys.argv[1:]
initialize({"mode": "coordinator", "coordinator": f"127.0.0.1:{port}", "num_processes": 2,
            "process_id": int(process), "timeout_seconds": 60})
try:
    check_same_everywhere({name: process for name in names})
except UserError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "what"),
    [
        (("ab", "abc"), "which settings there are"),
        (("abcdefg", "abcdefg"), "a, b, c, d, e and 2 more"),
    ],
)
def test_disagreement_is_one_short_line_whatever_the_settings_are(own, what):
    port = str(free_port())
    both = [
        subprocess.Popen(
            [sys.executable, "-c", COMPARE, port, str(process), *names],
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for process, names in enumerate(own)
    ]
    for output, _ in finish(both, 0):
        lines = [line for line in output.splitlines() if not line.startswith("[Gloo]")]
        assert lines == [
            f"the processes disagree on {what}: start all of them with the same config and data"
        ]


@pytest.mark.slow
def test_processes_that_begin_with_other_networks_are_refused(tmp_path):
    train(toy_config(num_steps=2), tmp_path / "before", **FACTORIES)
    shutil.copytree(tmp_path / "before", tmp_path / "equal")
    train(toy_config(num_steps=4), tmp_path / "other", **FACTORIES)

    def start(name, second):
        return start_two(
            tmp_path / name, {"init_from": tmp_path / "before"}, {"init_from": tmp_path / second}
        )

    assert_disagree_on("the initial networks", start("refused", "other"))
    assert not (tmp_path / "refused").exists()
    finish(start("accepted", "equal"), 0)


@pytest.mark.slow
def test_loader_that_fails_in_one_process_ends_both_with_the_checkpoint_before_it(tmp_path):
    settings = {"save_every_steps": 1, "data.break_at_step": 6, "num_steps": 50}
    both = start_two(tmp_path, {}, {"data.path": "a/picture"}, **settings)
    (_, first), (_, second) = finish(both, 2)
    assert own_lines(first) == ["error: another process failed: see what it printed"]
    assert own_lines(second) == ["error: cannot read or write a/picture: Input/output error"]
    assert "Traceback" not in first + second
    # Six batches came; what was computed on none of its own is not kept.
    assert max(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"data.path": "a/picture", "data.break_at_step": 0}, "cannot read or write a/picture: "),
        ({"compilation_cache": "/dev/null/cache"}, "cannot make config.compilation_cache "),
    ],
)
def test_what_goes_wrong_before_the_first_step_ends_both_in_one_line(own, message, tmp_path):
    (_, first), (_, second) = finish(start_two(tmp_path / "run", {}, own), 2)
    assert own_lines(first) == ["error: process 1 could not continue: see what it printed"]
    assert own_lines(second)[0].startswith(f"error: {message}")
    assert "Traceback" not in first + second


@pytest.mark.slow
@pytest.mark.parametrize("begun", [None, "one", "other"])
def test_workdirs_that_are_not_shared_are_refused_at_the_start(begun, tmp_path):
    if begun:
        train(toy_config(num_steps=2), tmp_path / begun, **FACTORIES)
    both = start_two((tmp_path / "one", tmp_path / "other"))
    (_, first), (_, second) = finish(both, 2)
    assert own_lines(first) == ["error: process 1 could not continue: see what it printed"]
    assert own_lines(second) == [
        f"error: the workdir {tmp_path / 'other'} of process 1 is not that of process 0: name a "
        "directory that all processes see"
    ]
    assert not list((tmp_path / "one").glob(".seen_by_all*"))


def own_lines(errors):
    return [line for line in errors.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("coordinator", "error: 2 processes did not meet at 127.0.0.1:"),
        ("automatic", "error: config.distributed.mode is 'automatic', but no cluster was found"),
    ],
)
def test_nobody_to_meet_is_one_line(mode, message, tmp_path):
    where = {"distributed.mode": mode, "distributed.timeout_seconds": 1}
    if mode == "coordinator":
        where["distributed.coordinator"] = f"127.0.0.1:{free_port()}"
        where["distributed.num_processes"] = 2
    process = start_toy(tmp_path / "run", **where)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert errors.startswith(message)
    assert errors.count("\n") == 1
    assert not (tmp_path / "run").exists()


COORDINATOR = {"mode": "coordinator", "coordinator": "host:1234", "num_processes": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "on"}, r"config\.distributed\.mode is 'on': choose one of 'off', 'automatic'"),
        ({"coordinator": "host:1234"}, "its mode is 'off'"),
        ({"process_id": 1, "mode": "automatic"}, "its mode is 'automatic'"),
        ({**COORDINATOR, "coordinator": "host"}, "'host': name process 0 as host:port"),
        ({**COORDINATOR, "coordinator": "host:99999"}, "name process 0 as host:port"),
        ({**COORDINATOR, "num_processes": 0}, "num_processes is 0: it must be at least 1"),
        ({**COORDINATOR, "process_id": 2}, "of 2 processes it must be 0 to 1"),
        ({"timeout_seconds": 0}, "timeout_seconds is 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    settings = toy_config().distributed.to_dict() | changes
    with pytest.raises(UserError, match=message) as error:
        initialize(settings)
    assert "\n" not in str(error.value)
