"""`faceshifter swap`: faces of photographs into others, and into videos."""

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
from faceshifter_jax.files import NoRoom
from faceshifter_jax.media.folders import Folder, read_folder
from faceshifter_jax.media.photo_files import MARKED_SUFFIXES, Write, publish_photo
from faceshifter_jax.media.photos import Photo, load_photo
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.media.video_container import is_video
from faceshifter_jax.messages import printable
from faceshifter_jax.networks.shipped import default_checkpoint, describe_default
from faceshifter_jax.places import fresh_file
from faceshifter_jax.runtime.progress import Progress, count_of
from faceshifter_jax.swapping import swap_arguments
from faceshifter_jax.swapping.assignment import Assignment
from faceshifter_jax.swapping.defaults import DEFAULT_THRESHOLD
from faceshifter_jax.swapping.results import Swap
from faceshifter_jax.swapping.swap_arguments import explanation_places, split_pair
from faceshifter_jax.swapping.swapper import Swapper
from faceshifter_jax.swapping.video import video_command

_logger = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> None:
    """Swaps and writes the results."""
    swap_arguments.check(arguments)
    if is_video(arguments.target):
        video_command.run(arguments, _read_assignment, _load_swapper)
        return
    video_command.check_for_photo(arguments)
    if Path(arguments.target).is_dir():
        _swap_folder(arguments)
    else:
        _swap_one(arguments)


def _swap_one(arguments: argparse.Namespace) -> None:
    places = {"output": arguments.output} | explanation_places(arguments)
    # It renames the last one first: an output that is there has all of its explanations.
    with contextlib.ExitStack() as stack:
        writes = {
            name: stack.enter_context(_publish(place, arguments)) for name, place in places.items()
        }
        target = _load_as("the target", arguments.target)
        if arguments.aligned:
            source = _load_as("the source", arguments.source)
            swapper = _load_swapper(arguments)
            swap = swapper.swap_squares(source, target, explain=len(places) > 1)
        else:
            assign = _read_assignment(arguments)
            swapper = _load_swapper(arguments)
            swap = swapper.swap_photo(assign(swapper), target, explain=len(places) > 1)
        _tell(_write_all(swap, writes, _provenance(swapper, arguments)))
    for place in places.values():
        print(printable(f"wrote {place}"))


def _swap_folder(arguments: argparse.Namespace) -> None:
    target = Path(arguments.target)
    folders = {"output": Path(arguments.output)} | {
        name: Path(place) for name, place in explanation_places(arguments).items()
    }
    for folder in folders.values():
        if folder.suffix.lower() in MARKED_SUFFIXES and not folder.is_dir():
            raise UserError(f"{target} is a folder: name one to write into, not {folder}")
    pictures = _list_targets(target, list(folders.values()))
    for folder in folders.values():
        _make_folder(folder)
    names, clashes = _with_own_output(pictures)
    _tell([f"left out: {clash}" for clash in clashes])
    free = [n for n in names if _is_free(folders["output"] / _output_name(n), arguments)]
    num_there = len(names) - len(free)
    num_failed = len(clashes) + (_swap_into(folders, target, free, arguments) if free else 0)
    num_written = len(pictures) - num_there - num_failed
    print(printable(f"wrote {count_of(num_written, 'pictures')} into {folders['output']}"))
    if num_there:
        print(f"{num_there} were there already: pass --overwrite to replace them")
    if num_failed:
        raise UserError(
            f"{num_failed} of {len(pictures)} pictures were left out, each with its reason above"
        )


def _swap_into(
    folders: dict[str, Path], target: Path, names: list[str], arguments: argparse.Namespace
) -> int:
    """Swaps pictures of the folder `target`; returns of how many it said why they failed."""
    assign = _read_assignment(arguments)
    swapper = _load_swapper(arguments)
    assignment, provenance = assign(swapper), _provenance(swapper, arguments)
    num_failed = 0
    progress = Progress("swapping", len(names))
    swaps = swapper.swap_photos(
        assignment, (target / name for name in names), explain=len(folders) > 1
    )
    for name, swap in zip(names, swaps, strict=True):
        try:
            if isinstance(swap, UserError):
                raise swap
            with contextlib.ExitStack() as stack:
                writes = {}
                for kind, folder in folders.items():
                    place = folder / (_output_name(name) if kind == "output" else f"{name}.png")
                    place.parent.mkdir(parents=True, exist_ok=True)
                    writes[kind] = stack.enter_context(_publish(place, arguments))
                notes = _write_all(swap, writes, provenance)
            for note in notes:
                progress.note(note)
        except NoRoom:
            raise
        # One that cannot be written, as where a file has the name of its folder, is not all.
        except (UserError, OSError) as error:
            num_failed += 1
            progress.note(f"left out: {error}")
        progress.advance()
    progress.finish()
    return num_failed


