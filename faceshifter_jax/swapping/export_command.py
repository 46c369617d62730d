"""`faceshifter export`: a trained swap as one program that needs nothing of this project."""

import argparse
import json

from faceshifter_jax.files import publish_file
from faceshifter_jax.paths import local_path

EXAMPLES = (
    "faceshifter export runs/hear swap.stablehlo",
    "faceshifter export ghost.safetensors swap.stablehlo --identity arcface.safetensors --batch 8",
)
PLATFORMS = ("cpu", "cuda", "tpu")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "checkpoint",
        type=local_path,
        help="workdir of an aei or hear training run, or a converted generator",
    )
    parser.add_argument(
        "out", type=local_path, help="file to write, such as swap.stablehlo; OUT.json describes it"
    )
    parser.add_argument(
        "--format", choices=("stablehlo",), default="stablehlo", help="what is written"
    )
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="pictures that it takes at once"
    )
    parser.add_argument(
        "--identity",
        type=local_path,
        help="identity network, for a converted generator, or if the training run's was moved",
    )
    parser.add_argument("--hear", type=local_path, help="HEAR-Net as second stage")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def run(arguments: argparse.Namespace) -> None:
    """Writes the program and its description."""
    # Not at the top: jax takes seconds, and --help needs none of it.
    from faceshifter_jax.swapping.stablehlo import export_swap

    with (
        publish_file(arguments.out, overwrite=arguments.overwrite) as program,
        publish_file(f"{arguments.out}.json", overwrite=arguments.overwrite) as description,
    ):
        content, facts = export_swap(
            arguments.checkpoint, arguments.identity, arguments.hear, arguments.batch
        )
        program.write_bytes(content)
        description.write_text(json.dumps(facts, indent=2) + "\n")
    size = facts["outputs"]["swap"]["shape"][1]
    taken = f"{arguments.batch} x {size}x{size} pixels"
    print(f"{arguments.out}: {len(content) / 2**20:.1f} MB, {taken}, for {', '.join(PLATFORMS)}")
