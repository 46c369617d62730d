"""`faceshifter prepare`: a folder of photographs becomes a dataset."""

import argparse

from faceshifter_jax.data.prepare import prepare_folder
from faceshifter_jax.data.prepared import PreparedDataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("photos", metavar="PHOTOS", help="folder; each sub-folder is one identity")
    parser.add_argument("out", metavar="OUT", help="directory of the dataset to write")
    parser.add_argument("--size", type=int, default=256, help="pixels a side (default 256)")
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset in OUT")
    parser.add_argument("--num-workers", type=int, help="processes (default: one a core)")


def run(arguments: argparse.Namespace) -> None:
    """Prepares the dataset."""
    out = prepare_folder(
        arguments.photos,
        arguments.out,
        size=arguments.size,
        overwrite=arguments.overwrite,
        num_workers=arguments.num_workers,
    )
    print(PreparedDataset(out).summary())