def _read_assignment(arguments: argparse.Namespace) -> Callable[[Swapper], Assignment]:
    """Reads the photos of people; returns what finds their faces, for when there is a swapper."""
    if arguments.map:
        pairs = [split_pair(text) for text in arguments.map]
        _check_once([person for person, _ in pairs])
        people = [(_load_as("", person), _load_as("", source)) for person, source in pairs]
        threshold = DEFAULT_THRESHOLD if arguments.threshold is None else arguments.threshold

        def assign(swapper: Swapper) -> tuple[Assignment, list[str]]:
            return swapper.assign_people(people, threshold=threshold)
    else:
        source = _load_as("the source", arguments.source)

        def assign(swapper: Swapper) -> tuple[Assignment, list[str]]:
            return swapper.assign_source(source, arguments.faces)

    def assign_and_tell(swapper: Swapper) -> Assignment:
        assignment, notes = assign(swapper)
        _tell(notes)
        return assignment

    return assign_and_tell


def _check_once(persons: list[str]) -> None:
    seen: set[str] = set()
    for person in persons:
        place = os.path.realpath(person)
        if place in seen:
            raise UserError(f"--map names {person} twice: one person becomes one other")
        seen.add(place)


def _load_swapper(arguments: argparse.Namespace) -> Swapper:
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
    )


def _load_as(role: str, path: str) -> Photo:
    photo = load_photo(path)
    return dataclasses.replace(photo, name=f"{role} {photo.name}".strip())


def _provenance(swapper: Swapper, arguments: argparse.Namespace) -> Provenance | None:
    return None if arguments.no_provenance else swapper.provenance


def _publish(
    place: str | Path, arguments: argparse.Namespace
) -> contextlib.AbstractContextManager[Write]:
    return publish_photo(place, overwrite=arguments.overwrite, marked=not arguments.no_provenance)


def _write_all(swap: Swap, writes: dict[str, Write], provenance: Provenance | None) -> list[str]:
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


def _list_targets(folder: Path, written: list[Path]) -> list[str]:
    """Names below the folder, and says what is not read.

    What earlier runs wrote into folders inside of it is passed over.
    """
    inside = [place.resolve() for place in written if place.resolve() != folder.resolve()]

    def is_target(name: str) -> bool:
        place = (folder / name).resolve()
        return not any(place.is_relative_to(written) for written in inside)

    found = read_folder(folder)
    others = Folder(found.pictures, [n for n in found.others if is_target(n)], found.never)
    if note := others.note():
        _tell([note])
    return [file.name for file in found.pictures if is_target(file.name)]


def _output_name(name: str) -> str:
    """The target's own name; with .png where its format is not one that is written."""
    return name if Path(name).suffix.lower() in MARKED_SUFFIXES else f"{name}.png"


def _with_own_output(names: list[str]) -> tuple[list[str], list[str]]:
    """Returns the names, and why some are not among them: their output is that of another."""
    owners: dict[str, str] = {}
    for name in names:
        owners.setdefault(_output_name(name), name)
    clashes = [
        f"{name} and {owner} would both become {_output_name(name)}: rename one of them"
        for name in names
        if (owner := owners[_output_name(name)]) != name
    ]
    return list(owners.values()), clashes


def _is_free(place: Path, arguments: argparse.Namespace) -> bool:
    return arguments.overwrite or not place.exists()


def _make_folder(folder: Path) -> None:
    """Makes a folder for outputs, and finds out before the work whether it can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with fresh_file(folder / "probe"):
            pass
    except OSError as error:
        raise UserError(f"cannot write to the folder {folder}: {error.strerror}") from error


def _tell(notes: list[str]) -> None:
    for note in notes:
        _logger.info(note)
