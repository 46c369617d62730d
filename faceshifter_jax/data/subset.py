"""A list of some pictures of a prepared dataset, as `faceshifter mine` writes it.

A JSON file: facts of the mining, then under `pictures` one line a picture, the worst first.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from faceshifter_jax.data.prepared import PreparedDataset
from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import UnreadableFile, read_json

_LARGEST = 2**30
FORMAT = "faceshifter subset 1"


class ListedPicture(NamedTuple):
    """A picture of the list: its index in the dataset, its name, and why it is listed."""

    index: int
    name: str
    score: float


def write_subset(
    path: Path,
    dataset: PreparedDataset,
    facts: Mapping[str, Any],
    pictures: Iterable[ListedPicture],
) -> None:
    """Writes a list.

    Args:
      path: the file to write.
      dataset: the dataset of `pictures`.
      facts: further facts as JSON values: how the pictures were chosen.
      pictures: in the order of the list.
    """
    header = {
        "format": FORMAT,
        "dataset": str(dataset.path.absolute()),
        "dataset_fingerprint": dataset.fingerprint,
        "dataset_pictures": dataset.num_pictures,
        **facts,
    }
    lines = ",\n".join(json.dumps(picture._asdict()) for picture in pictures)
    opened = json.dumps(header, indent=2).removesuffix("\n}")
    path.write_text(f'{opened},\n  "pictures": [\n{lines}\n  ]\n}}\n')


def read_subset(path: str | Path, dataset: PreparedDataset) -> np.ndarray:
    """Reads a list: int64 (L,), indices of pictures of `dataset` in the order of the list.

    Raises:
      UserError: the file does not exist, or is not a list, damaged, empty, or of another dataset's
        pictures.
    """
    content = _read_json(path)
    if content["dataset_fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"{path} lists pictures of another dataset, {content['dataset']}, not of "
            f"{dataset.path}: mine this one with `faceshifter mine`"
        )
    try:
        indices = np.array([picture["index"] for picture in content["pictures"]])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(_damaged(path)) from error
    if not len(indices):
        raise UserError(f"{path} is empty: mine again with a larger --share")
    known = indices.dtype == np.int64 and indices.ndim == 1
    if not known or indices.min() < 0 or indices.max() >= dataset.num_pictures:
        raise UserError(_damaged(path))
    if len(np.unique(indices)) != len(indices):
        raise UserError(_damaged(path))
    return indices


def list_targets(datasets: Sequence[PreparedDataset], subset: str) -> list[np.ndarray]:
    """Lists the pictures of each dataset that can be targets: int64 (L,), all of them unless
    `subset` names a list, which restricts the dataset that it was mined from.

    Raises:
      UserError: what `read_subset` raises, or the list is of none of the datasets.
    """
    targets = [np.arange(dataset.num_pictures) for dataset in datasets]
    if not subset:
        return targets
    if len(datasets) == 1:
        return [read_subset(subset, datasets[0])]
    content = _read_json(subset)
    for index, dataset in enumerate(datasets):
        if content["dataset_fingerprint"] == dataset.fingerprint:
            targets[index] = read_subset(subset, dataset)
            return targets
    paths = ", ".join(str(dataset.path) for dataset in datasets)
    raise UserError(
        f"{subset} lists pictures of another dataset, {content['dataset']}, not of one of {paths}: "
        "mine one of these with `faceshifter mine`"
    )


def _read_json(path: str | Path) -> dict[str, Any]:
    try:
        content = read_json(path, _LARGEST)
    except UnreadableFile as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UserError(
                f"there is no list of pictures at {path}: make one with `faceshifter mine`"
            ) from error
        if isinstance(error.__cause__, ValueError | RecursionError):
            raise UserError(_damaged(path)) from error
        raise UserError(f"cannot read the list of pictures {path}: {error.reason}") from error
    if not isinstance(content, dict) or not str(content.get("format")).startswith("faceshifter"):
        raise UserError(_damaged(path))
    if content["format"] != FORMAT:
        raise UserError(
            f"{path} has the format {content['format']!r}, this version reads {FORMAT!r}: mine "
            "again with `faceshifter mine`"
        )
    if not {"dataset", "dataset_fingerprint"} <= content.keys() or not isinstance(
        content.get("pictures"), list
    ):
        raise UserError(_damaged(path))
    return content


def _damaged(path: str | Path) -> str:
    return f"{path} is damaged, or not a list of pictures: make one with `faceshifter mine`"
