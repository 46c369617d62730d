"""Checks of a prepared dataset's description, before anything relies on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import UnreadableFile, read_json

_FILES = ("dataset_info.json", "features.json", "metadata.json")
_LARGEST = 2**31
_LARGEST_SIZE = 4096
# TFDS imports any module that the description of features names.
_FEATURES = "tensorflow_datasets.core.features."
_CLASS_KEYS = ("pythonClassName", "type")


def damaged(path: Path, reason: str) -> UserError:
    """Returns the error that a dataset is damaged, in one line."""
    reason = " ".join(reason.split())[:300]
    return UserError(f"the dataset in {path} is damaged: prepare it again ({reason})")


def check_files(path: Path) -> None:
    """Checks the files that describe a dataset before TFDS reads them.

    Raises:
        UserError: one is empty, cut off or of another kind, or names something that is not a
        feature.
    """
    for name in _FILES:
        file = path / name
        if name == "metadata.json" and not file.exists():
            continue
        try:
            content = read_json(file, _LARGEST)
        except UnreadableFile as error:
            raise damaged(path, f"{name}: {error.reason}") from error
        if not isinstance(content, dict):
            raise damaged(path, f"{name} does not hold a JSON object")
        if name == "features.json":
            _check_features(path, content)


def _check_features(path: Path, content: dict[str, Any]) -> None:
    for key, value in _entries(content):
        if key in _CLASS_KEYS and not (isinstance(value, str) and value.startswith(_FEATURES)):
            raise damaged(path, f"features.json names {value!r:.100}, which is not a feature")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def check_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """Checks the types and ranges of what the preparation recorded.

    Raises:
        UserError: something that every dataset has is of a wrong type, or out of range.
    """
    size, number = metadata.get("size"), metadata.get("num_identities")
    if not _is_count(size, 1, _LARGEST_SIZE):
        raise damaged(path, f"the size of its pictures is {size!r:.100}")
    identities = metadata.get("identities")
    if not _is_count(number) or not isinstance(identities, list):
        raise damaged(path, "it does not say who is in its pictures")
    if not all(_is_count(identity, -1) and identity < number for identity in identities):
        raise damaged(path, f"its pictures show people other than its {number}")
    share = metadata.get("occluder_share", 0.0)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise damaged(path, f"the share of covered faces is {share!r:.100}")
    for name, kind in (("identity_names", list), ("names_sha256", str)):
        if not isinstance(metadata.get(name, kind()), kind):
            raise damaged(path, f"{name} is of a wrong type")
    for name in ("num_left_out", "seed", "group_size"):
        if not _is_count(metadata.get(name, 0)):
            raise damaged(path, f"{name} is {metadata[name]!r:.100}")


def check_picture(path: Path, index: int, picture: np.ndarray, size: int) -> None:
    """Raises UserError if a decoded picture does not have the dataset's size."""
    if picture.shape != (size, size, 3):
        raise damaged(path, f"record {index}: {picture.shape[1]}x{picture.shape[0]} pixels")


def _is_count(value: Any, least: int = 0, most: int = 2**63 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
