"""Files that are complete or absent, and long work that the next process can go on with."""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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


_WORK_FILE = "work.json"
# What file systems answer that have no locks, such as Lustre as it is often mounted.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class UnfinishedWork:
    """The hidden folder beside a result that is being made.

    Attributes:
      folder: where to put the parts that are done.
      begun: whether an earlier process left something here that counts.
      keep_after_error: whether a UserError leaves the folder, as for one that says to try again.
    """

    def __init__(self, folder: Path, begun: bool):
        """Takes a folder that exists."""
        self.folder = folder
        self.begun = begun
        self.keep_after_error = False


@contextlib.contextmanager
def unfinished_work(result: Path, plan: Mapping[str, Any]) -> Iterator[UnfinishedWork]:
    """Gives a folder beside `result` for what is done so far.

    It goes when the work is finished, and after a UserError: trying again would fail again. After
    any other exception, or if the process is killed, it stays for the next call with this plan.

    Args:
      result: the path of the file or the directory that is made.
      plan: all that the result depends on, as plain JSON values; parts that were made after
        another plan are thrown away.

    Raises:
      UserError: the folder of `result` cannot be written to, or another process is at it.
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
        except UserError:
            if not work.keep_after_error:
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


@contextlib.contextmanager
def locked(file: Path, busy: str) -> Iterator[None]:
    """Lets one process at a time be inside; a process that is killed is no longer inside.

    On a file system that has no locks it keeps nobody out, and on one that several machines share
    perhaps only processes of the same machine.

    Args:
      file: made if need be, in an existing directory, where it stays.
      busy: what to say where another process is inside.

    Raises:
      UserError: `busy`.
    """
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(busy) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield


def check_place(result: Path) -> None:
    """Raises UserError if nothing can be written beside `result`."""
    folder = _make_folder(result)
    if not any(folder.iterdir()):
        folder.rmdir()


def _make_folder(result: Path) -> Path:
    folder = result.with_name(f".{result.name}.unfinished")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to the folder {result.parent}: {error.strerror}") from error
    return folder


def _read_plan(folder: Path) -> Any:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return json.loads((folder / _WORK_FILE).read_text())
    return None


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()
