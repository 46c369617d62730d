"""Evaluating the checkpoints of a training run while it continues elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from faceshifter_jax.checkpoints.reading import DIRECTORY, DamagedCheckpoint, is_step
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.evaluate import (
    Measurement,
    describe_stages,
    evaluate_into,
    made_directory,
)
from faceshifter_jax.evaluation.ledger import LEDGER_FILE, read_ledger
from faceshifter_jax.evaluation.model import Subject, hash_meta
from faceshifter_jax.evaluation.presentation import format_value
from faceshifter_jax.evaluation.processes import largest
from faceshifter_jax.files import locked
from faceshifter_jax.inputs import read_json
from faceshifter_jax.runtime.distributed import from_first_process, is_first_process, together
from faceshifter_jax.runtime.signals import StopRequest, catch_signals

_CONFIG_FILE = "config.json"
# In place of a step, which is at least 1.
_END = 0
_LONGEST_POLL = 86_400
_LARGEST_CONFIG = 2**24


def watch(
    workdir: Path,
    output: Path,
    *,
    load: Callable[[str], Subject],
    measure: Callable[[Subject], Measurement],
    fixed_second_stage: bool,
    poll_seconds: float,
) -> int | None:
    """Evaluates each checkpoint once, the oldest first, until the training run's last.

    All processes, which see the same training; the first one looks for new checkpoints.

    Finished work is recorded in the ledger in `output`, so a killed watch continues where it was.
    A checkpoint that training removed before its turn, or a damaged one, is reported and left out.
    The training has ended when its last step, `num_steps` of config.json, is evaluated.

    Args:
      workdir: the training run's directory; it need not exist yet.
      output: where the results go.
      load: reads the checkpoint at a path.
      measure: says, by the first checkpoint, how all of them are measured.
      fixed_second_stage: whether `load` adds one HEAR-Net to every checkpoint.
      poll_seconds: between two looks for new checkpoints.

    Returns:
      None at the end. Where there are several processes, a signal to one of them ends all after
      the checkpoint at hand, and this is the exit code.

    Raises:
      UserError: `workdir` is a file, another process watches into `output`, or a checkpoint that
        cannot be evaluated, as of another task.
    """
    with ExitStack() as stack:
        with together():
            if workdir.is_file() or workdir.parent.name == DIRECTORY:
                raise UserError(f"--watch needs the workdir of a training run, not {workdir}")
            if not 0 < poll_seconds <= _LONGEST_POLL:
                raise UserError(f"--poll-seconds must be above 0 and at most {_LONGEST_POLL}")
            if is_first_process():
                stack.enter_context(made_directory(output))
                stack.enter_context(_alone(output))
        stop = StopRequest()
        # Alone, a process can leave at once; together, none may leave the others waiting.
        if jax.process_count() > 1:
            stop = stack.enter_context(catch_signals())
        watched = workdir.absolute(), output, load, measure, fixed_second_stage
        return _Watch(*watched, stop).run(poll_seconds)


@dataclass
class _Watch:
    workdir: Path
    output: Path
    load: Callable[[str], Subject]
    measure: Callable[[Subject], Measurement]
    fixed_second_stage: bool
    stop: StopRequest
    same: dict[str, Any] = field(default_factory=dict)
    measurement: Measurement | None = None
    left_out: set[int] = field(default_factory=set)
    hashes: dict[int, str] = field(default_factory=dict)

    def run(self, poll_seconds: float) -> int | None:
        print(f"watching {self.workdir}", flush=True)
        while True:
            number = largest(self.stop.number or 0)
            if number:
                print("stopped; the same command continues", flush=True)
                return 128 + number
            step = self._next_step()
            if step == _END:
                return None
            if step is None:
                time.sleep(poll_seconds)
            else:
                self._evaluate(step)

    def _next_step(self) -> int | None:
        """The oldest checkpoint that is new, None where there is none yet, or `_END`."""
        step = None
        with together():
            if is_first_process():
                # Read before the checkpoints: the last one may be saved in between.
                last = self._last_step()
                saved = self._saved_steps()
                new = self._new_steps(saved)
                if new:
                    step = new[0]
                elif last is not None and saved and max(saved) >= last:
                    last = max(saved)
                    print(f"the training run has ended with step {last}, and all is evaluated")
                    step = _END
        return from_first_process(step)

    def _last_step(self) -> int | None:
        path = self.workdir / _CONFIG_FILE
        if not path.exists():
            return None
        config = read_json(path, _LARGEST_CONFIG)
        if not isinstance(config, dict) or not isinstance(config.get("num_steps"), int):
            raise UserError(f"{path} is damaged: it does not say num_steps, when training ends")
        return config["num_steps"]

    def _saved_steps(self) -> set[int]:
        found = (self.workdir / DIRECTORY).glob("*")
        return {int(entry.name) for entry in found if entry.is_dir() and is_step(entry.name)}

    def _new_steps(self, saved: set[int]) -> list[int]:
        return sorted(saved - self.left_out - self._finished_steps())

    def _finished_steps(self) -> set[int]:
        """The steps of this very training that the ledger has."""
        if self.measurement is None:
            return set()
        return {
            entry["step"]
            for entry in read_ledger(self.output)
            if all(entry.get(name) == value for name, value in self.same.items())
            and entry.get("checkpoint_meta_sha256") == self._hash_meta(entry["step"])
        }

    def _hash_meta(self, step: int) -> str:
        """The hash of an existing checkpoint's `meta`; "" for one that is gone or damaged."""
        if step not in self.hashes:
            try:
                self.hashes[step] = hash_meta(self.workdir / DIRECTORY / str(step)) or ""
            except UserError:
                return ""
        return self.hashes[step]

    def _evaluate(self, step: int) -> None:
        subject = self._load(step)
        if subject is None:
            return
        if self.measurement is None:
            # Only now can the ledger be asked which steps are new.
            self.measurement = self.measure(subject)
            self.same = self.measurement.key() | {"stages": describe_stages(subject)}
            if self.fixed_second_stage:
                self.same["hear_sha256"] = subject.hear_sha256
            return
        # A user may have evaluated a later one before.
        on_top = step > max(self._finished_steps(), default=0)
        record = evaluate_into(self.output, subject, self.measurement, on_top=on_top)
        shown = [
            f"{headline.label} {format_value(headline.metric, record)}"
            for headline in self.measurement.protocol.HEADLINES
        ]
        print(f"step {step}: {', '.join(shown)}", flush=True)
        for text in record["warnings"]:
            print(f"warning: {text}", flush=True)

    def _load(self, step: int) -> Subject | None:
        """Reads a checkpoint; None, and left out from now on, where it is gone or damaged."""
        directory = self.workdir / DIRECTORY / str(step)
        subject, reason = None, "another process could not read it"
        with together():
            try:
                subject = self.load(str(directory))
            except UserError as error:
                if directory.exists() and not isinstance(error, DamagedCheckpoint):
                    raise
                gone = "the training run removed it before its turn (config.keep_checkpoints)"
                reason = str(error) if directory.exists() else gone
        if largest(subject is None):
            print(f"left out step {step}: {reason}", flush=True)
            self.left_out.add(step)
            return None
        return subject


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Locks the output directory for this watch; the system releases it after a kill."""
    busy = f"another process watches into {output}: choose --output"
    with locked(output / f".{LEDGER_FILE}.lock", busy):
        yield
