"""Who is in each picture of a folder: `--identities`."""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

from faceshifter_jax.data.preparation.ways import FOLDERS, NONE, TOP
from faceshifter_jax.errors import UserError
from faceshifter_jax.media.folders import PictureFile
from faceshifter_jax.paths import local_path

# FFHQ and CelebA-HQ number their folders by the first of a thousand pictures of as many people.
_NUMBERED_BY = 1000


def assign_identities(files: Sequence[PictureFile], how: str) -> list[PictureFile]:
    """Says who is in each picture.

    Args:
      files: pictures with their folders as identities.
      how: `folders`: each folder that holds pictures is one person; `top`: each folder at the top
        is, whatever lies below it (VoxCeleb: person/clip/frame); `none`: nobody is known; else the
        path of a text file with a picture's name and its person on each line, as CelebA's
        identity_CelebA.txt.

    Returns:
      the pictures in the same order.

    Raises:
      UserError: the file cannot be read, lacks a picture, or is not on this machine.
    """
    if how == FOLDERS:
        return list(files)
    if how == NONE:
        return [dataclasses.replace(file, identity="") for file in files]
    if how == TOP:
        return [
            dataclasses.replace(file, identity=file.identity.partition("/")[0]) for file in files
        ]
    listed = _read_list(Path(local_path(how)))
    if missing := [file.name for file in files if _person(file, listed) is None]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(
            f"{how} does not say who is in {missing[0]}{more}: each line is a picture's name, "
            "below the folder or without folders, and its person"
        )
    return [dataclasses.replace(file, identity=_person(file, listed) or "") for file in files]


def doubt_folders(files: Sequence[PictureFile]) -> str | None:
    """Returns a warning where folders look like FFHQ's, which are not people; else None.

    They are numbered by their first picture, or hold pictures that are numbered through all
    folders. Datasets of numbered people begin again in each folder, as CASIA-WebFace's.
    """
    names = {file.identity.rpartition("/")[2] for file in files} - {""}
    numbers = [name for name in names if re.fullmatch(r"\d{4,}", name)]
    if len(names) < 2 or len(numbers) < len(names) or len({len(name) for name in names}) > 1:
        return None
    thousands = not any(int(name) % _NUMBERED_BY for name in numbers)
    if not thousands and not _are_numbered_through(files):
        return None
    return (
        f"the folders are numbered{' in thousands' if thousands else ''} "
        f"({', '.join(sorted(names)[:3])}), as those of FFHQ, which are not people: pass "
        "--identities none unless each is one person"
    )


def _are_numbered_through(files: Sequence[PictureFile]) -> bool:
    stems = [re.split(r"[/\\]", file.name)[-1].partition(".")[0] for file in files]
    folders = {file.identity for file in files}
    return (
        len(folders) < len(stems) == len(set(stems))
        and all(re.fullmatch(r"\d+", stem) for stem in stems)
    )  # fmt: skip


def _person(file: PictureFile, listed: dict[str, str]) -> str | None:
    # As folders are written in the list; see `read_folder`.
    name = file.name.replace("\\", "/")
    return listed.get(name) or listed.get(name.rpartition("/")[2])


def _read_list(path: Path) -> dict[str, str]:
    """Name of a picture -> its person."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {os.strerror(error.errno or 0)}; --identities takes {FOLDERS}, "
            f"{TOP}, {NONE} or a file that lists who is in each picture"
        ) from error
    listed = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        # The name may have spaces and commas, the person has none.
        words = re.fullmatch(r"(.*?)\s*[,\s]\s*([^,\s]+)", line.strip())
        if not words or not words[1]:
            raise UserError(
                f"{path}, line {number} is not a picture's name and its person: {line[:60]!r}"
            )
        listed[words[1].replace("\\", "/")] = words[2]
    return listed
