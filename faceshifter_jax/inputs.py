"""Reading files from others within limits: only ordinary files, and only up to a plausible size."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from faceshifter_jax.errors import UserError
from faceshifter_jax.places import kind_of


class UnreadableFile(UserError):
    """A file that cannot be read; `reason` says why without naming it."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"cannot read {path}: {reason}")
        self.reason = reason


def open_input(path: str | Path, most_bytes: int | None = None) -> BinaryIO:
    """Opens a file for reading; never waits for a pipe's writer.

    Args:
      path: the file.
      most_bytes: the most bytes that such a file can have; None for any number.

    Raises:
      UnreadableFile: there is none, it is a folder, a pipe or a device, or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableFile(path, error.strerror or str(error)) from error
    facts = os.fstat(descriptor)
    reason = ""
    if stat.S_ISDIR(facts.st_mode):
        reason = os.strerror(errno.EISDIR)
    elif not stat.S_ISREG(facts.st_mode):
        reason = f"it is {kind_of(facts.st_mode)}, not an ordinary file"
    elif most_bytes is not None and facts.st_size > most_bytes:
        reason = _too_large(facts.st_size, most_bytes)
    if reason:
        os.close(descriptor)
        raise UnreadableFile(path, reason)
    return os.fdopen(descriptor, "rb")


def read_input(path: str | Path, most_bytes: int) -> bytes:
    """Reads a whole file; raises as `open_input`."""
    with open_input(path, most_bytes) as file:
        try:
            # Files of /proc say that they are empty.
            content = file.read(most_bytes + 1)
        except OSError as error:
            raise UnreadableFile(path, error.strerror or str(error)) from error
    if len(content) > most_bytes:
        raise UnreadableFile(path, _too_large(len(content), most_bytes))
    return content


def read_json(path: str | Path, most_bytes: int) -> Any:
    """Reads a JSON file.

    Raises:
      UnreadableFile: as `open_input`, or it is not JSON text, for example one that was cut off.
    """
    content = read_input(path, most_bytes)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise UnreadableFile(path, "it is nested too deep") from error
    except ValueError as error:
        reason = f"it is not JSON text, or was cut off ({error})" if content else "it is empty"
        raise UnreadableFile(path, reason) from error


def _too_large(size: int, most_bytes: int) -> str:
    return f"it has {size / 2**20:.0f} MB, and {most_bytes / 2**20:.0f} MB are the most"
