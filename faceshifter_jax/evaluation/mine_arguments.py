"""The arguments of `faceshifter mine`."""

import argparse

from faceshifter_jax.paths import local_path

EXAMPLES = (
    "faceshifter mine --checkpoint runs/aei --data data/photos -o runs/mined.json",
    "python train.py --config configs/hear.py --workdir runs/hear "
    "--config.data.subset=runs/mined.json ...",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=local_path,
        help="workdir of an aei training run, or a network file",
    )
    parser.add_argument(
        "--identity",
        type=local_path,
        help="the identity network of CHECKPOINT, if it was moved, or for a network file",
    )
    parser.add_argument(
        "--data", required=True, type=local_path, help="directory of a prepared dataset"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=local_path,
        help="list to write, NAME.json; NAME.png shows the worst pictures and their errors",
    )
    parser.add_argument(
        "--share", type=float, default=0.1, help="share of the pictures to list, 0 to 1"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is at OUTPUT")


def run(arguments: argparse.Namespace) -> None:
    """Ranks the dataset and writes the list and the contact sheet."""
    # Not at the top: jax takes seconds, and --help needs none of it.
    from faceshifter_jax.evaluation.mine_command import run

    run(arguments)
