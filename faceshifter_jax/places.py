"""Names and folders that others cannot redirect, by a link or by creating them first."""

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from faceshifter_jax.errors import UserError

_LONGEST_NAME = 255  # bytes, on every file system in use
_RANDOM_BYTES = 6
_TRIES = 100


@contextlib.contextmanager
def fresh_file(path: Path) -> Iterator[Path]:
    """Creates an empty file next to `path` under an unguessable name, and removes it at the end."""
    for _ in range(_TRIES):
        beside = hidden_path(path, f".{secrets.token_hex(_RANDOM_BYTES)}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
            break
    else:
        raise FileExistsError(errno.EEXIST, "no free name", str(path))
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def hidden_path(path: Path, ending: str) -> Path:
    """Returns a hidden name next to `path`, made of `path` and an ending, that is not too long."""
    name = os.fsencode(path.name)
    room = _LONGEST_NAME - len(ending.encode()) - 1
    if len(name) > room:
        told = hashlib.sha256(name).hexdigest()[:16]
        name = f"{os.fsdecode(name[: room - 17])}-{told}".encode("utf-8", "surrogateescape")
    return path.with_name(f".{os.fsdecode(name)}{ending}")


def check_replaceable(path: Path, overwrite: bool) -> None:
    """Checks that a file can be put at `path`, whose folder need not exist.

    Raises:
      UserError: a folder or a device is there, a file is and `overwrite` is false, or no file can
        have that name.
    """
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            with contextlib.suppress(FileNotFoundError):
                mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise UserError(f"{path} is a folder: name the file to write")
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise UserError(f"{path} is {kind_of(mode)}: name an ordinary file to write")
    if not overwrite:
        raise UserError(f"{path} exists: choose another name, or pass --overwrite to replace it")


def kind_of(mode: int) -> str:
    """Describes the kind of a file by its mode from `os.stat`."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISLNK, "a link"),
    )
    return next((words for test, words in kinds if test(mode)), "a file")


def open_in_place(path: Path, flags: int) -> int:
    """Opens or creates a lasting file and returns its descriptor; never through a link.

    Args:
      path: the file; its folder exists.
      flags: of `os.open`, such as `os.O_RDWR` or `os.O_WRONLY | os.O_APPEND`.

    Raises:
      UserError: something else is there, such as a link.
      OSError: it cannot be opened or made.
    """
    always = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | always, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
        raise _not_ours(path, os.lstat(path).st_mode) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _not_ours(path, mode)
    return descriptor


def make_own_folder(folder: Path) -> None:
    """Creates a folder that only this user can read; an existing one must be such a folder.

    Raises:
      UserError: something else is there, a link to a folder, or a folder of another user.
      OSError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700)
        return
    except FileExistsError:
        pass
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EACCES):
            raise
        raise _not_ours(folder, os.lstat(folder).st_mode) from error
    try:
        facts = os.fstat(descriptor)
        if facts.st_uid not in (os.geteuid(), _owner_given_to_us(folder)):
            raise UserError(f"{folder} belongs to another user: have it removed")
        if facts.st_mode & stat.S_IWOTH:
            raise UserError(f"anyone may write to {folder}: remove it")
        if stat.S_IMODE(facts.st_mode) != 0o700:
            # File systems without such modes refuse this.
            with contextlib.suppress(PermissionError):
                os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _owner_given_to_us(folder: Path) -> int:
    """Returns the owner that this file system gives to new files, as with squashed roots."""
    with fresh_file(folder) as probe:
        return os.lstat(probe).st_uid


def _not_ours(path: Path, mode: int) -> UserError:
    return UserError(f"{path} is {kind_of(mode)} that this program did not make: remove it")
