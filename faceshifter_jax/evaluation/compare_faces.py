"""Comparing the faces in photos: how similar an identity network finds them."""

import contextlib
import csv
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.finder import AlignedFace, FaceFinder
from faceshifter_jax.files import publish_file
from faceshifter_jax.media.folders import read_folder
from faceshifter_jax.media.photos import load_photo
from faceshifter_jax.messages import printable
from faceshifter_jax.runtime.progress import Progress

_logger = logging.getLogger(__name__)
_ALIGNED_SIZE = 256
_EMBEDDED_TOGETHER = 64
_LARGEST_MATRIX = 12
_SHOWN_PAIRS = 20


def compare_faces(
    places: Sequence[str], identity: str, output: str | None, *, overwrite: bool, as_json: bool
) -> None:
    """Compares the largest faces of all pictures with each other, and prints how similar they are.

    Args:
      places: photos, or folders of them.
      identity: workdir of an arcface training run, or a converted network.
      output: table of all pairs to write, as CSV.
      overwrite: whether that may exist.
      as_json: print one JSON object in place of lines for a reader.

    Raises:
      UserError: fewer than two pictures with a face, or a file that cannot be used.
    """
    paths = _list_pictures(places)
    with contextlib.ExitStack() as stack:
        table = None
        if output:
            table = stack.enter_context(publish_file(output, overwrite=overwrite))
        # Not at the top: jax takes seconds, and mistakes in file names are found without it.
        from faceshifter_jax.swapping.stages import build_embed, load_identity

        network, _ = load_identity(identity)
        finder = FaceFinder(
            _ALIGNED_SIZE, embed=build_embed(network), alignment=network.input.alignment
        )
        names, embeddings = embed_faces(paths, finder)
        if len(names) < 2:
            raise UserError(
                f"a face was found in {len(names)} of {len(paths)} pictures: two are the least "
                "that can be compared"
            )
        cosines = np.clip(embeddings @ embeddings.T, -1, 1)
        pairs = sort_pairs(cosines)
        if table is not None:
            write_table(table, names, cosines, pairs)
    if as_json:
        print(json.dumps(as_record(names, cosines, pairs), indent=2))
        return
    shown = [printable(name) for name in names]
    print("\n".join(describe(shown, cosines, pairs)))
    if output:
        print(printable(f"wrote {output}"))


def embed_faces(paths: Sequence[Path], finder: FaceFinder) -> tuple[list[str], np.ndarray]:
    """Embeds the largest face of each picture; names those that have none or cannot be read.

    Args:
      paths: the pictures' files.
      finder: finds the faces and tells them apart.

    Returns:
      names of the N pictures with a face, and their embeddings (N, E) float32.
    """
    names: list[str] = []
    waiting: list[AlignedFace] = []
    embeddings: list[np.ndarray] = []
    progress = Progress("looking for faces", len(paths))
    for path in paths:
        progress.advance()
        try:
            photo = load_photo(path)
            waiting.append(finder.require(photo.pixels, photo.name)[0])
        except UserError as error:
            progress.note(f"left out: {error}")
            continue
        names.append(str(path))
        if len(waiting) == _EMBEDDED_TOGETHER:
            embeddings.append(finder.embed(waiting))
            waiting.clear()
    progress.finish()
    if waiting:
        embeddings.append(finder.embed(waiting))
    return names, np.concatenate(embeddings) if embeddings else np.zeros((0, 1), np.float32)


def sort_pairs(cosines: np.ndarray) -> np.ndarray:
    """Returns the pairs (P, 2) of row and column, row < column, with the largest cosine first."""
    first, second = np.triu_indices(len(cosines), 1)
    order = np.argsort(-cosines[first, second], kind="stable")
    return np.stack([first[order], second[order]], 1)


def write_table(path: Path, names: Sequence[str], cosines: np.ndarray, pairs: np.ndarray) -> None:
    """Writes a line a pair: both names, as the bytes that they are, and the cosine."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["first", "second", "cosine"])
        for first, second in pairs:
            writer.writerow([names[first], names[second], f"{cosines[first, second]:.4f}"])


def as_record(names: Sequence[str], cosines: np.ndarray, pairs: np.ndarray) -> dict[str, Any]:
    """The same as the table, for a program: `faces`, and `pairs` with their cosines."""
    return {
        "faces": list(names),
        "pairs": [
            {"first": names[i], "second": names[j], "cosine": round(float(cosines[i, j]), 4)}
            for i, j in pairs
        ],
    }


def describe(names: Sequence[str], cosines: np.ndarray, pairs: np.ndarray) -> Iterator[str]:
    """Yields lines for a reader: all cosines of a few pictures, the nearest pairs of many."""
    if len(names) <= _LARGEST_MATRIX:
        yield from _matrix_lines(names, cosines)
    shown = pairs[:_SHOWN_PAIRS]
    width = max(len(names[first]) for first in shown[:, 0])
    yield "cosine  nearest pairs"
    for first, second in shown:
        yield f"{cosines[first, second]:6.3f}  {names[first]:{width}s}  {names[second]}"
    values = cosines[pairs[:, 0], pairs[:, 1]]
    yield (
        f"{len(names)} faces, {len(pairs)} pairs: cosines from {values[-1]:.3f} to "
        f"{values[0]:.3f}, median {np.median(values):.3f}"
    )


def _matrix_lines(names: Sequence[str], cosines: np.ndarray) -> Iterator[str]:
    width = max(map(len, names))
    yield " " * width + "".join(f"{number + 1:7d}" for number in range(len(names)))
    for number, (name, row) in enumerate(zip(names, cosines, strict=True)):
        yield f"{name:{width}s}" + "".join(f"{value:7.3f}" for value in row) + f"  {number + 1}"
    yield ""


def _list_pictures(places: Sequence[str]) -> list[Path]:
    """Returns the files that are named, and those below the folders that are; each once."""
    found: dict[Path, None] = {}
    for place in map(Path, places):
        if place.is_dir():
            folder = read_folder(place)
            if note := folder.note():
                _logger.info("%s: %s", place, note)
            found.update({place / file.name: None for file in folder.pictures})
        elif place.exists():
            found[place] = None
        else:
            raise UserError(f"the picture {place} does not exist")
    return list(found)
