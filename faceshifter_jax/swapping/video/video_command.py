"""The part of `faceshifter swap` that is about videos."""

import argparse
import logging
from collections.abc import Callable

from faceshifter_jax.errors import UserError
from faceshifter_jax.messages import printable
from faceshifter_jax.swapping.assignment import Assignment
from faceshifter_jax.swapping.defaults import DEFAULT_CRF
from faceshifter_jax.swapping.swapper import Swapper
from faceshifter_jax.swapping.video.swap_video import (
    VideoSettings,
    check_before,
    swap_video,
)

_logger = logging.getLogger(__name__)


def check_for_photo(arguments: argparse.Namespace) -> None:
    """Raises UserError for an argument that does not apply to photographs."""
    if arguments.detect_every is not None or arguments.crf is not None:
        raise UserError("--detect-every and --crf are for videos, and TARGET is not one")


def run(
    arguments: argparse.Namespace,
    read_assignment: Callable[[argparse.Namespace], Callable[[Swapper], Assignment]],
    load_swapper: Callable[[argparse.Namespace], Swapper],
) -> None:
    """Swaps and writes the video."""
    if arguments.aligned or arguments.save_error or arguments.save_masks:
        raise UserError("--aligned, --save-error and --save-masks are for photos, not for videos")
    settings = VideoSettings(
        detect_every=1 if arguments.detect_every is None else arguments.detect_every,
        crf=DEFAULT_CRF if arguments.crf is None else arguments.crf,
        provenance=not arguments.no_provenance,
    )
    check_before(arguments.target, arguments.output, settings, overwrite=arguments.overwrite)
    assign = read_assignment(arguments)
    swapper = load_swapper(arguments)
    try:
        notes = swap_video(
            swapper,
            assign(swapper),
            arguments.target,
            arguments.output,
            settings=settings,
            overwrite=arguments.overwrite,
        )
    except (KeyboardInterrupt, SystemExit):
        _logger.info("give the same command again to continue from here")
        raise
    for note in notes:
        _logger.info(note)
    print(printable(f"wrote {arguments.output}"))
