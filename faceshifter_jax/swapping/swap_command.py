"""`faceshifter swap`: the face of one photograph into another."""

import argparse
import dataclasses

from faceshifter_jax.swapping.photos import load_photo, publish_photo
from faceshifter_jax.swapping.swapper import Swapper


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--source", required=True, help="photo of the person to be seen")
    parser.add_argument("--target", required=True, help="photo that is to show that person")
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="workdir of an aei or hear training, or a converted generator",
    )
    parser.add_argument(
        "--identity",
        help="identity network, a workdir or a converted one: for a converted generator, or if "
        "the training's was moved",
    )
    parser.add_argument("--hear", help="HEAR-Net, a workdir or a converted one, as second stage")
    parser.add_argument("--output", required=True, help="picture to write, such as swap.png")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")
    parser.add_argument(
        "--aligned",
        action="store_true",
        help="the photos are aligned squares; write what the network makes of them",
    )


def run(arguments: argparse.Namespace) -> None:
    """Swaps and writes the result."""
    with publish_photo(arguments.output, overwrite=arguments.overwrite) as write:
        source, target = load_photo(arguments.source), load_photo(arguments.target)
        source = dataclasses.replace(source, name=f"the source {source.name}")
        target = dataclasses.replace(target, name=f"the target {target.name}")
        swapper = Swapper.load(
            arguments.checkpoint, identity=arguments.identity, hear=arguments.hear
        )
        swap = swapper.swap_aligned if arguments.aligned else swapper.swap
        write(swap(source, target), target.icc_profile)
    print(f"wrote {arguments.output}")
