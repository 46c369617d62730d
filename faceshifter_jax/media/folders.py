"""Finding the pictures of a folder and the person in each of them."""

import collections
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.opening import PICTURE_SUFFIXES, RAW_SUFFIXES, looks_like_picture

_NAMED = 5
# What a network drive and an archive from a Mac add: thumbnails and shadows of the real files.
_NOT_OF_THE_USER = ("@eaDir", "__MACOSX")
# Suffixes of common files in picture folders that are clearly not pictures: counted, not named.
_NEVER_PICTURES = (
    *(".aae", ".csv", ".db", ".html", ".ini", ".json", ".jsonl", ".lnk", ".log", ".md", ".npy"),
    *(".npz", ".pdf", ".py", ".tsv", ".txt", ".url", ".xml", ".xmp", ".yaml", ".yml", ".zip"),
)


@dataclasses.dataclass(frozen=True, order=True)
class PictureFile:
    """A picture's file: `identity` is its folder's path below the top one, "" at the top itself.

    `name` is the file's path below the top folder. Both are written with "/".
    """

    identity: str
    name: str


@dataclasses.dataclass(frozen=True)
class Folder:
    """The content of a folder, at any depth.

    Attributes:
      pictures: files that are taken for pictures, sorted by folder and then by name.
      others: names of files that are left out and might be meant, such as raw photographs and
        films, as in `PictureFile`, sorted.
      never: names of files that are not pictures, such as texts.
      passed: folders that were not looked into: hidden ones, thumbnails and the like, sorted.
      hidden: names of files that begin with a dot, as those of a Mac's shadows do, sorted.
      also: names of files that were asked for besides pictures, sorted.
    """

    pictures: list[PictureFile]
    others: list[str]
    never: list[str]
    passed: list[str] = dataclasses.field(default_factory=list)
    also: list[str] = dataclasses.field(default_factory=list)
    hidden: list[str] = dataclasses.field(default_factory=list)

    def note(self) -> str | None:
        """Describes the other files in one line, likely pictures by name; None without any."""
        parts = [_describe_others(self.others)] if self.others else []
        if self.never:
            parts.append(f"skipped, not pictures: {_count(self.never)}")
        if self.hidden:
            parts.append(f"skipped, hidden: {_name_some(self.hidden)}")
        if self.passed:
            parts.append(f"not looked into: {_name_some(self.passed)}")
        return "; ".join(parts) or None


def read_folder(photos: Path, is_also: Callable[[str], bool] = lambda name: False) -> Folder:
    """Lists what is under `photos`.

    Files are pictures by their suffix, or, where they have none, by their content. Linked folders
    are followed, each folder once.

    Args:
        photos: the folder.
        is_also: which other files are asked for, by their names.

    Raises:
        UserError: `photos` is missing, not a folder, not readable, or holds nothing asked for.
    """
    if not photos.exists():
        raise UserError(f"the folder {photos} does not exist")
    if not photos.is_dir():
        raise UserError(f"{photos} is not a folder: name the folder that holds the pictures")
    found = Folder([], [], [])
    visited = set()
    for directory, folders, files in os.walk(photos, onerror=_refuse, followlinks=True):
        foreign = [name for name in folders if _is_hidden(name)]
        found.passed.extend(
            Path(directory, name).relative_to(photos).as_posix()
            for name in foreign
            if not _is_unfinished(name)
        )
        folders[:] = [name for name in folders if name not in foreign]
        if (real := os.path.realpath(directory)) in visited:
            folders.clear()
            continue
        visited.add(real)
        identity = Path(directory).relative_to(photos).as_posix()
        identity = "" if identity == "." else identity
        for file in files:
            name = f"{identity}/{file}" if identity else file
            # An archive of Windows may have been unpacked to files named folder\\file.
            if any(_is_hidden(part) for part in file.split("\\")):
                found.hidden.append(name)
            elif _is_picture(Path(directory, file)):
                person = name.replace("\\", "/").rpartition("/")[0]
                found.pictures.append(PictureFile(person, name))
            elif is_also(name):
                found.also.append(name)
            else:
                (found.never if _is_never(name) else found.others).append(name)
    if not found.pictures and not found.also:
        known = " ".join(PICTURE_SUFFIXES)
        found.others.sort()
        others = f"; {note}" if (note := found.note()) else ""
        raise UserError(f"the folder {photos} holds no picture (files ending in {known}){others}")
    return Folder(
        sorted(found.pictures),
        *map(sorted, (found.others, found.never, found.passed, found.also, found.hidden)),
    )


def why_left_out(name: str) -> str:
    """Explains why one of `Folder.others` is not read."""
    suffix = Path(name).suffix.lower()
    if suffix in RAW_SUFFIXES:
        return "a raw photograph: develop it into a JPEG, PNG or TIFF first"
    return f"{suffix} is not read as a picture"


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _NOT_OF_THE_USER


def _is_unfinished(name: str) -> bool:
    """Whether a hidden folder is what this package is writing, inside the user's, just now."""
    return ".partial-" in name or name.endswith(".unfinished")


def _is_picture(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in PICTURE_SUFFIXES or (not suffix and looks_like_picture(path))


def _is_never(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return not suffix or suffix in _NEVER_PICTURES


def _describe_others(others: Sequence[str]) -> str:
    is_raw = any(Path(name).suffix.lower() in RAW_SUFFIXES for name in others)
    raw = "; raw photographs must be developed first" if is_raw else ""
    files = "1 file that is" if len(others) == 1 else f"{len(others)} files that are"
    return f"left out {files} not read as pictures ({_count(others)}): {_name_some(others)}{raw}"


def _name_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _count(names: Sequence[str]) -> str:
    kinds = collections.Counter(Path(name).suffix.lower() or "without suffix" for name in names)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_NAMED))


def _refuse(error: OSError) -> None:
    raise UserError(f"cannot read the folder {error.filename}: {error.strerror}") from error
