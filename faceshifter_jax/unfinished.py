"""Long work that a killed process leaves where the next one goes on."""

import contextlib
import errno
import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import write_text

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
