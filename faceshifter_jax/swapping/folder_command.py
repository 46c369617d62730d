"""`faceshifter swap` for a folder of photos, animations and videos."""

import argparse
import contextlib
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import NoRoom
from faceshifter_jax.media.animations import ANIMATED_SUFFIXES, count_animation_frames
from faceshifter_jax.media.folders import Folder, read_folder
from faceshifter_jax.media.photo_files import MARKED_SUFFIXES
from faceshifter_jax.media.provenance.credentials import load_signer
from faceshifter_jax.media.video_container import is_video
from faceshifter_jax.media.video_writer import OUTPUT_SUFFIXES
from faceshifter_jax.messages import printable
from faceshifter_jax.places import fresh_file
from faceshifter_jax.runtime.progress import Progress, count_of
from faceshifter_jax.swapping import swap_inputs
from faceshifter_jax.swapping.assignment import Assignment
from faceshifter_jax.swapping.output_pattern import fill_pattern, first_folder, is_pattern
from faceshifter_jax.swapping.swap_arguments import explanation_places
from faceshifter_jax.swapping.swap_inputs import tell
from faceshifter_jax.swapping.swapper import Swapper
from faceshifter_jax.swapping.video import video_command


@dataclass(frozen=True)
class _Job:
    """A target, and where it and its explanations are written: "output", "error", "masks"."""

    name: str
    places: dict[str, Path]

    @property
    def output(self) -> Path:
        return self.places["output"]


def run(arguments: argparse.Namespace) -> None:
    """Swaps what is in the folder; says of each file that is left out why."""
    target = Path(arguments.target)
    places = {"output": arguments.output} | explanation_places(arguments)
    folders = {}
    for kind, place in places.items():
        folder = first_folder(place) if is_pattern(place) else Path(place)
        if folder.suffix.lower() in (*MARKED_SUFFIXES, *OUTPUT_SUFFIXES) and not folder.is_dir():
            raise UserError(f"{target} is a folder: name one to write into, not {folder}")
        folders[kind] = folder
    names, has_videos = _list_targets(target, list(folders.values()))
    if not has_videos:
        video_command.check_for_photo(arguments)
    if has_videos and len(places) > 1:
        tell(["--save-error and --save-masks are of photos: videos go without"])
    jobs, clashes = _with_own_output(_plan(target, names, places, arguments))
    for folder in folders.values():
        _make_folder(folder)
    tell([f"left out: {clash}" for clash in clashes])
    free = [job for job in jobs if arguments.overwrite or not job.output.exists()]
    num_there = len(jobs) - len(free)
    num_failed = len(clashes) + (_swap_all(target, free, arguments) if free else 0)
    num_written = len(jobs) + len(clashes) - num_there - num_failed
    what = "files" if has_videos else "pictures"
    print(printable(f"wrote {count_of(num_written, what)} into {folders['output']}"))
    if num_there:
        print(f"{num_there} were there already: pass --overwrite to replace them")
    if num_failed:
        raise UserError(
            f"{num_failed} of {len(jobs) + len(clashes)} {what} were left out, each with its "
            "reason above"
        )


def _swap_all(target: Path, jobs: list[_Job], arguments: argparse.Namespace) -> int:
    """Swaps files of the folder `target`; returns of how many it said why they failed."""
    if arguments.sign:
        load_signer(*arguments.sign)
    assign = swap_inputs.read_assignment(arguments)
    swapper = swap_inputs.load_swapper(arguments)
    assignment = assign(swapper)
    films = [job for job in jobs if video_command.is_film(target / job.name, job.output)]
    photos = [job for job in jobs if job not in films]
    num_failed = _swap_photos(swapper, assignment, target, photos, arguments) if photos else 0
    for job in films:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        swap = functools.partial(
            video_command.swap_film,
            arguments,
            swapper,
            assignment,
            str(target / job.name),
            str(job.output),
        )
        num_failed += not _try(swap, lambda note: tell([note]))
    return num_failed


