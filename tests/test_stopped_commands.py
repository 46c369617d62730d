"""Commands that are stopped end at once: nothing of what libraries do at the end can crash them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

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


# What extension modules make of an exception that comes while they are initialised.
IMPORTING = """
import sys
class Stopping:
    def find_spec(self, name, *rest):
        if name == "jax":
            raise ImportError("Encountered an error while initializing the extension.") from %s
sys.meta_path.insert(0, Stopping())
from faceshifter_jax.%s import main
sys.exit(main(%s))
"""
TRAIN = ["train.py", "--config=configs/aei.py", "--workdir=w", "--config.data.path=d"]


@pytest.mark.parametrize(
    ("stop", "module", "words", "code", "said"),
    [
        ("KeyboardInterrupt()", "cli", ["evaluate"], 130, "interrupted\n"),
        ("SystemExit(143)", "cli", ["evaluate"], 143, ""),
        ("KeyboardInterrupt()", "training.main", TRAIN, 130, "stopped at once, without saving\n"),
    ],
)
def test_a_signal_while_modules_are_imported_is_no_bug(tmp_path, stop, module, words, code, said):
    result = subprocess.run(
        [sys.executable, "-c", IMPORTING % (stop, module, words)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert (result.returncode, result.stderr) == (code, said)
