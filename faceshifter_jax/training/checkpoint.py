"""Checkpoints of a training: written in the background, checked before they are used.

A checkpoint is an Orbax composite: `state`, the training state as nested dicts of arrays, and
`meta`, JSON with the format version, task, config, step, the dataset's fingerprint, and path and
hash of every frozen network.
"""

import hashlib
from collections.abc import Mapping
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

DIRECTORY = "checkpoints"


class Checkpoints:
    """The checkpoints of one workdir; a context manager that waits for the last one."""

    def __init__(self, workdir: str | Path, *, keep_newest: int, keep_every_steps: int):
        """Looks at `workdir`/checkpoints; what is not there yet is made by `create` or `save`.

        Args:
          workdir: the training's directory.
          keep_newest: how many of the newest checkpoints stay.
          keep_every_steps: checkpoints at multiples of it stay for ever; 0 for none.
        """
        self._directory = Path(workdir).absolute() / DIRECTORY
        self._options = ocp.CheckpointManagerOptions(
            max_to_keep=keep_newest, keep_period=keep_every_steps or None
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
            self._manager.close()

    def create(self) -> None:
        """Makes the directory, and those above it, if need be.

        Raises:
          UserError: it cannot be made.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the directory {self._directory}: {error}") from error

    def latest_step(self) -> int | None:
        """Returns the step of the newest complete checkpoint, None if there is none."""
        return self._manager.latest_step() if self._directory.is_dir() else None

    def save(self, step: int, state: Any, meta: Mapping[str, Any]) -> None:
        """Copies the state off the devices and writes it in the background.

        The state may be donated as soon as this returns. A failure to write is raised by the
        next call of `save` or `wait`.
        """
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(serialization.to_state_dict(state)),
            meta=ocp.args.JsonSave({**meta, "step": step}),
        )
        if not self._manager.save(step, args=arguments):
            raise RuntimeError(f"the checkpoint of step {step} was not written")

    def wait(self) -> None:
        """Returns when everything that was saved is complete on the disk."""
        self._manager.wait_until_finished()

    def read_meta(self, step: int) -> dict[str, Any]:
        """Returns the `meta` part of a checkpoint.

        Raises:
          UserError: an incomplete checkpoint, or a format that this version cannot read.
        """
        _check_complete(self._directory / str(step))
        restored = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
        return check_format(restored["meta"], self._directory / str(step))

    def restore(self, step: int, shapes: Any, sharding: jax.sharding.Sharding) -> Any:
        """Returns the state of a checkpoint, placed as `sharding` says.

        Args:
          step: a step that has a checkpoint.
          shapes: the state that the task expects, as ShapeDtypeStructs.
          sharding: where every array goes.

        Raises:
          UserError: the checkpoint's keys, shapes or dtypes are not the task's.
        """
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            serialization.to_state_dict(shapes),
        )
        stored = self._manager.item_metadata(step)["state"].tree
        check_same_arrays(stored, target, self._directory / str(step))
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
        )
        return serialization.from_state_dict(shapes, restored["state"])


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
    _check_complete(directory)
    meta = check_format(ocp.JsonCheckpointHandler().restore(directory / "meta"), directory)
    params, batch_stats = _read_weights_only(directory / "state")
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


def _read_weights_only(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns parameters (averaged where possible) and batch statistics, keyed by player.

    The optimisers' states, twice as large, are left on the disk.
    """
    handler = ocp.PyTreeCheckpointHandler()
    stored = handler.metadata(directory).tree
    averaged = stored["ema_params"]
    wanted = {
        "ema_params": averaged,
        "params": {name: tree for name, tree in stored["params"].items() if name not in averaged},
        "batch_stats": stored["batch_stats"],
    }
    # Flattened and back: Orbax restores no part of a tree that is an empty dict.
    flat = {
        key: np.empty(leaf.shape, leaf.dtype)
        for key, leaf in traverse_util.flatten_dict(wanted).items()
    }
    wanted = traverse_util.unflatten_dict(flat)
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    restored = handler.restore(
        directory,
        args=ocp.args.PyTreeRestore(wanted, restore_args=as_numpy, partial_restore=True),
    )
    params = {**restored.get("params", {}), **restored.get("ema_params", {})}
    return params, restored.get("batch_stats", {})


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


def _check_complete(directory: Path) -> None:
    for part in ("state", "meta"):
        if not (directory / part).is_dir():
            raise UserError(
                f"the checkpoint {directory} is damaged, it has no {part!r}: remove that directory "
                "to use the one before it"
            )


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
