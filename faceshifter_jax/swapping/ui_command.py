"""`faceshifter ui`: a page in the browser that swaps faces of photos."""

import argparse
import os

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.names import DEFAULT_DETECTOR, DETECTORS
from faceshifter_jax.paths import local_path

EXAMPLES = (
    "faceshifter ui",
    "faceshifter ui --checkpoint runs/hear --port 8000",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--checkpoint",
        type=local_path,
        help="workdir of an aei or hear training run, or a converted generator (default: the "
        "networks that come with the package)",
    )
    parser.add_argument(
        "--identity", type=local_path, help="identity network, for a converted generator"
    )
    parser.add_argument("--hear", type=local_path, help="HEAR-Net as second stage")
    parser.add_argument(
        "--detector",
        default=DEFAULT_DETECTOR,
        help=f"what finds faces: {', '.join(DETECTORS)}, or module:class of your own",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; with any other than this one, others can open the page",
    )
    parser.add_argument(
        "--port", type=int, help="port to listen on (default: the first free one from 7860 on)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Serves the page until it is stopped."""
    if arguments.port is not None and not 1 <= arguments.port <= 65535:
        raise UserError(f"--port must lie between 1 and 65535, not {arguments.port}")
    # Before gradio is imported, which else reports its use to its makers.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Not at the top: gradio and jax take seconds, and --help needs none of them.
    from faceshifter_jax.swapping.page import import_gradio, serve
    from faceshifter_jax.swapping.page_swaps import PageSwaps

    import_gradio()
    swaps = PageSwaps(arguments.checkpoint, arguments.identity, arguments.hear, arguments.detector)
    serve(swaps, arguments.host, arguments.port)
