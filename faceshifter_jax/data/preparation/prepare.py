"""Preparing datasets: of photographs, of pictures already aligned, and of rendered faces."""

import dataclasses
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from faceshifter_jax.data.embedded import plan_embedded
from faceshifter_jax.data.preparation.identities import FOLDERS, assign_identities, doubt_folders
from faceshifter_jax.data.preparation.publish import (
    check_dataset_replaceable,
    make_parent,
    publish_when_complete,
)
from faceshifter_jax.data.seeds import HELD_OUT_SEED
from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import check_alignment
from faceshifter_jax.faces.names import DEFAULT_DETECTOR
from faceshifter_jax.files import UnfinishedWork, unfinished_work
from faceshifter_jax.media.folders import Folder, read_folder, why_left_out
from faceshifter_jax.media.images import ReadPicture
from faceshifter_jax.paths import local_path
from faceshifter_jax.runtime.workers import usable_cores

_logger = logging.getLogger(__name__)
LEFT_OUT_FILE = "left_out.txt"
TABLE_FILE = "photos.tsv"

_SMALLEST_SIZE = 8
_LARGEST_SIZE = 4096
_MOST_PICTURES = 10**8
_MOST_WORKERS = 1024


def prepare_folder(
    photos: str | os.PathLike,
    out: str | os.PathLike,
    *,
    size: int = 256,
    alignment: str | None = None,
    identities: str = FOLDERS,
    overwrite: bool = False,
    num_workers: int | None = None,
) -> Path:
    """Prepares a folder of photographs as a TFDS dataset (array_record) in the directory `out`.

    Every sub-folder with pictures, at any depth, is one identity, named by its path; pictures at
    the top have unknown identities; `identities` says otherwise, see `assign_identities`. Files
    that cannot be used, and the number of files that are not pictures, are reported on stderr and,
    with the reason, in `out`/left_out.txt. `read_photo` describes how a photograph becomes a square
    of `size` pixels. `alignment` says how the faces in them are aligned, a key of
    `faces.alignment.ALIGNMENTS`; None if unknown. `out` appears when it is complete; `overwrite`
    replaces an existing dataset.

    `num_workers` processes (default: one a core) decode; a calling script needs the usual
    `if __name__ == "__main__":`. The result does not depend on their number.

    Raises:
        UserError: the folder is missing or has no readable picture, or `out` exists.
    """
    _check_counts(size, num_workers)
    if alignment is not None:
        check_alignment(alignment)
    photos, out = Path(local_path(photos)), Path(local_path(out))
    with publish_when_complete(out, overwrite=overwrite) as scratch:
        found = _read_folder(photos, identities)
        # Imported here: TFDS takes a while to import, and most mistakes are found before that.
        from faceshifter_jax.data.preparation.builders import FaceFolder

        builder = FaceFolder(
            photos=photos,
            files=found.pictures,
            size=size,
            num_workers=num_workers or usable_cores(),
            alignment=alignment,
            data_dir=scratch,
        )
        result = _build_in(scratch, builder)
        _write_left_out(result / LEFT_OUT_FILE, builder.left_out, found.others)
    return out