def _swap_photos(
    swapper: Swapper,
    assignment: Assignment,
    target: Path,
    jobs: list[_Job],
    arguments: argparse.Namespace,
) -> int:
    provenance = swap_inputs.provenance_of(swapper, arguments)
    progress = Progress("swapping", len(jobs))
    swaps = swapper.swap_photos(
        assignment,
        (target / job.name for job in jobs),
        explain=len(jobs[0].places) > 1,
        strength=arguments.strength,
    )
    num_failed = 0
    for job, swap in zip(jobs, swaps, strict=True):

        def write(job: _Job = job, swap=swap) -> list[str]:
            if isinstance(swap, UserError):
                raise swap
            with contextlib.ExitStack() as stack:
                writes = {}
                for kind, place in job.places.items():
                    place.parent.mkdir(parents=True, exist_ok=True)
                    writes[kind] = stack.enter_context(swap_inputs.publish(place, arguments))
                return swap_inputs.write_all(swap, writes, provenance)

        num_failed += not _try(write, progress.note)
        progress.advance()
    progress.finish()
    return num_failed


def _try(work: Callable[[], list[str]], note: Callable[[str], None]) -> bool:
    """Does one file's work and tells its notes; returns false where it said why it failed."""
    try:
        for line in work():
            note(line)
    except NoRoom:
        raise
    # One that cannot be written, as where a file has the name of its folder, is not all.
    except (UserError, OSError) as error:
        note(f"left out: {error}")
        return False
    return True


def _list_targets(folder: Path, written: list[Path]) -> tuple[list[str], bool]:
    """Names below the folder, and whether videos are among them; says what is not read.

    What earlier runs wrote into folders inside of it is passed over.
    """
    inside = [place.resolve() for place in written if place.resolve() != folder.resolve()]

    def is_target(name: str) -> bool:
        place = (folder / name).resolve()
        return not any(place.is_relative_to(written) for written in inside)

    found = read_folder(folder, is_also=is_video)
    others = Folder(found.pictures, [n for n in found.others if is_target(n)], found.never)
    if note := others.note():
        tell([note])
    pictures = [file.name for file in found.pictures if is_target(file.name)]
    films = [name for name in found.also if is_target(name)]
    return pictures + films, bool(films)


def _plan(
    target: Path, names: list[str], places: dict[str, str], arguments: argparse.Namespace
) -> list[_Job]:
    source = arguments.source[0] if arguments.source else None
    jobs = []
    for number, name in enumerate(names, 1):
        written = output_name(target, name)
        own: dict[str, Path] = {}
        for kind, place in places.items():
            file = written if kind == "output" else f"{name}.png"
            if is_pattern(place):
                suffix = Path(file).suffix
                own[kind] = fill_pattern(place, name, suffix=suffix, source=source, number=number)
            else:
                own[kind] = Path(place, file)
        jobs.append(_Job(name, own))
    # Written next to the targets, outputs of earlier runs are no targets.
    outputs = {job.output.resolve(): job.name for job in jobs}
    return [job for job in jobs if outputs.get((target / job.name).resolve(), job.name) == job.name]


def output_name(folder: Path, name: str) -> str:
    """Returns a target's own name, with a suffix that is written where its own is not."""
    suffix = Path(name).suffix.lower()
    if is_video(name):
        return name if suffix in OUTPUT_SUFFIXES else f"{name}.mp4"
    if suffix in MARKED_SUFFIXES:
        return name
    if count_animation_frames(folder / name) > 1:
        return name if suffix in ANIMATED_SUFFIXES else f"{name}.webp"
    return f"{name}.png"


def _with_own_output(jobs: Iterable[_Job]) -> tuple[list[_Job], list[str]]:
    """Returns the jobs, and why some are not among them: their output is that of another."""
    owners: dict[Path, _Job] = {}
    clashes = []
    for job in jobs:
        owner = owners.setdefault(job.output, job)
        if owner is not job:
            output = job.output.name
            clashes.append(
                f"{job.name} and {owner.name} would both become {output}: rename one of them, or "
                "name --output with a field that tells them apart"
            )
    return list(owners.values()), clashes


def _make_folder(folder: Path) -> None:
    """Makes a folder for outputs, and finds out before the work whether it can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with fresh_file(folder / "probe"):
            pass
    except OSError as error:
        raise UserError(f"cannot write to the folder {folder}: {error.strerror}") from error
