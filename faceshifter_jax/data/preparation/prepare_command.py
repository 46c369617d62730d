"""`faceshifter prepare`: a folder of photographs becomes a dataset."""

import argparse
import os

from faceshifter_jax.data.preparation.ways import FOLDERS, NONE, TOP
from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.names import ALIGNMENT_NAMES, DEFAULT_ALIGNMENT, DEFAULT_DETECTOR
from faceshifter_jax.paths import local_path

EXAMPLES = (
    "faceshifter prepare PHOTOS data/photos --size 256 --faces detect",
    "faceshifter prepare ALIGNED data/aligned --size 256",
    "faceshifter prepare CELEBA data/celeba --identities identity_CelebA.txt",
    "faceshifter prepare tfds:lfw data/lfw --faces detect",
)

_FOR_DETECTION = ("single", "min_pixels", "min_sharpness", "detector")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "photos",
        metavar="PHOTOS",
        type=local_path,
        help="folder; each sub-folder is one identity. Or a dataset that TFDS knows, "
        "tfds:NAME[/CONFIG]; each label is one identity",
    )
    parser.add_argument(
        "out", metavar="OUT", type=local_path, help="directory of the dataset to write"
    )
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument(
        "--faces",
        choices=("aligned", "detect"),
        default="aligned",
        help="detect: PHOTOS are raw photographs, find and align the face of each; aligned: they "
        "are already cut out, take each as it is",
    )
    parser.add_argument(
        "--alignment",
        choices=ALIGNMENT_NAMES,
        help="how faces are cut out; with --faces aligned how they were, for whoever trains on "
        f"them (default: {DEFAULT_ALIGNMENT} with --faces detect, else unknown)",
    )
    parser.add_argument(
        "--identities",
        default=FOLDERS,
        metavar="HOW",
        help=f"who is in the pictures: {FOLDERS}, each folder is one person; {TOP}, each "
        f"folder at the top; {NONE}, nobody is known; or a text file with a picture's name and its "
        "person on each line, such as CelebA's identity_CelebA.txt",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset in OUT")
    parser.add_argument("--num-workers", type=int, help="processes (default: one a core)")
    rules = parser.add_argument_group("with --faces detect")
    rules.add_argument(
        "--single",
        action="store_true",
        default=None,
        help="leave photos with several large faces out; else the largest face is taken",
    )
    rules.add_argument(
        "--min-pixels",
        type=int,
        metavar="N",
        help="leave faces out whose aligned square has fewer pixels across in the photo (default: "
        "half of SIZE)",
    )
    rules.add_argument(
        "--min-sharpness",
        type=float,
        metavar="X",
        help="leave faces out whose Laplacian has a smaller variance at 128 pixels (default: 25)",
    )
    rules.add_argument(
        "--detector",
        help="face detector: blazeface, mtcnn, or your own as module:class "
        f"(default: {DEFAULT_DETECTOR})",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prepares the dataset."""
    # Not at the top: TFDS takes seconds, and --help needs none of it.
    from faceshifter_jax.data.preparation.tfds_source import PREFIX, unpacked

    if not arguments.photos.startswith(PREFIX):
        _prepare(arguments, arguments.photos)
        return
    if os.path.lexists(arguments.out) and not arguments.overwrite:
        raise UserError(f"{arguments.out} exists: name another directory, or add --overwrite")
    with unpacked(arguments.photos, arguments.out) as folder:
        _prepare(arguments, folder)


def _prepare(arguments: argparse.Namespace, photos: str) -> None:
    from faceshifter_jax.data.preparation.prepare import prepare_folder, prepare_photos
    from faceshifter_jax.data.prepared import PreparedDataset

    common = {
        "size": arguments.size,
        "identities": arguments.identities,
        "overwrite": arguments.overwrite,
        "num_workers": arguments.num_workers,
    }
    if arguments.alignment:
        common["alignment"] = arguments.alignment
    given = {name: getattr(arguments, name) for name in _FOR_DETECTION}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.faces == "detect":
        out = prepare_photos(photos, arguments.out, **common, **given)
    elif given:
        names = " ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"{names}: these are for --faces detect")
    else:
        out = prepare_folder(photos, arguments.out, **common)
    print(PreparedDataset(out).summary())
