"""Files that are either complete or absent: written beside their place, then renamed."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from faceshifter_jax.errors import UserError

_numbers = itertools.count()


def write_text(path: Path, text: str) -> None:
    """Writes `text` beside `path`, then renames it: a reader never sees half of it."""
    beside = _beside(path)
    try:
        beside.write_text(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def publish_file(path: str | Path, *, overwrite: bool) -> Iterator[Path]:
    """Gives a path beside `path`, which is renamed to it at the end.

    That file is made at once: a folder that cannot be written to is found out before the work
    and not after it. After an exception nothing is left and `path` is as it was.

    Raises:
      UserError: `path` exists and `overwrite` is false, or its folder cannot be written to.
    """
    path = Path(path)
    check_replaceable(path, overwrite)
    beside = _beside(path)
    try:
        beside.touch()
    except OSError as error:
        raise UserError(f"cannot write to the folder {path.parent}: {error.strerror}") from error
    try:
        yield beside
        check_replaceable(path, overwrite)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name that nobody else has, not even who writes the same file at the same time."""
    return path.with_name(f".{path.name}.{os.getpid()}.{next(_numbers)}")


def check_replaceable(path: Path, overwrite: bool) -> None:
    """Raises UserError where `path` is a folder, or exists and `overwrite` is false."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the file to write")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{path} exists: choose another name, or pass --overwrite to replace it")
