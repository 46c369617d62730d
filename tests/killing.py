"""Killing trainings for good, again and again."""

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def train_through_kills(
    start: Callable[[], subprocess.Popen], workdir: Path, num_kills: int
) -> None:
    """Starts a training until it has been killed so often, then lets it end.

    Every other kill hits the writing of a checkpoint, the others come at random.

    Args:
      start: starts the training, which reports its steps on a pipe.
      workdir: of the training.
      num_kills: how often to kill it; it must be long enough not to end before.
    """
    random_numbers = random.Random(7)
    for number in range(num_kills):
        process = start()
        _wait_for_steps(process)
        if number % 2 == 0:
            _wait_for_unfinished_checkpoint(workdir)
        else:
            time.sleep(random_numbers.uniform(0, 0.5))
        process.kill()
        output, errors = process.communicate()
        assert process.returncode == -9, output + errors
    process = start()
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, output + errors


def _wait_for_steps(process: subprocess.Popen) -> None:
    for line in process.stdout:
        if line.startswith("step "):
            return


def _wait_for_unfinished_checkpoint(workdir: Path) -> None:
    end = time.monotonic() + 10
    while not list((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*")):
        assert time.monotonic() < end, "no checkpoint is being written"
