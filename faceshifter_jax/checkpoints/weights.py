"""Weights of a training run, read for evaluation or as a frozen network."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from faceshifter_jax.checkpoints import reading
from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.file import NetworkFile, read_network_file
from faceshifter_jax.networks.network import Weights, plain
from faceshifter_jax.networks.shipped import find_shipped, is_shipped
from faceshifter_jax.networks.trained import parts_of
from faceshifter_jax.paths import check_text

_logger = logging.getLogger(__name__)
_FAMILIES_WITH_CONTRACT = ("ghost", "taotaonice", "maum-ai")


def read_weights(path: str | Path) -> Weights:
    """Reads the weights of a training run, finished or not, or of a network file.

    Args:
      path: the workdir of a training run, of which the newest complete checkpoint is read; the
        directory of one checkpoint, `workdir`/checkpoints/STEP; a file that
        `faceshifter convert` made; or the name of a network that comes with the package, such
        as `shipped:identity`.

    Raises:
      UserError: no such directory or file, no complete checkpoint in it, a file that is no
        network file or was changed, or an unknown format.
    """
    if is_shipped(path):
        return _read_network_file(find_shipped(path), str(path), str(path))
    if Path(path).is_file():
        return _read_network_file(Path(path), str(path), str(Path(path).absolute()))
    directory = _find_checkpoint(Path(path))
    check_text(directory)
    meta = reading.read_meta(directory)
    params, batch_stats = _read_weights_only(directory, meta)
    return Weights(
        networks={
            role: part.take(params, batch_stats) for role, part in parts_of(meta, str(path)).items()
        },
        config=plain(meta["config"]),
        params=params,
        batch_stats=batch_stats,
        sha256=hash_arrays({"params": params, "batch_stats": batch_stats}),
        path=str(path),
        directory=str(directory),
        step=int(directory.name),
        frozen=meta["frozen"],
    )


def weights_exist(path: str | Path) -> bool:
    """Whether there is something at a path. Names of networks pass: `read_weights` checks them."""
    return is_shipped(path) or Path(path).exists()


def _read_network_file(file_path: Path, path: str, directory: str) -> Weights:
    file = read_network_file(file_path)
    _warn_of_missing_contract(file, path)
    frozen = dict(file.source.get("frozen", {}))
    return Weights(file.networks, path, file.sha256, frozen, directory)


def _warn_of_missing_contract(file: NetworkFile, path: str) -> None:
    """Files of published generators from before contracts are fed in a way that is not theirs."""
    generator = file.networks.get("generator")
    family = str(file.source.get("family", ""))
    if generator is None or generator.contract is not None:
        return
    if family.startswith(_FAMILIES_WITH_CONTRACT):
        _logger.warning(
            "%s was converted from a %s before network files said how they are fed: convert the "
            "original again to swap as at home",
            *(path, family),
        )


def _read_weights_only(
    directory: Path, meta: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns parameters (averaged where possible) and batch statistics, keyed by player.

    The optimisers' states, twice as large, are not read.
    """

    def choose(state: Mapping[str, Any]) -> dict[str, Any]:
        averaged = state["ema_params"]
        others = {name: tree for name, tree in state["params"].items() if name not in averaged}
        return {
            "ema_params": averaged,
            "params": others,
            "batch_stats": state["batch_stats"],
        }

    restored = reading.read_arrays(directory, meta, choose)
    params = {**restored.get("params", {}), **restored.get("ema_params", {})}
    return params, restored.get("batch_stats", {})


def _find_checkpoint(path: Path) -> Path:
    """Returns the directory of the checkpoint that `path` means."""
    if not path.is_dir():
        raise UserError(f"no weights at {path}: there is no such directory or file")
    path = path.absolute()
    if reading.is_step(path.name) and (path / "state").is_dir():
        return path
    steps = reading.find_steps(path / reading.DIRECTORY)
    if not steps:
        raise UserError(f"no weights at {path}: no training run has saved a checkpoint in it")
    return path / reading.DIRECTORY / str(max(steps))


def hash_arrays(tree: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of the keys, shapes, dtypes and bytes of nested dicts of arrays."""
    digest = hashlib.sha256()
    for key, array in sorted(traverse_util.flatten_dict(tree, sep="/").items()):
        digest.update(f"{key} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
