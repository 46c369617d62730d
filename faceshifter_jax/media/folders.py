"""Finding the pictures of a folder and whom each of them shows."""

import dataclasses
import os
from pathlib import Path

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.images import PICTURE_SUFFIXES


@dataclasses.dataclass(frozen=True, order=True)
class PictureFile:
    """A picture's file: `identity` is its folder's path below the top one, "" at the top itself.

    `name` is the file's path below the top folder. Both are written with "/".
    """

    identity: str
    name: str


def list_picture_files(photos: Path) -> list[PictureFile]:
    """Lists the pictures under `photos`, at any depth, sorted by folder and then by name.

    Files are told by their suffix; hidden files and folders are passed over.
    Linked folders are followed, each folder once.

    Raises:
        UserError: `photos` is missing, no folder, not readable, or holds no picture.
    """
    if not photos.exists():
        raise UserError(f"the folder {photos} does not exist")
    if not photos.is_dir():
        raise UserError(f"{photos} is no folder: name the folder that holds the pictures")
    found = []
    visited = set()
    for directory, folders, files in os.walk(photos, onerror=_refuse, followlinks=True):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        if (real := os.path.realpath(directory)) in visited:
            folders.clear()
            continue
        visited.add(real)
        identity = Path(directory).relative_to(photos).as_posix()
        identity = "" if identity == "." else identity
        for file in files:
            if not file.startswith(".") and file.lower().endswith(PICTURE_SUFFIXES):
                found.append(PictureFile(identity, f"{identity}/{file}" if identity else file))
    if not found:
        known = " ".join(PICTURE_SUFFIXES)
        raise UserError(f"the folder {photos} holds no picture (files ending in {known})")
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise UserError(f"cannot read the folder {error.filename}: {error.strerror}") from error
