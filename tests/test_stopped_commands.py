"""Commands that are stopped end at once: nothing of what libraries do at the end can crash them."""

import os
import signal
import subprocess
import sys

import pytest

WAITING = """
import atexit, ctypes, sys, time

def add_arguments(parser):
    parser.add_argument("file")

def run(arguments):
    # What a library's threads do to a process that takes itself apart around them.
    atexit.register(lambda: ctypes.string_at(0))
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        with open(arguments.file, "w") as file:
            file.write("tidied up")
        print("a last word, not flushed")
"""
RUN = """
import sys
from faceshifter_jax import cli
cli.COMMANDS["wait"] = ("waiting", "wait to be stopped")
sys.exit(cli.main())
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_command_tidies_up_and_ends_without_the_interpreters_end(tmp_path, number, code):
    (tmp_path / "waiting.py").write_text(WAITING)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "wait", str(tmp_path / "tidy")],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert (tmp_path / "tidy").read_text() == "tidied up"
    assert output == "a last word, not flushed\n"


LOST = """
import gc, signal, time, weakref

def add_arguments(parser):
    parser.add_argument("how")
    parser.add_argument("number", type=int)

class Thing:
    pass

def run(arguments):
    def receive(*_):
        signal.raise_signal(arguments.number)

    # Python forgets what is raised in either of them.
    if arguments.how == "collector":
        gc.callbacks.append(receive)
        gc.collect()
        gc.callbacks.remove(receive)
    else:
        thing = Thing()
        reference = weakref.ref(thing, receive)
        del thing
    time.sleep(200)
"""


@pytest.mark.parametrize("how", ["collector", "reference"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_a_callback_is_not_lost(tmp_path, how, number, code):
    (tmp_path / "waiting.py").write_text(LOST)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    result = subprocess.run(
        [sys.executable, "-c", RUN, "wait", how, str(int(number))],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert result.returncode == code
    assert result.stderr == ("interrupted\n" if number == signal.SIGINT else "")
