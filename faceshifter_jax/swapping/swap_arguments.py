"""`faceshifter swap`: its arguments, and checks that they fit each other."""

import argparse
import os
from pathlib import Path

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.names import ALIGNMENT_NAMES, DEFAULT_DETECTOR, DETECTORS
from faceshifter_jax.paths import local_path
from faceshifter_jax.swapping.defaults import (
    DEFAULT_CRF,
    DEFAULT_MASK,
    DEFAULT_THRESHOLD,
    MASKS,
    check_strength,
)
from faceshifter_jax.swapping.output_pattern import FIELDS, check_pattern, is_pattern

EXAMPLES = (
    "faceshifter swap -s me.jpg -t friend.jpg -o swap.png --checkpoint runs/hear",
    "faceshifter swap -s me.jpg -t PHOTOS -o SWAPPED --checkpoint runs/hear",
    "faceshifter swap -s me.jpg -t film.mp4 -o swapped.mp4 --checkpoint runs/hear",
    "faceshifter swap --map ann.jpg=me.jpg ben.jpg=you.jpg -t party.jpg -o two.png "
    "--checkpoint runs/hear",
)

_EXPLANATIONS = ("error", "masks")
_WRITTEN = ("output", *(f"save_{name}" for name in _EXPLANATIONS))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    _add_who(parser)
    _add_how(parser)
    _add_what(parser)
    _add_video(parser)


def run(arguments: argparse.Namespace) -> None:
    """Swaps and writes the results."""
    # Not at the top: numpy and jax take seconds, and --help needs none of them.
    from faceshifter_jax.swapping.swap_command import run

    run(arguments)


