"""Reading the directory of one checkpoint, and checking it before it is used.

A checkpoint is an Orbax composite: `state`, the training state as nested dicts of arrays, and
`meta`, JSON with the format version, task, config, step, the dataset's fingerprint, path and hash
of every frozen network, and checksums of the arrays and of itself.
"""

import errno
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from faceshifter_jax.checkpoints.compatibility import check_format
from faceshifter_jax.errors import UserError

DIRECTORY = "checkpoints"
"""Name of the directory in a workdir that holds the checkpoints, one directory a step."""

_LONGEST_STEP = 18
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_TENSORSTORE_ERRNO = re.compile(r"OS error (\d+)")


class DamagedCheckpoint(UserError):
    """Raised for a checkpoint that differs from what was saved; `reason` says how."""

    def __init__(self, directory: Path, reason: str):
        super().__init__(
            f"the checkpoint {directory} is damaged, {reason}: remove that directory to use the "
            "one before it"
        )
        self.reason = reason


def find_steps(directory: Path) -> list[int]:
    """Returns the steps of the complete checkpoints in `directory`, in no order."""
    found = directory.glob("*") if directory.is_dir() else ()
    return [int(entry.name) for entry in found if is_step(entry.name) and entry.is_dir()]


def is_step(name: str) -> bool:
    """Whether a folder's name is that of a checkpoint: digits, and only 0 to 9."""
    return name.isascii() and name.isdecimal() and len(name) <= _LONGEST_STEP


def read_meta(directory: Path) -> dict[str, Any]:
    """Returns the `meta` part of the checkpoint in `directory`.

    Raises:
      DamagedCheckpoint: it differs from what was saved.
      UserError: no such directory, a format that this version cannot read, or a disk that does not
        respond.
    """
    if not directory.is_dir():
        raise UserError(f"there is no checkpoint at {directory}")
    _check_has(directory, "meta")
    with _damaged_if_unreadable(directory, "meta"):
        handler: Any = ocp.JsonCheckpointHandler()
        meta = dict(handler.restore(directory / "meta"))
    if isinstance(meta.get("format_version"), int):
        # First: a later format may store its arrays and checksums differently without being
        # damaged.
        check_format(meta, directory)
    _check_has(directory, "state")
    if damage := find_damage(meta):
        raise DamagedCheckpoint(directory, damage)
    return check_format(meta, directory)


def _check_has(directory: Path, part: str) -> None:
    if not (directory / part).is_dir():
        raise DamagedCheckpoint(directory, f"it has no {part!r}")


def read_arrays(
    directory: Path, meta: Mapping[str, Any], choose: Callable = dict
) -> dict[str, Any]:
    """Returns the arrays of a state that `choose` selects from its metadata, as numpy arrays.

    Args:
      directory: of the checkpoint.
      meta: its `meta` part, with the checksums.
      choose: nested dicts of the state's metadata -> those of the arrays to read.

    Raises:
      DamagedCheckpoint: they differ from what was saved.
      UserError: a disk that does not respond.
    """
    handler: Any = ocp.PyTreeCheckpointHandler()
    with _damaged_if_unreadable(directory, "state"):
        # Written by older versions; a restore reads it, the code here does not.
        for path in (directory / "state" / "array_metadatas").glob("*"):
            json.loads(path.read_text())
        wanted = choose(handler.metadata(directory / "state").tree)
        # Flattened and back: Orbax restores no part of a tree that is an empty dict.
        flat: dict[Any, Any] = traverse_util.flatten_dict(wanted)
        flat = {key: np.empty(leaf.shape, leaf.dtype) for key, leaf in flat.items()}
        wanted = traverse_util.unflatten_dict(flat)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        arrays = handler.restore(
            directory / "state",
            args=ocp.args.PyTreeRestore(wanted, restore_args=as_numpy, partial_restore=True),
        )
    if damage := find_damage(meta, arrays):
        raise DamagedCheckpoint(directory, damage)
    return arrays


@contextmanager
def _damaged_if_unreadable(directory: Path, part: str) -> Iterator[None]:
    try:
        yield
    # Readers raise nearly anything for damaged bytes.
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        if not _shows_damage(error):
            raise UserError(
                f"cannot read the checkpoint {directory} now ({reason}): nothing was changed, try "
                "again when its disk responds"
            ) from error
        raise DamagedCheckpoint(directory, f"its {part!r} cannot be read ({reason})") from error


def _shows_damage(error: Exception) -> bool:
    """Whether a file is missing or damaged, rather than the disk or the network at fault."""
    number = getattr(error, "errno", None)
    if number is None and (named := _TENSORSTORE_ERRNO.search(str(error))):
        number = int(named[1])
    return number is None or number in _MISSING


META_CHECKSUM = "meta_checksum"
ARRAY_CHECKSUMS = "array_checksums"


def array_checksums(tree: Any) -> dict[str, int]:
    """Returns the CRC-32 of the bytes of every array of nested dicts, `a/b/c` -> checksum.

    Args:
      tree: numpy arrays.
    """
    flat = traverse_util.flatten_dict(tree, sep="/")
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return dict(zip(flat, pool.map(_checksum, flat.values()), strict=True))


def _checksum(array: np.ndarray) -> int:
    content = np.ascontiguousarray(array).reshape(-1)
    return zlib.crc32(content.view(np.uint8).data)


def seal_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `meta` with its own checksum added."""
    return {**meta, META_CHECKSUM: _meta_checksum(meta)}


def find_damage(meta: Mapping[str, Any], tree: Any | None = None) -> str:
    """Compares arrays with the checksums in `meta`; returns what is wrong, or "".

    Checkpoints of versions without checksums pass.

    Args:
      meta: as it was read.
      tree: nested dicts of arrays as they were read, the state or parts of it.
    """
    if META_CHECKSUM in meta:
        content = {key: value for key, value in meta.items() if key != META_CHECKSUM}
        if _meta_checksum(content) != meta[META_CHECKSUM]:
            return "its 'meta' was changed"
    saved = meta.get(ARRAY_CHECKSUMS)
    if tree is None or saved is None:
        return ""
    for key, checksum in array_checksums(tree).items():
        if saved.get(key) != checksum:
            return f"the array {key} was changed"
    return ""


def _meta_checksum(meta: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())
