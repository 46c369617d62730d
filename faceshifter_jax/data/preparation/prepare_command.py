"""`faceshifter prepare`: a folder of photographs becomes a dataset."""

import argparse

from faceshifter_jax.data.preparation.identities import FOLDERS, NONE, TOP
from faceshifter_jax.data.preparation.prepare import prepare_folder, prepare_photos
from faceshifter_jax.data.prepared import PreparedDataset
from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import ALIGNMENTS
from faceshifter_jax.paths import local_path

_FOR_DETECTION = ("single", "min_pixels", "min_sharpness", "detector")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "photos", metavar="PHOTOS", type=local_path, help="folder; each sub-folder is one identity"
    )
    parser.add_argument(
        "out", metavar="OUT", type=local_path, help="directory of the dataset to write"
    )
    parser.add_argument("--size", type=int, default=256, help="pixels a side (default 256)")
    parser.add_argument(
        "--faces",
        choices=("aligned", "detect"),
        default="aligned",
        help="detect: PHOTOS are raw photographs, find and align the face of each; aligned: they "
        "are already cut out, take each as it is (default)",
    )
    parser.add_argument(
        "--alignment",
        choices=tuple(ALIGNMENTS),
        help="how faces are cut out (arcface); with --faces aligned how they were, for whoever "
        "trains on them",
    )
    parser.add_argument(
        "--identities",
        default=FOLDERS,
        metavar="HOW",
        help=f"who is in the pictures: {FOLDERS} (default), each folder is one person; {TOP}, each "
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
        help="leave faces out whose aligned square has fewer pixels across in the photo (default "
        "half of SIZE)",
    )
    rules.add_argument(
        "--min-sharpness",
        type=float,
        metavar="X",
        help="leave faces out whose Laplacian has a smaller variance at 128 pixels (default 25)",
    )
    rules.add_argument(
        "--detector",
        help="face detector: blazeface, mtcnn, or your own as module:class (default blazeface)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prepares the dataset."""
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
        out = prepare_photos(arguments.photos, arguments.out, **common, **given)
    elif given:
        names = " ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"{names}: these are for --faces detect")
    else:
        out = prepare_folder(arguments.photos, arguments.out, **common)
    print(PreparedDataset(out).summary())
