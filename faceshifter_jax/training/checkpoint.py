"""Checkpoints of a training: written in the background, checked before they are used.

A checkpoint is an Orbax composite: `state`, the training state as nested dicts of arrays, and
`meta`, JSON with the format version, task, config, step, the dataset's fingerprint, path and hash
of every frozen network, and checksums of the arrays and of itself.
"""

import errno
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization, traverse_util

from faceshifter_jax.errors import UserError
from faceshifter_jax.network import Network
from faceshifter_jax.network_file import read_network_file
from faceshifter_jax.tasks.trained import trained_networks
from faceshifter_jax.training.compatibility import check_format, check_same_arrays
from faceshifter_jax.training.faults import explain_write_error
from faceshifter_jax.training.integrity import (
    ARRAY_CHECKSUMS,
    array_checksums,
    find_damage,
    seal_meta,
)

DIRECTORY = "checkpoints"
DAMAGED_DIRECTORY = "damaged_checkpoints"
# How long processes wait for one that has failed to write, at half of Orbax's own limit; the
# slowest write that is none has to fit in.
_TIMEOUT_SECONDS = 600
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_TENSORSTORE_ERRNO = re.compile(r"OS error (\d+)")


class DamagedCheckpoint(UserError):
    """A checkpoint that is not what was saved; `reason` says how that shows."""

    def __init__(self, directory: Path, reason: str):
        super().__init__(
            f"the checkpoint {directory} is damaged, {reason}: remove that directory to use the "
            "one before it"
        )
        self.reason = reason


class Checkpoints:
    """The checkpoints of one workdir; a context manager that waits for the last one.

    Where processes are several, all of them save and restore, and the first one writes; the
    workdir is one that all of them see.
    """

    def __init__(self, workdir: str | Path, *, keep_newest: int, keep_every_steps: int):
        """Looks at `workdir`/checkpoints; what is not there yet is made by `create` or `save`.

        Args:
          workdir: the training's directory.
          keep_newest: how many of the newest checkpoints stay.
          keep_every_steps: checkpoints at multiples of it stay for ever; 0 for none.
        """
        self.workdir = Path(workdir).absolute()
        self._directory = self.workdir / DIRECTORY
        self._set_aside = self._directory.with_name(DAMAGED_DIRECTORY)
        self._damaged: dict[int, str] = {}
        self._saving: int | None = None
        self._options = ocp.CheckpointManagerOptions(
            max_to_keep=keep_newest,
            keep_period=keep_every_steps or None,
            cleanup_tmp_directories=True,
            async_options=ocp.AsyncOptions(timeout_secs=_TIMEOUT_SECONDS),
        )

    @cached_property
    def _manager(self) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(
            self._directory,
            options=self._options,
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "meta": ocp.JsonCheckpointHandler(),
            },
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_exception: object) -> None:
        if "_manager" in self.__dict__:
            with self._explain_failure():
                self._manager.close()

    def create(self) -> list[str]:
        """Makes the directory, and moves what `newest_whole` found damaged out of it.

        Returns:
          A line for each checkpoint that was moved.

        Raises:
          UserError: it cannot be made.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            return [self._move_aside(step, reason) for step, reason in self._damaged.items()]
        except OSError as error:
            raise UserError(f"cannot make the directory {self._directory}: {error}") from error

    def _move_aside(self, step: int, reason: str) -> str:
        self._set_aside.mkdir(exist_ok=True)
        place = self._set_aside / str(step)
        while place.exists():
            place = place.with_name(place.name + "_again")
        (self._directory / str(step)).rename(place)
        return (
            f"the checkpoint of step {step} is damaged, {reason}: it is in {place} now, and the "
            "training goes on from the one before it"
        )

    def latest_step(self) -> int | None:
        """Returns the step of the newest complete checkpoint, None if there is none."""
        return max(self._steps(), default=None)

    def _steps(self) -> list[int]:
        return [int(entry.name) for entry in self._directory.glob("*") if entry.name.isdigit()]

    def newest_whole(self) -> int | None:
        """Reads the newest checkpoint to see that it is as it was saved, else the one before it.

        Returns:
          Its step, None if there is no checkpoint.

        Raises:
          UserError: none of them is whole, or a format that this version cannot read.
        """
        self._damaged = {}
        for step in sorted(self._steps(), reverse=True):
            directory = self._directory / str(step)
            try:
                meta = _read_meta(directory)
                _check_arrays(directory, meta, _read_arrays(directory))
            except DamagedCheckpoint as damage:
                self._damaged[step] = damage.reason
            else:
                return step
        if self._damaged:
            step, reason = next(iter(self._damaged.items()))
            raise UserError(
                f"every checkpoint in {self._directory} is damaged, that of step {step} because "
                f"{reason}: bring one back from a copy, or begin anew in another --workdir"
            )
        return None

    def save(self, step: int, state: Any, meta: Mapping[str, Any]) -> None:
        """Copies the state off the devices and writes it in the background.

        The state may be donated as soon as this returns. A failure to write is raised by the
        next call of `save`, `check` or `wait`.

        Raises:
          UserError: it, or the one before it, could not be written, as on a full disk.
        """
        self.wait()
        state, meta = serialization.to_state_dict(state), {**meta, "step": step}
        if jax.process_index() == 0:
            meta = seal_meta({**meta, ARRAY_CHECKSUMS: array_checksums(state)})
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
        )
        self._saving = step
        with self._explain_failure():
            if not self._manager.save(step, args=arguments):
                raise RuntimeError(f"the checkpoint of step {step} was not written")

    def check(self) -> None:
        """Raises UserError if what was saved could not be written; never waits."""
        if self._saving is not None and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Returns when everything that was saved is complete on the disk.

        Raises:
          UserError: it could not be written.
        """
        if self._saving is not None:
            with self._explain_failure():
                self._manager.wait_until_finished()
            self._saving = None

    @contextmanager
    def _explain_failure(self) -> Iterator[None]:
        """Turns what Orbax raises when it cannot write into a UserError."""
        try:
            yield
        # The last is a barrier to which another process, which says why, did not come.
        except (OSError, ValueError, jax.errors.JaxRuntimeError) as error:
            step, self._saving = self._saving, None
            left = self.latest_step()
            whole = "there is none before it" if left is None else f"that of step {left} is whole"
            raise UserError(
                f"cannot write the checkpoint of step {step} to {self._directory}, {whole}: "
                f"{explain_write_error(error)}"
            ) from error

    def read_meta(self, step: int) -> dict[str, Any]:
        """Returns the `meta` part of a checkpoint.

        Raises:
          UserError: a damaged checkpoint, or a format that this version cannot read.
        """
        return _read_meta(self._directory / str(step))

    def restore(self, step: int, shapes: Any, sharding: jax.sharding.Sharding) -> Any:
        """Returns the state of a checkpoint, placed as `sharding` says.

        Args:
          step: a step that has a checkpoint.
          shapes: the state that the task expects, as ShapeDtypeStructs.
          sharding: where every array goes.

        Raises:
          UserError: the checkpoint's keys, shapes or dtypes are not the task's.
        """
        directory = self._directory / str(step)
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            serialization.to_state_dict(shapes),
        )
        stored = ocp.PyTreeCheckpointHandler().metadata(directory / "state").tree
        check_same_arrays(stored, target, directory)
        restored = ocp.StandardCheckpointHandler().restore(
            directory / "state", args=ocp.args.StandardRestore(target)
        )
        return serialization.from_state_dict(shapes, restored)


