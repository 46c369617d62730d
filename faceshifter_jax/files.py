"""Files that are complete or absent, and long work that the next process can continue.

Files written next to a path are always new and never reached through a link, see `places`.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.places import (
    check_replaceable,
    fresh_file,
    hidden_path,
    make_own_folder,
    open_in_place,
)

NO_ROOM = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large",
}
"""Errors of a full disk, and the system's names for them."""
MAKE_ROOM = "make room, then give the same command again"
"""Advice for these errors."""


class NoRoom(UserError):
    """The disk is full; with room, the same command continues."""


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 next to `path`, then renames it: a reader never sees half of it.

    What is not text, such as a file name in another encoding, is written as an escape.

    Raises:
      OSError: it cannot be written.
      UserError: `path` is a folder or a device.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes next to `path`, then renames the file; raises as `write_text`."""
    check_replaceable(path, overwrite=True)
    with fresh_file(path) as beside:
        beside.write_bytes(content)
        beside.replace(path)


@contextlib.contextmanager
def publish_file(path: str | Path, *, overwrite: bool) -> Iterator[Path]:
    """Gives a path next to `path`, which is renamed to it at the end.

    That file is created at once, so that a folder that cannot be written to is reported before the
    work. After an exception nothing is left and `path` is as it was.

    Raises:
      UserError: `path` exists and `overwrite` is false, it is not an ordinary file, or its folder
        cannot be written to.
      NoRoom: the disk is full.
    """
    path = Path(path)
    check_replaceable(path, overwrite)
    with contextlib.ExitStack() as stack:
        try:
            beside = stack.enter_context(fresh_file(path))
        except OSError as error:
            raise UserError(
                f"cannot write to the folder {path.parent}: {error.strerror}"
            ) from error
        try:
            yield beside
            check_replaceable(path, overwrite)
            beside.replace(path)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise NoRoom(
                f"cannot write {path}: no space is left on the disk ({NO_ROOM[error.errno]}): "
                f"{MAKE_ROOM}"
            ) from error


_WORK_FILE = "work.json"
# What file systems answer that have no locks, such as Lustre as it is often mounted.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class UnfinishedWork:
    """The hidden folder next to a result that is being made.

    Attributes:
      folder: where to put finished parts.
      begun: whether an earlier process left usable work here.
      keep_after_error: whether a UserError leaves the folder, as for one that says to try again.
    """

    def __init__(self, folder: Path, begun: bool):
        """Uses an existing folder."""
        self.folder = folder
        self.begun = begun
        self.keep_after_error = False


@contextlib.contextmanager
def unfinished_work(result: Path, plan: Mapping[str, Any]) -> Iterator[UnfinishedWork]:
    """Gives a folder next to `result` for what is done so far, which this user alone can read.

    It is removed when the work is finished, and after a UserError: trying again would fail again.
    After any other exception, `NoRoom` too, or if the process is killed, it stays for the next call
    with this plan.

    Args:
      result: the path of the file or the directory that is made.
      plan: all that the result depends on, as plain JSON values; parts that were made for another
        plan are discarded.

    Raises:
      UserError: the folder of `result` cannot be written to, another process is working on it, or
        the folder for unfinished work is a link or belongs to another user.
    """
    folder = _make_folder(result)
    with locked(folder / "lock", f"another process is making {result}: wait for it"):
        # As it will be read.
        plan = json.loads(json.dumps(plan))
        work = UnfinishedWork(folder, begun=_read_plan(folder) == plan)
        if not work.begun:
            _clear(folder)
            write_text(folder / _WORK_FILE, json.dumps(plan, indent=1))
        try:
            yield work
        except UserError as error:
            if not (work.keep_after_error or isinstance(error, NoRoom)):
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


@contextlib.contextmanager
def locked(file: Path, busy: str) -> Iterator[None]:
    """Admits one process at a time; a killed process no longer counts.

    On a file system without locks it excludes nobody, and on one shared by several machines perhaps
    only processes of the same machine.

    Args:
      file: created if missing, in an existing directory, where it stays.
      busy: the message if another process is inside.

    Raises:
      UserError: `busy`, or `file` is a link or not a file.
    """
    with os.fdopen(open_in_place(file, os.O_RDWR)) as lock:
        try:
            # On the systems of this package filelock would do the same, for another dependency.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(busy) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield


def check_place(result: Path) -> None:
    """Raises UserError if nothing can be written next to `result`."""
    folder = _make_folder(result)
    if not any(folder.iterdir()):
        folder.rmdir()


def _make_folder(result: Path) -> Path:
    folder = hidden_path(result, ".unfinished")
    try:
        make_own_folder(folder)
    except OSError as error:
        raise UserError(f"cannot write to the folder {result.parent}: {error.strerror}") from error
    return folder


def _read_plan(folder: Path) -> Any:
    path = folder / _WORK_FILE
    # Links are never created here: the work must not continue from what one leads to.
    if not path.is_file() or any(entry.is_symlink() for entry in folder.rglob("*")):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(path.read_text())
    return None


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()
