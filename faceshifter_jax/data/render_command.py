"""`faceshifter render`: embedded faces become a dataset."""

import argparse

from faceshifter_jax.data.prepare import prepare_embedded
from faceshifter_jax.data.prepared import PreparedDataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("out", metavar="OUT", help="directory of the dataset to write")
    parser.add_argument("--identities", type=int, default=400, help="number of people (400)")
    parser.add_argument("--pictures", type=int, default=12, help="pictures of each (12)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (64)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other people (0)")
    parser.add_argument(
        "--occluders", type=float, default=0.25, help="share of covered faces, 0 to 1 (0.25)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset in OUT")
    parser.add_argument("--num-workers", type=int, help="processes (default: one a core)")


def run(arguments: argparse.Namespace) -> None:
    """Renders the dataset."""
    out = prepare_embedded(
        arguments.out,
        num_identities=arguments.identities,
        pictures_per_identity=arguments.pictures,
        size=arguments.size,
        seed=arguments.seed,
        occluder_share=arguments.occluders,
        overwrite=arguments.overwrite,
        num_workers=arguments.num_workers,
    )
    print(PreparedDataset(out).summary())
