"""The arguments of `faceshifter compare`."""

import argparse

from faceshifter_jax.paths import local_path

EXAMPLES = (
    "faceshifter compare runs/a runs/b",
    "faceshifter compare runs/a runs/b --report comparison.html --json",
    "faceshifter compare PHOTOS me.jpg --identity runs/arcface -o cosines.csv",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "things",
        type=local_path,
        metavar="THING",
        nargs="+",
        help="evaluations: workdirs, checkpoints or metrics.json files, the first one being what "
        "the others are compared with; or photos, or folders of them",
    )
    parser.add_argument(
        "--identity",
        type=local_path,
        help="for photos: workdir of an arcface training run, or a converted network",
    )
    parser.add_argument(
        "--protocol", help="for evaluations: which one, where a workdir has several"
    )
    parser.add_argument("-o", "--output", type=local_path, help="table to write, as CSV")
    parser.add_argument(
        "--report",
        type=local_path,
        metavar="FILE.html",
        help="for evaluations: page to write that shows them side by side, with pictures",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing OUTPUT and FILE.html"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the figures as JSON in place of tables"
    )


def run(arguments: argparse.Namespace) -> None:
    """Compares evaluations, or faces in photos."""
    # Not at the top: jax takes seconds, and --help needs none of it.
    from faceshifter_jax.evaluation.compare_command import run

    run(arguments)
