"""Evaluating the checkpoints of a training while it goes on elsewhere."""

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.evaluating import Measurement, evaluate_into
from faceshifter_jax.evaluation.ledger import LEDGER_FILE, read_ledger
from faceshifter_jax.evaluation.presentation import format_value
from faceshifter_jax.evaluation.subject import Subject
from faceshifter_jax.training.checkpoint import DIRECTORY, DamagedCheckpoint

_CONFIG_FILE = "config.json"


def watch(
    workdir: Path,
    output: Path,
    *,
    load: Callable[[str], Subject],
    measure: Callable[[Subject], Measurement],
    poll_seconds: float,
) -> None:
    """Evaluates each checkpoint once, the oldest first, until the training's last.

    What is done stands in the ledger in `output`, so a watch that was killed goes on where it
    was. A checkpoint that the training removed before its turn, or a damaged one, is named and
    left out. The training has ended when its last step, `num_steps` of config.json, is evaluated.

    Args:
      workdir: the training's directory; it need not exist yet.
      output: where the results go.
      load: reads the checkpoint at a path.
      measure: says, by the first checkpoint, how all of them are measured.
      poll_seconds: between two looks for new checkpoints.

    Raises:
      UserError: `workdir` is a file, another process watches into `output`, or a checkpoint that
        cannot be evaluated, as of another task.
    """
    if workdir.is_file() or workdir.parent.name == DIRECTORY:
        raise UserError(f"--watch needs the workdir of a training, not {workdir}")
    if poll_seconds <= 0:
        raise UserError("--poll-seconds must be above 0")
    output.mkdir(parents=True, exist_ok=True)
    with _alone(output):
        _Watch(workdir.absolute(), output, load, measure).run(poll_seconds)


@dataclass
class _Watch:
    workdir: Path
    output: Path
    load: Callable[[str], Subject]
    measure: Callable[[Subject], Measurement]
    measurement: Measurement | None = None
    left_out: set[int] = field(default_factory=set)

    def run(self, poll_seconds: float) -> None:
        print(f"watching {self.workdir}", flush=True)
        while True:
            # Read before the checkpoints: the last one may be saved in between.
            last = self._last_step()
            for step in self._new_steps():
                self._evaluate(step)
            saved = self._saved_steps()
            if last is not None and saved and max(saved) >= last and not self._new_steps():
                print(f"the training has ended with step {max(saved)}, and all is evaluated")
                return
            time.sleep(poll_seconds)

    def _last_step(self) -> int | None:
        path = self.workdir / _CONFIG_FILE
        return int(json.loads(path.read_text())["num_steps"]) if path.exists() else None

    def _saved_steps(self) -> set[int]:
        found = (self.workdir / DIRECTORY).glob("*")
        return {int(entry.name) for entry in found if entry.name.isdigit()}

    def _new_steps(self) -> list[int]:
        steps = self._saved_steps() - self.left_out
        if not steps:
            return []
        if self.measurement is None:
            subject = self._load(max(steps))
            if subject is None:
                return []
            self.measurement = self.measure(subject)
        return sorted(steps - self._finished_steps())

    def _finished_steps(self) -> set[int]:
        key = self.measurement.key()
        return {
            entry["step"]
            for entry in read_ledger(self.output)
            if all(entry.get(name) == value for name, value in key.items())
        }

    def _evaluate(self, step: int) -> None:
        subject = self._load(step)
        if subject is None:
            return
        record: dict[str, Any] = evaluate_into(
            self.output, subject, self.measurement, keep_step=True
        )
        shown = [
            f"{headline.label} {format_value(headline.metric, record[headline.metric])}"
            for headline in self.measurement.protocol.HEADLINES
        ]
        print(f"step {step}: {', '.join(shown)}", flush=True)
        for text in record["warnings"]:
            print(f"warning: {text}", flush=True)

    def _load(self, step: int) -> Subject | None:
        """Reads a checkpoint; None, and left out from now on, where it is gone or damaged."""
        directory = self.workdir / DIRECTORY / str(step)
        try:
            return self.load(str(directory))
        except UserError as error:
            if directory.exists() and not isinstance(error, DamagedCheckpoint):
                raise
            gone = "the training removed it before its turn (config.keep_checkpoints)"
            print(f"left out step {step}: {error if directory.exists() else gone}", flush=True)
            self.left_out.add(step)
            return None


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Holds the output directory as the only watch; the system lets go of it after a kill."""
    with (output / f".{LEDGER_FILE}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another process watches into {output}: choose --output") from error
        yield
