"""Writing a directory next to its final place and moving it there when it is complete."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import NoRoom
from faceshifter_jax.paths import check_text
from faceshifter_jax.places import hidden_path

DATASET_MARK = "dataset_info.json"
"""The file by which TFDS and this package recognise a dataset's directory."""


@contextlib.contextmanager
def publish_when_complete(
    out: Path, *, overwrite: bool, scratch_in: Path | None = None
) -> Iterator[Path]:
    """Gives a scratch directory next to `out`; its child "result" becomes `out` at the end.

    An exception leaves `out` as it was and removes the scratch directory; a killed process
    leaves `out` as it was and a hidden directory `.NAME.partial-*` next to it, or in `scratch_in`,
    a directory on the same file system.

    Raises:
        UserError: `out` exists and `overwrite` is false, or is not a prepared dataset and would be
            overwritten, its parent directory cannot be written to, or its name is not UTF-8.
        NoRoom: the disk is full.
    """
    out = out.absolute()
    check_dataset_replaceable(out, overwrite)
    make_parent(out)
    # It adds eight letters of its own.
    prefix = hidden_path(out, ".partial-12345678").name[:-8]
    try:
        scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=scratch_in or out.parent))
    except OSError as error:
        raise UserError(f"cannot write to {out.parent}: {error.strerror}") from error
    try:
        yield scratch
        check_dataset_replaceable(out, overwrite)
        _replace(out, scratch / "result", scratch / "replaced")
    except UserError:
        raise
    # The writers of records raise exceptions of their own where a disk is full.
    except Exception as error:
        # Not at the top: it loads jax.
        from faceshifter_jax.runtime.faults import explain_write_error, is_no_room

        if not is_no_room(error):
            raise
        raise NoRoom(f"cannot write to {out.parent}: {explain_write_error(error)}") from error
    finally:
        shutil.rmtree(scratch)


def make_parent(out: Path) -> None:
    """Creates the parent directory of `out`; raises UserError if that fails."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out.parent}: {error.strerror}") from error


def check_dataset_replaceable(out: Path, overwrite: bool) -> None:
    """Raises UserError as `publish_when_complete` for `out` and what exists there now."""
    check_text(out)
    try:
        os.lstat(out)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from error
    if out.is_dir() and not any(out.iterdir()):
        return
    if not (out / DATASET_MARK).is_file():
        raise UserError(f"{out} exists and is not a prepared dataset: choose another place")
    if not overwrite:
        raise UserError(f"{out} exists: choose another place, or pass --overwrite to replace it")


def _replace(out: Path, result: Path, replaced: Path) -> None:
    if not os.path.lexists(out):
        os.rename(result, out)
        return
    os.rename(out, replaced)
    try:
        os.rename(result, out)
    except BaseException:
        os.rename(replaced, out)
        raise