def _add_who(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("who")
    group.add_argument(
        "-s",
        "--source",
        type=local_path,
        nargs="+",
        action="extend",
        metavar="PHOTO",
        help="photo of the person to be seen; of several the mean of their embeddings is taken",
    )
    group.add_argument(
        "-t",
        "--target",
        required=True,
        type=local_path,
        help="photo, animation or video that is to show that person, or a folder of them",
    )
    group.add_argument(
        "--faces",
        choices=("largest", "all"),
        default="largest",
        help="which of a target's faces SOURCE replaces",
    )
    group.add_argument(
        "--map",
        metavar="PERSON=SOURCE",
        nargs="+",
        help="in place of --source: photos of people in the target, each with that of the person "
        "to be seen instead, or several of them with commas between; everyone else stays",
    )
    group.add_argument(
        "--threshold",
        type=float,
        help="of --map: cosine from which two faces are one person's "
        f"(default: {DEFAULT_THRESHOLD})",
    )
    group.add_argument(
        "--strength",
        type=float,
        default=1.0,
        help="how much of the source is seen, from 0, the target's own identity, to 1; in "
        "between the embedding lies on the line between both",
    )


def _add_how(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how")
    group.add_argument(
        "--checkpoint",
        type=local_path,
        help="workdir of an aei or hear training run, or a converted generator (default: the "
        "networks that come with the package)",
    )
    group.add_argument(
        "--identity",
        type=local_path,
        help="identity network, a workdir or a converted one: for a converted generator, or if "
        "that of the training run was moved",
    )
    group.add_argument(
        "--hear", type=local_path, help="HEAR-Net, a workdir or a converted one, as second stage"
    )
    group.add_argument(
        "--detector",
        default=DEFAULT_DETECTOR,
        help=f"what finds faces: {', '.join(DETECTORS)}, or module:class of your own",
    )
    group.add_argument(
        "--small-faces",
        action="store_true",
        help="look for faces below 3%% of a picture's longer side, too; several times slower",
    )
    group.add_argument(
        "--alignment",
        choices=ALIGNMENT_NAMES,
        help="how faces are cut out, where it is not what CHECKPOINT was trained on",
    )
    group.add_argument(
        "--mask",
        choices=MASKS,
        default=DEFAULT_MASK,
        help="what of a face is replaced: an ellipse, and what changed next to it; or the hull of "
        "the face mesh before and after",
    )
    group.add_argument(
        "--aligned",
        action="store_true",
        help="the photos are aligned squares; write the network's results for them",
    )


def _add_what(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "-o",
        "--output",
        required=True,
        type=local_path,
        help="what to write, such as swap.png, swap.gif or swap.mp4; a folder where TARGET is one; "
        f"with fields in braces a pattern, such as swaps/{{stem}}_as_{{source}}.png: "
        f"{' '.join(f'{{{field}}}' for field in FIELDS)}",
    )
    group.add_argument("--overwrite", action="store_true", help="replace existing files")
    group.add_argument(
        "--save-error",
        type=local_path,
        metavar="FILE",
        help="picture of the heuristic errors, what the network loses of each face; a folder where "
        "TARGET is one",
    )
    group.add_argument(
        "--save-masks",
        type=local_path,
        metavar="FILE",
        help="picture of the network's masks, level by level, white where the identity dominates; "
        "a folder where TARGET is one",
    )
    group.add_argument(
        "--no-provenance",
        action="store_true",
        help="do not write into the outputs that they were swapped, and by what",
    )
    group.add_argument(
        "--sign",
        nargs=2,
        type=local_path,
        metavar=("CERTIFICATES", "KEY"),
        help="also write signed content credentials (C2PA) into photos: PEM files of your "
        "certificate with those above it, and of its key; needs the extra c2pa",
    )


def _add_video(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("of videos")
    group.add_argument(
        "--detect-every",
        type=int,
        metavar="N",
        help="look for faces in every N-th frame, and where one comes or goes (default: 1)",
    )
    group.add_argument(
        "--crf",
        type=int,
        help=f"quality of H.264 as in x264, 0 without loss to 51 (default: {DEFAULT_CRF})",
    )


def check(arguments: argparse.Namespace) -> None:
    """Raises UserError for arguments that do not fit each other."""
    _check_places(arguments)
    check_strength(arguments.strength)
    if bool(arguments.source) == bool(arguments.map):
        raise UserError("say who is to be seen: either --source PHOTO or --map PERSON=SOURCE ...")
    for text in arguments.map or ():
        split_pair(text)
    if arguments.map and arguments.faces != "largest":
        raise UserError("--map says itself which faces are replaced: leave --faces out")
    if arguments.threshold is not None:
        if not -1 <= arguments.threshold <= 1:
            raise UserError(f"--threshold is a cosine, from -1 to 1, not {arguments.threshold:g}")
        if not arguments.map:
            raise UserError("--threshold has no effect without --map: leave it out")
    if arguments.aligned and (arguments.map or Path(arguments.target).is_dir()):
        raise UserError("--aligned takes one --source and one --target picture")
    if arguments.sign and arguments.no_provenance:
        raise UserError("--sign signs the statement that --no-provenance leaves out")
    if arguments.aligned and arguments.alignment:
        raise UserError("--aligned takes squares as they are: leave --alignment out")
    if arguments.aligned and arguments.mask != DEFAULT_MASK:
        raise UserError("--aligned pastes nothing back: leave --mask out")
    if arguments.small_faces and arguments.detector not in DETECTORS:
        raise UserError(f"--small-faces is a setting of the detectors {' and '.join(DETECTORS)}")


def _check_places(arguments: argparse.Namespace) -> None:
    for name in ("target", *_WRITTEN):
        if getattr(arguments, name) == "":
            raise UserError(f"{_option(name)} is empty: name a file or a folder")
    for name in _WRITTEN:
        place = getattr(arguments, name)
        if place is not None and is_pattern(place):
            check_pattern(place, _option(name), has_source=bool(arguments.source))
    taken: dict[str, str] = {}
    for name in _WRITTEN:
        place = getattr(arguments, name)
        if place is None:
            continue
        other = taken.setdefault(os.path.realpath(place), name)
        if other != name:
            raise UserError(
                f"{_option(other)} and {_option(name)} are both {place}: name another place for one"
            )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def explanation_places(arguments: argparse.Namespace) -> dict[str, str]:
    """Returns where explanations are to be written, keyed by their kind: "error" or "masks"."""
    places = {name: getattr(arguments, f"save_{name}") for name in _EXPLANATIONS}
    return {name: place for name, place in places.items() if place}


def split_pair(text: str) -> tuple[str, list[str]]:
    """Splits PERSON=SOURCE or PERSON=SOURCE,SOURCE; returns the person's photo and the sources'.

    Where names hold "=" it is split at the one with files on both sides; a comma is part of a name
    if there is such a file.
    """
    places = [i for i, letter in enumerate(text) if letter == "="]
    pairs = [
        (local_path(text[:i]), _split_photos(text[i + 1 :]))
        for i in places
        if 0 < i < len(text) - 1
    ]
    if not pairs or not all(pairs[0][1]):
        raise UserError(f"--map takes PERSON=SOURCE, two photos, not {text!r}")

    def all_are_files(pair: tuple[str, list[str]]) -> bool:
        return all(Path(name).is_file() for name in (pair[0], *pair[1]))

    return next((pair for pair in pairs if all_are_files(pair)), pairs[0])


def _split_photos(text: str) -> list[str]:
    whole = local_path(text)
    return [whole] if Path(whole).is_file() else [local_path(part) for part in text.split(",")]
