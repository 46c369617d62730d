"""Killing training runs again and again."""

import random
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

# So many that a run that started again could not be as far as one that continued.
_STEPS_BEFORE_A_KILL = 4
# Of the last step printed the checkpoint may not be begun yet, of the one before it not complete.
_STEPS_LOST = 2


def train_through_kills(
    start: Callable[[], subprocess.Popen], workdir: Path, num_kills: int
) -> None:
    """Starts a training run until it has been killed so often, then lets it finish.

    Every other kill hits the writing of a checkpoint, the others come at random. None may lose
    more than the steps whose checkpoints were still to be written.

    Args:
      start: starts the training run, which saves every step and reports it on a pipe.
      workdir: of the training run.
      num_kills: how often to kill it; it must be long enough not to end before.
    """
    random_numbers = random.Random(7)
    saved = 0
    for number in range(num_kills):
        process = start()
        printed = [_next_step(process) for _ in range(_STEPS_BEFORE_A_KILL)]
        if number % 2 == 0:
            _wait_for_unfinished_checkpoint(workdir)
        else:
            time.sleep(random_numbers.uniform(0, 0.5))
        process.kill()
        printed += _steps_in(process.stdout.read())
        _, errors = process.communicate()
        assert process.returncode == -9, errors
        assert printed[0] == saved + 1
        saved = _newest_checkpoint(workdir)
        assert saved >= printed[-1] - _STEPS_LOST
    process = start()
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, output + errors
    assert _steps_in(output)[0] == saved + 1


def _next_step(process: subprocess.Popen) -> int:
    for line in process.stdout:
        if steps := _steps_in(line):
            return steps[0]
    raise AssertionError(process.stderr.read())


def _steps_in(output: str) -> list[int]:
    return [int(step) for step in re.findall(r"^step (\d+)/", output, re.MULTILINE)]


def _newest_checkpoint(workdir: Path) -> int:
    names = [path.name for path in (workdir / "checkpoints").iterdir()]
    return max((int(name) for name in names if name.isdigit()), default=0)


def _wait_for_unfinished_checkpoint(workdir: Path) -> None:
    end = time.monotonic() + 10
    while not list((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*")):
        assert time.monotonic() < end, "no checkpoint is being written"