def prepare_photos(
    photos: str | os.PathLike,
    out: str | os.PathLike,
    *,
    size: int = 256,
    single: bool = False,
    min_pixels: int | None = None,
    min_sharpness: float | None = None,
    detector: str = DEFAULT_DETECTOR,
    alignment: str = "arcface",
    identities: str = FOLDERS,
    overwrite: bool = False,
    num_workers: int | None = None,
) -> Path:
    """Prepares raw photographs: finds the face of each, aligns it, and leaves bad ones out.

    `identities` and the dataset are as for `prepare_folder`. Of several faces the largest is taken.
    `out`/photos.tsv lists for every file why it was left out, or how large and sharp its face is
    and where its landmarks are. An interrupted run continues when it is called again; until then
    its work is kept in a hidden folder next to `out`.

    Args:
        photos: the folder.
        out: the dataset to write.
        size: side of the aligned faces in pixels.
        single: reject photographs with several large faces, where it is unclear who is meant.
        min_pixels: reject faces whose aligned square has fewer pixels across in the photograph;
            None for half of `size`.
        min_sharpness: reject less sharp faces, see `raw_photos.sharpness`; None for its default.
        detector: a name of `faces.finder.DETECTORS`, or module:class.
        alignment: how faces are cut out, a key of `faces.alignment.ALIGNMENTS`.
        overwrite: replace an existing dataset.
        num_workers: processes, which do not change the result; None for one a core, or as many as
            the free memory allows.

    Raises:
        UserError: a number is out of range, the detector is unknown, the folder is missing, no
            photograph in it is taken, or `out` exists.
    """
    from faceshifter_jax.data.preparation import raw_photos

    _check_counts(size, num_workers)
    rules = raw_photos.FaceRules(
        single=single,
        min_pixels=-(-size // 2) if min_pixels is None else min_pixels,
        min_sharpness=raw_photos.DEFAULT_SHARPNESS if min_sharpness is None else min_sharpness,
        detector=detector,
        alignment=alignment,
    )
    rules.check()
    photos, out = Path(local_path(photos)), Path(local_path(out)).absolute()
    check_dataset_replaceable(out, overwrite)
    found = _read_folder(photos, identities)
    make_parent(out)
    plan = raw_photos.plan_of(photos, found.pictures, size=size, rules=rules)
    with unfinished_work(out, plan) as work:
        _remove_left_scratch(work)
        with publish_when_complete(out, overwrite=overwrite, scratch_in=work.folder) as scratch:
            _build_from_photos(photos, found, work, scratch, size, rules, num_workers)
    return out


def prepare_embedded(
    out: str | os.PathLike,
    *,
    num_identities: int,
    pictures_per_identity: int,
    size: int,
    seed: int = 0,
    occluder_share: float = 0.25,
    group_size: int = 1,
    overwrite: bool = False,
    num_workers: int | None = None,
) -> Path:
    """Renders embedded faces into a TFDS dataset (array_record) in the directory `out`.

    Datasets with different seeds have different identities. A share `occluder_share` of the
    pictures has something in front of the face. Each record keeps `identity_seed` and
    `attribute_seed`, so that `PreparedDataset.scene` returns what was rendered. `out`,
    `overwrite` and `num_workers` as in `prepare_folder`.

    With a `group_size` above 1, each group of that many identities is rendered under the same
    attributes: the right answer of a swap of two of them is a picture of the dataset, see
    `answers`.

    Raises:
        UserError: a number is out of range, or `out` exists.
    """
    _check_counts(size, num_workers)
    _check_people(num_identities, pictures_per_identity, seed)
    _check_groups(group_size, num_identities, pictures_per_identity)
    if not 0 <= occluder_share <= 1:
        raise UserError(f"the share of occluders must lie between 0 and 1, got {occluder_share}")
    out = Path(local_path(out))
    with publish_when_complete(out, overwrite=overwrite) as scratch:
        from faceshifter_jax.data.preparation.builders import EmbeddedFaces

        builder = EmbeddedFaces(
            pictures=plan_embedded(
                num_identities=num_identities,
                pictures_per_identity=pictures_per_identity,
                seed=seed,
                group_size=group_size,
            ),
            seed=seed,
            group_size=group_size,
            occluder_share=occluder_share,
            size=size,
            num_workers=num_workers or usable_cores(),
            data_dir=scratch,
        )
        _build_in(scratch, builder)
    return out


def _build_from_photos(
    photos: Path,
    found: Folder,
    work: UnfinishedWork,
    scratch: Path,
    size: int,
    rules: Any,
    num_workers: int | None,
) -> None:
    """Finds the faces by `raw_photos.FaceRules`; makes dataset and table in `scratch`/result."""
    from faceshifter_jax.data.preparation.builders import FaceFolder
    from faceshifter_jax.data.preparation.raw_photos import find_in_photos, write_table

    findings, num_ready = find_in_photos(
        photos, found.pictures, work, size=size, rules=rules, num_workers=num_workers
    )
    rows: list[tuple[str, dict]] = []

    def pictures() -> Iterator[ReadPicture]:
        for file, finding in zip(found.pictures, findings, strict=True):
            rows.append((file.name, finding.facts))
            yield finding.as_picture()

    builder = FaceFolder(
        photos=photos,
        files=found.pictures,
        size=size,
        num_workers=1,
        pictures=pictures(),
        num_ready=num_ready,
        alignment=rules.alignment,
        data_dir=scratch,
    )
    result = _build_in(scratch, builder)
    _write_left_out(result / LEFT_OUT_FILE, builder.left_out, found.others)
    write_table(result / TABLE_FILE, rows)


def _remove_left_scratch(work: UnfinishedWork) -> None:
    """Removes the half-written dataset that a killed run left."""
    for left in work.folder.glob(".*.partial-*"):
        shutil.rmtree(left)


def _check_counts(size: int, num_workers: int | None) -> None:
    if not _SMALLEST_SIZE <= size <= _LARGEST_SIZE:
        raise UserError(
            f"the size must lie between {_SMALLEST_SIZE} and {_LARGEST_SIZE} pixels, got {size}"
        )
    if num_workers is not None and not 1 <= num_workers <= _MOST_WORKERS:
        raise UserError(
            f"the number of workers must be at least 1 and at most {_MOST_WORKERS}, got "
            f"{num_workers}"
        )


def _check_people(num_identities: int, pictures_per_identity: int, seed: int) -> None:
    for name, value in (("identities", num_identities), ("pictures", pictures_per_identity)):
        if value < 1:
            raise UserError(f"the number of {name} must be at least 1, got {value}")
    if num_identities * pictures_per_identity > _MOST_PICTURES:
        raise UserError(
            f"{num_identities} identities with {pictures_per_identity} pictures each are more than "
            f"{_MOST_PICTURES} pictures: make several datasets"
        )
    if not 0 <= seed < HELD_OUT_SEED:
        raise UserError(
            f"the seed must lie between 0 and {HELD_OUT_SEED - 1} (people from there on are held "
            f"out for evaluation), got {seed}"
        )


def _check_groups(group_size: int, num_identities: int, pictures_per_identity: int) -> None:
    if group_size < 1:
        raise UserError(f"the size of a group must be at least 1, got {group_size}")
    if num_identities % group_size:
        fitting = -(-num_identities // group_size) * group_size
        raise UserError(
            f"the number of identities must be a multiple of the size of a group: "
            f"{num_identities} people do not divide into groups of {group_size}, {fitting} would"
        )
    if group_size > 1 and pictures_per_identity < 2:
        raise UserError(
            "the number of pictures must be at least 2 for people in groups: a source shows the "
            "person under other attributes than the target's"
        )


def _build_in(scratch: Path, builder) -> Path:
    """Builds a dataset in `scratch`/result, where `publish_when_complete` looks for it."""
    from faceshifter_jax.data.preparation.builders import write_dataset

    return write_dataset(builder).rename(scratch / "result")


def _read_folder(photos: Path, identities: str) -> Folder:
    found = read_folder(photos)
    if identities == FOLDERS and (doubt := doubt_folders(found.pictures)):
        _logger.warning(doubt)
    pictures = assign_identities(found.pictures, identities)
    found = dataclasses.replace(found, pictures=pictures)
    if note := found.note():
        _logger.info(note)
    return found


def _write_left_out(path: Path, unusable: Sequence[tuple[str, str]], others: Sequence[str]) -> None:
    left_out = [*unusable, *((name, why_left_out(name)) for name in others)]
    if left_out:
        plain = ((name.replace("\t", " ").replace("\n", " "), reason) for name, reason in left_out)
        lines = "".join(f"{name}\t{reason}\n" for name, reason in plain)
        path.write_text(lines, encoding="utf-8", errors="surrogateescape")
