"""Worker processes: how many there are cores and memory for, and how they are stopped."""

import os
import signal
import subprocess
import sys
import time

import pytest

from faceshifter_jax.runtime.workers import affordable_workers, usable_cores

MEMINFO = """MemTotal:       16000000 kB
MemFree:          900000 kB
MemAvailable:   {available} kB
Buffers:          100000 kB
"""
MEGABYTE = 2**20


def test_memory_that_can_be_made_free_counts(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(MEMINFO.format(available=13_000_000))
    assert affordable_workers(MEGABYTE, meminfo) == usable_cores()
    assert affordable_workers(1_000_000 * 1024, meminfo) == min(usable_cores(), 13)
    meminfo.write_text(MEMINFO.format(available=1_000))
    assert affordable_workers(1536 * MEGABYTE, meminfo) == 1
    assert affordable_workers(MEGABYTE, tmp_path / "missing") == usable_cores()


STOPPED = """
import sys, time
from faceshifter_jax import cli
from faceshifter_jax.runtime.workers import map_in_order

def slow(number):
    time.sleep(1.0)
    return number

class Command:
    @staticmethod
    def add_arguments(parser):
        pass

    @staticmethod
    def run(arguments):
        results = map_in_order(slow, range(1000), num_workers=2)
        # A cycle, as a library that is given an iterator has it.
        held = [results]
        held.append(held)
        if WAIT_INSIDE:
            print("ready", flush=True)
        next(results)
        print("ready", flush=True)
        time.sleep(60)

WAIT_INSIDE = %r
if __name__ == "__main__":
    sys.modules["stopped"] = Command
    cli.COMMANDS["wait"] = ("stopped", "wait to be stopped")
    sys.exit(cli.main())
"""


@pytest.mark.parametrize("seconds", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("inside", [True, False])
def test_ctrl_c_is_one_line_wherever_it_comes(tmp_path, inside, seconds):
    """In the whole process group, while workers start, while they work, and between results."""
    script = tmp_path / "script.py"
    script.write_text(STOPPED % inside)
    process = subprocess.Popen(
        [sys.executable, str(script), "wait"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job would hand down that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert errors == "interrupted\n"
    assert process.returncode == 130
