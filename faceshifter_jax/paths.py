"""Paths as users type them: `~` is the home folder, and only local paths are allowed."""

import os
import re
from pathlib import Path

from faceshifter_jax.errors import UserError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# What pathlib leaves of two slashes.
_SCHEME_OF_PATH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)/")


def local_path(text: str | os.PathLike) -> str:
    """Returns a path that was typed, with `~` and `~user` expanded as a shell does.

    For `type` of argparse, too: it is called before anything is read or made.

    Raises:
      UserError: it is a URL such as gs://bucket/run, which is not supported.
    """
    path = os.fspath(text)
    match = _SCHEME_OF_PATH.match(path)
    by_pathlib = match is not None and not isinstance(text, str) and not os.path.isdir(match[1])
    if _SCHEME.match(path) or by_pathlib:
        raise UserError(
            f"{path} is an address, not a path on this machine: copy it here, or mount it and "
            "name the folder"
        )
    if "\0" in path:
        raise UserError(f"{path!r} is not a path: it holds a null character")
    expanded = os.path.expanduser(path)
    if expanded.startswith("~/") or expanded == "~":
        raise UserError(f"{path}: there is no home folder to put for ~; name the whole path")
    return expanded


def local_paths(text: str) -> str:
    """Does what `local_path` does for paths that are separated by commas."""
    return ",".join(local_path(path.strip()) for path in text.split(","))


def check_text(path: str | os.PathLike) -> None:
    """Checks that a path is text, for files of libraries that take no other bytes as names.

    Those that write datasets and checkpoints end otherwise in an error of C++.

    Raises:
      UserError: its name, or that of a folder above it, is not UTF-8.
    """
    whole = Path(path).absolute()
    try:
        os.fspath(whole).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"the name {whole} is not in UTF-8, as datasets and checkpoints need it: choose "
            "another place, or rename the folder"
        ) from error