@dataclass(frozen=True)
class LoadedWeights:
    """Weights of trained networks, ready for evaluation or as a frozen network.

    Attributes:
      networks: role -> network.
      config: the complete config of the training; its sequences are tuples. Empty, as are
        `params`, `batch_stats` and `frozen`, for a network file.
      params: player -> parameters as numpy arrays: their average over the steps where the
        training kept one, else the parameters themselves.
      batch_stats: player -> running statistics as numpy arrays.
      sha256: hash of the keys, shapes, dtypes and bytes of `params` and `batch_stats`, or of
        the network file's content.
      path: where they were asked for.
      directory: the absolute path of what was read, `workdir`/checkpoints/STEP or a file.
      step: the number of updates behind them, 0 for a network file.
      frozen: the frozen networks of the training, name -> {"path", "sha256"}.
    """

    networks: Mapping[str, Network]
    config: dict[str, Any]
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    sha256: str
    path: str
    directory: str
    step: int
    frozen: dict[str, dict[str, str]]


def read_weights(path: str | Path) -> LoadedWeights:
    """Reads the weights that a training left behind, or has saved so far, or a network file.

    Args:
      path: the workdir of a training, of which the newest complete checkpoint is read; the
        directory of one checkpoint, `workdir`/checkpoints/STEP; or a file that
        `faceshifter convert` made.

    Raises:
      UserError: no such directory or file, no complete checkpoint in it, a file that is no
        network file or was changed, or an unknown format.
    """
    if Path(path).is_file():
        return _read_network_file(Path(path))
    directory = _find_checkpoint(Path(path))
    meta = _read_meta(directory)
    params, batch_stats = _read_weights_only(directory, meta)
    config = _with_tuples(meta["config"])
    return LoadedWeights(
        networks=trained_networks(config, params, batch_stats),
        config=config,
        params=params,
        batch_stats=batch_stats,
        sha256=_hash_arrays({"params": params, "batch_stats": batch_stats}),
        path=str(path),
        directory=str(directory),
        step=int(directory.name),
        frozen=meta["frozen"],
    )


