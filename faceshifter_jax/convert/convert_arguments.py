"""The arguments of `faceshifter convert`."""

import argparse

from faceshifter_jax.networks.contract import CHANNEL_ORDERS, EMBEDDINGS, REGIONS, RESIZES
from faceshifter_jax.paths import local_path

EXAMPLES = (
    "faceshifter convert --list",
    "faceshifter convert backbone.pth arcface.safetensors",
    "faceshifter convert G_unet_2blocks.pth ghost.safetensors --identity arcface.safetensors",
    "faceshifter convert runs/aei aei.safetensors",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "file", nargs="?", type=local_path, metavar="FILE", help="published weights, or a workdir"
    )
    parser.add_argument(
        "out", nargs="?", type=local_path, metavar="OUT", help="network file, NAME.safetensors"
    )
    parser.add_argument("--list", action="store_true", help="list the supported weights, and exit")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    _add_overrides(parser)


def run(arguments: argparse.Namespace) -> None:
    """Converts FILE to OUT and reports what it was."""
    # Not at the top: jax takes seconds, and --help needs none of it.
    from faceshifter_jax.convert.convert_command import run

    run(arguments)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `faceshifter convert` that override what the family says."""
    group = parser.add_argument_group(
        "where it is not what the family uses (no file says it; what is used is printed)"
    )
    group.add_argument(
        "--channel-order", choices=CHANNEL_ORDERS, help="of the pictures it was trained on"
    )
    group.add_argument("--alignment", choices=tuple(REGIONS), help="of the faces it was trained on")
    group = parser.add_argument_group("the same, of generators alone")
    group.add_argument(
        "--side", type=int, metavar="N", help="pixels of the squares cut from photos, before they "
        "are resized to the generator's"
    )  # fmt: skip
    group.add_argument(
        "--range", choices=("signed", "unit"), help="of the target: [-1, 1] or [0, 1]"
    )
    group.add_argument(
        "--embedding", choices=EMBEDDINGS, help="scaled to unit length, or as it comes"
    )
    group.add_argument(
        "--identity",
        type=local_path,
        metavar="FILE",
        help="the converted identity network that it was trained with: any other is refused from "
        "then on",
    )
    group.add_argument(
        "--identity-region",
        metavar="BEGIN:END",
        help="rows and columns of the square that the identity network sees, in 256ths: 0:256",
    )
    group.add_argument("--identity-resize", choices=RESIZES, help="how they are resized")
    group.add_argument(
        "--identity-channel-order", choices=CHANNEL_ORDERS, help="of the identity network's picture"
    )
