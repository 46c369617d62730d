"""Checkpoints of a training run: written in the background by the first process."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from flax import serialization

from faceshifter_jax.checkpoints import reading
from faceshifter_jax.checkpoints.compatibility import check_same_arrays
from faceshifter_jax.checkpoints.reading import (
    ARRAY_CHECKSUMS,
    DIRECTORY,
    DamagedCheckpoint,
    array_checksums,
    seal_meta,
)
from faceshifter_jax.errors import UserError
from faceshifter_jax.files import locked
from faceshifter_jax.runtime import distributed
from faceshifter_jax.runtime.faults import explain_write_error

DAMAGED_DIRECTORY = "damaged_checkpoints"
LOCK_FILE = ".lock"
# Otherwise Orbax makes the threads of all processes wait for each other, for minutes after one of
# them has failed.
_ALONE = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})


class Checkpoints:
    """The checkpoints of one workdir; a context manager that waits for the last one.

    With several processes, all of them must call the methods marked "in all processes", in the same
    order. Only the first one writes, so that no thread ever waits for another process; a failed
    write ends all processes the next time they wait for it. All processes must see the same
    workdir.
    """

    def __init__(self, workdir: str | Path, *, keep_newest: int, keep_every_steps: int):
        """Opens `workdir`/checkpoints; if it is missing, `create` or `save` creates it.

        Args:
          workdir: the training run's directory.
          keep_newest: how many of the newest checkpoints are kept.
          keep_every_steps: checkpoints at multiples of it are kept forever; 0 for none.
        """
        self.workdir = Path(workdir).absolute()
        self._directory = self.workdir / DIRECTORY
        self._set_aside = self._directory.with_name(DAMAGED_DIRECTORY)
        self._damaged: dict[int, str] = {}
        self._held: ExitStack | None = None
        self._saving: int | None = None
        self._failure: UserError | None = None
        self._options = ocp.CheckpointManagerOptions(
            max_to_keep=keep_newest,
            keep_period=keep_every_steps or None,
            cleanup_tmp_directories=True,
            create=False,
            multiprocessing_options=_ALONE,
        )

    @cached_property
    def _manager(self) -> ocp.CheckpointManager:
        self._directory.mkdir(parents=True, exist_ok=True)
        return ocp.CheckpointManager(
            self._directory,
            options=self._options,
            item_handlers={
                "state": ocp.StandardCheckpointHandler(multiprocessing_options=_ALONE),
                "meta": ocp.JsonCheckpointHandler(multiprocessing_options=_ALONE),
            },
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_exception: object) -> None:
        with self._held or nullcontext():
            # After a failure there is nothing left to wait for, and the failure was already raised.
            if "_manager" in self.__dict__ and not self._failure:
                with self._explain_failure():
                    self._manager.close()

    def create(self) -> list[str]:
        """Creates the directory, and moves the checkpoints that `newest_whole` found damaged out of
        it.

        Returns:
          A line for each checkpoint that was moved.

        Raises:
          UserError: it cannot be created, or another training run writes to it.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._keep_others_out()
            return [self._move_aside(step, reason) for step, reason in self._damaged.items()]
        except OSError as error:
            raise UserError(f"cannot create the directory {self._directory}: {error}") from error

    def _keep_others_out(self) -> None:
        """Locks the workdir against other training runs until the end of the context."""
        if self._held is None:
            busy = f"another training run writes to {self.workdir}: wait until it ends, or stop it"
            held = ExitStack()
            held.enter_context(locked(self.workdir / LOCK_FILE, busy))
            self._held = held

    def _move_aside(self, step: int, reason: str) -> str:
        self._set_aside.mkdir(exist_ok=True)
        place = self._set_aside / str(step)
        while place.exists():
            place = place.with_name(place.name + "_again")
        (self._directory / str(step)).rename(place)
        return (
            f"the checkpoint of step {step} is damaged, {reason}: it was moved to {place}, and "
            "training continues from the one before it"
        )

    def latest_step(self) -> int | None:
        """Returns the step of the newest complete checkpoint, None if there is none."""
        return max(reading.find_steps(self._directory), default=None)

    def newest_whole(self) -> int | None:
        """Finds the newest undamaged checkpoint by reading them, newest first.

        Returns:
          Its step, None if there is no checkpoint.

        Raises:
          UserError: all of them are damaged, a format that this version cannot read, or another
            training run that writes to the workdir.
        """
        self._damaged = {}
        # Checkpoints that another run saves and removes meanwhile could not be read. A new workdir,
        # in which a refused run leaves nothing, can wait for `create`.
        if self._directory.is_dir():
            self._keep_others_out()
        for step in sorted(reading.find_steps(self._directory), reverse=True):
            directory = self._directory / str(step)
            try:
                reading.read_arrays(directory, reading.read_meta(directory))
            except DamagedCheckpoint as damage:
                self._damaged[step] = damage.reason
            else:
                return step
        if self._damaged:
            step, reason = next(iter(self._damaged.items()))
            raise UserError(
                f"every checkpoint in {self._directory} is damaged, that of step {step} because "
                f"{reason}: restore one from a copy, or start again in another --workdir"
            )
        return None

    def save(self, step: int, state: Any, meta: Mapping[str, Any]) -> None:
        """Writes the state in the background; in all processes.

        A failure to write is raised by this
        and every later call of `save`, `check` or `wait`.

        Args:
          step: number of updates so far.
          state: whole arrays, on the host; they may be views of what is donated afterwards.
          meta: JSON values, see checkpoints/reading.py.

        Raises:
          UserError: this checkpoint, or the one before it, could not be written, for example on a
            full disk; in all processes.
        """
        with distributed.together():
            self._finish()
            if distributed.is_first_process():
                self._begin(step, state, meta)

    def _begin(self, step: int, state: Any, meta: Mapping[str, Any]) -> None:
        arrays = serialization.to_state_dict(state)
        meta = seal_meta({**meta, "step": step, ARRAY_CHECKSUMS: array_checksums(arrays)})
        parts = {"state": ocp.args.StandardSave(arrays), "meta": ocp.args.JsonSave(meta)}
        self._saving = step
        with self._explain_failure():
            if not self._manager.save(step, args=ocp.args.Composite(**parts)):
                raise RuntimeError(f"the checkpoint of step {step} was not written")

    def check(self) -> None:
        """Raises UserError if this process failed to write a checkpoint; never waits."""
        if self._saving is None or not self._manager.is_saving_in_progress():
            self._finish()

    def wait(self) -> None:
        """Returns when everything that was saved is complete on the disk; in all processes.

        Raises:
          UserError: it could not be written; in all processes.
        """
        with distributed.together():
            self._finish()

    def _finish(self) -> None:
        if self._failure:
            raise self._failure
        if self._saving is not None:
            with self._explain_failure():
                self._manager.wait_until_finished()
            self._saving = None

    @contextmanager
    def _explain_failure(self) -> Iterator[None]:
        """Turns Orbax's error for a failed write into a UserError, and remembers it."""
        try:
            yield
        except (OSError, ValueError) as error:
            left = self.latest_step()
            whole = "there is none before it" if left is None else f"that of step {left} is whole"
            self._failure = UserError(
                f"cannot write the checkpoint of step {self._saving} to {self._directory}, "
                f"{whole}: {explain_write_error(error)}"
            )
            raise self._failure from error

    def read_meta(self, step: int) -> dict[str, Any]:
        """Returns the `meta` part of a checkpoint.

        Raises:
          UserError: a damaged checkpoint, or a format that this version cannot read.
        """
        return reading.read_meta(self._directory / str(step))

    def restore(self, step: int, shapes: Any) -> Any:
        """Returns the state of a checkpoint on the devices.

        Args:
          step: a step that has a checkpoint.
          shapes: the state that the task expects, as ShapeDtypeStructs that say their sharding.

        Raises:
          UserError: the checkpoint's keys, shapes or dtypes are not the task's.
        """
        directory = self._directory / str(step)
        target = serialization.to_state_dict(shapes)
        handler: Any = ocp.PyTreeCheckpointHandler()
        saved = handler.metadata(directory / "state").tree
        check_same_arrays(saved, target, directory)
        handler = ocp.StandardCheckpointHandler()
        restored = handler.restore(directory / "state", args=ocp.args.StandardRestore(target))
        return serialization.from_state_dict(shapes, restored)