def _read_network_file(path: Path) -> LoadedWeights:
    file = read_network_file(path)
    return LoadedWeights(
        networks=file.networks,
        config={},
        params={},
        batch_stats={},
        sha256=file.sha256,
        path=str(path),
        directory=str(path.absolute()),
        step=0,
        frozen={},
    )


def _read_weights_only(
    directory: Path, meta: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns parameters (averaged where possible) and batch statistics, keyed by player.

    The optimisers' states, twice as large, are left on the disk.
    """

    def choose(stored: Mapping[str, Any]) -> dict[str, Any]:
        averaged = stored["ema_params"]
        others = {name: tree for name, tree in stored["params"].items() if name not in averaged}
        return {
            "ema_params": averaged,
            "params": others,
            "batch_stats": stored["batch_stats"],
        }

    restored = _read_arrays(directory, choose)
    _check_arrays(directory, meta, restored)
    params = {**restored.get("params", {}), **restored.get("ema_params", {})}
    return params, restored.get("batch_stats", {})


def _read_meta(directory: Path) -> dict[str, Any]:
    for part in ("state", "meta"):
        if not (directory / part).is_dir():
            raise DamagedCheckpoint(directory, f"it has no {part!r}")
    with _damaged_if_unreadable(directory, "meta"):
        meta = dict(ocp.JsonCheckpointHandler().restore(directory / "meta"))
    if damage := find_damage(meta):
        raise DamagedCheckpoint(directory, damage)
    return check_format(meta, directory)


def _check_arrays(directory: Path, meta: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    if damage := find_damage(meta, arrays):
        raise DamagedCheckpoint(directory, damage)


def _read_arrays(directory: Path, choose: Callable = dict) -> dict[str, Any]:
    """Returns the arrays of a state that `choose` leaves of its metadata, as numpy arrays."""
    handler = ocp.PyTreeCheckpointHandler()
    with _damaged_if_unreadable(directory, "state"):
        # Read by `restore`, but not by what comes here.
        for path in (directory / "state" / "array_metadatas").glob("*"):
            json.loads(path.read_text())
        wanted = choose(handler.metadata(directory / "state").tree)
        # Flattened and back: Orbax restores no part of a tree that is an empty dict.
        flat = {
            key: np.empty(leaf.shape, leaf.dtype)
            for key, leaf in traverse_util.flatten_dict(wanted).items()
        }
        wanted = traverse_util.unflatten_dict(flat)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        return handler.restore(
            directory / "state",
            args=ocp.args.PyTreeRestore(wanted, restore_args=as_numpy, partial_restore=True),
        )


@contextmanager
def _damaged_if_unreadable(directory: Path, part: str) -> Iterator[None]:
    try:
        yield
    # Whatever a reader stumbles over in bytes that are not what was written.
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        if not _shows_damage(error):
            raise UserError(
                f"cannot read the checkpoint {directory} now ({reason}): nothing was changed, try "
                "again when its disk answers"
            ) from error
        raise DamagedCheckpoint(directory, f"its {part!r} cannot be read ({reason})") from error


def _shows_damage(error: Exception) -> bool:
    """Whether a file is missing or holds other bytes; else the disk or the network failed."""
    number = getattr(error, "errno", None)
    if number is None and (named := _TENSORSTORE_ERRNO.search(str(error))):
        number = int(named[1])
    return number is None or number in _MISSING


def _find_checkpoint(path: Path) -> Path:
    """Returns the directory of the checkpoint that `path` means."""
    if not path.is_dir():
        raise UserError(f"no weights at {path}: there is no such directory or file")
    path = path.absolute()
    if path.name.isdigit() and (path / "state").is_dir():
        return path
    steps = [int(entry.name) for entry in (path / DIRECTORY).glob("*") if entry.name.isdigit()]
    if not steps:
        raise UserError(
            f"no weights at {path}: it is not the workdir of a training that has saved a checkpoint"
        )
    return path / DIRECTORY / str(max(steps))


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _hash_arrays(tree: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for key, array in sorted(traverse_util.flatten_dict(tree, sep="/").items()):
        digest.update(f"{key} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
