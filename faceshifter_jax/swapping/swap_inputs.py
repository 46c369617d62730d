"""What every form of `faceshifter swap` reads, loads and writes, by its arguments."""

import argparse
import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.finder import build_detector
from faceshifter_jax.faces.names import DETECTORS
from faceshifter_jax.media.photo_files import Write, publish_photo
from faceshifter_jax.media.photos import Photo, load_photo
from faceshifter_jax.media.provenance.credentials import load_signer
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.networks.shipped import default_checkpoint, describe_default
from faceshifter_jax.swapping.assignment import Assignment
from faceshifter_jax.swapping.defaults import DEFAULT_THRESHOLD
from faceshifter_jax.swapping.results import Swap
from faceshifter_jax.swapping.swap_arguments import split_pair
from faceshifter_jax.swapping.swapper import Swapper

_logger = logging.getLogger(__name__)


def read_assignment(arguments: argparse.Namespace) -> Callable[[Swapper], Assignment]:
    """Reads the photos of people; returns what finds their faces, for when there is a swapper."""
    if arguments.map:
        pairs = [split_pair(text) for text in arguments.map]
        _check_once([person for person, _ in pairs])
        people = [(load_as("", person), load_sources(photos, "")) for person, photos in pairs]
        threshold = DEFAULT_THRESHOLD if arguments.threshold is None else arguments.threshold

        def assign(swapper: Swapper) -> tuple[Assignment, list[str]]:
            return swapper.assign_people(people, threshold=threshold)
    else:
        source = load_sources(arguments.source)

        def assign(swapper: Swapper) -> tuple[Assignment, list[str]]:
            return swapper.assign_source(source, arguments.faces)

    def assign_and_tell(swapper: Swapper) -> Assignment:
        assignment, notes = assign(swapper)
        tell(notes)
        return assignment

    return assign_and_tell


def _check_once(persons: list[str]) -> None:
    seen: set[str] = set()
    for person in persons:
        place = os.path.realpath(person)
        if place in seen:
            raise UserError(f"--map names {person} twice: one person becomes one other")
        seen.add(place)


def load_swapper(arguments: argparse.Namespace) -> Swapper:
    """Loads the networks; raises as `Swapper.load`."""
    detector = arguments.detector
    if arguments.small_faces or detector not in DETECTORS:
        detector = build_detector(detector, small_faces=arguments.small_faces)
    checkpoint = arguments.checkpoint
    if not checkpoint:
        checkpoint = default_checkpoint(with_second_stage=not arguments.hear)
        print(describe_default(checkpoint))
    return Swapper.load(
        checkpoint,
        identity=arguments.identity,
        hear=arguments.hear,
        detector=detector,
        alignment=arguments.alignment,
        mask=arguments.mask,
    )


def load_as(role: str, path: str) -> Photo:
    """Reads a photo, whose name in messages begins with its role."""
    photo = load_photo(path)
    return dataclasses.replace(photo, name=f"{role} {photo.name}".strip())


def load_sources(paths: list[str], role: str = "the source") -> list[Photo]:
    """Reads the photos of one person."""
    return [load_as(role, path) for path in paths]


def provenance_of(swapper: Swapper, arguments: argparse.Namespace) -> Provenance | None:
    """Returns the statement for outputs; None if there is to be none."""
    return None if arguments.no_provenance else swapper.provenance


def publish(
    place: str | Path, arguments: argparse.Namespace
) -> contextlib.AbstractContextManager[Write]:
    """As `publish_photo`; raises as `Signer`, too."""
    return publish_photo(
        place,
        overwrite=arguments.overwrite,
        marked=not arguments.no_provenance,
        signer=load_signer(*arguments.sign) if arguments.sign else None,
    )


def write_all(swap: Swap, writes: dict[str, Write], provenance: Provenance | None) -> list[str]:
    """Writes the picture and its explanations; returns notes for the user."""
    pictures = {"output": swap.photo} | {
        name: Photo(_draw_explanation(swap, name), name) for name in writes if name != "output"
    }
    lost = [note for name, write in writes.items() for note in write(pictures[name], provenance)]
    return [f"{swap.photo.name}: {note}" for note in (*swap.notes, *lost)]


def _draw_explanation(swap: Swap, name: str) -> np.ndarray:
    """Draws a row for each face: the target, the swap, and what explains it."""
    # Not at the top: jax takes seconds, and mistakes in file names are found without it.
    from faceshifter_jax.media.grid import draw_grid

    columns = {
        "target": np.stack([face.target for face in swap.faces]),
        "swap": np.stack([face.swapped for face in swap.faces]),
    }
    explanations = [face.explanation for face in swap.faces if face.explanation is not None]
    if name == "error":
        columns["error"] = np.concatenate([explanation.errors for explanation in explanations])
    else:
        masks = np.concatenate([explanation.masks for explanation in explanations])
        columns |= {f"mask {i}": masks[:, i, ..., None] for i in range(masks.shape[1])}
    return draw_grid(columns)


def tell(notes: list[str]) -> None:
    """Prints notes for the user to stderr."""
    for note in notes:
        _logger.info(note)
