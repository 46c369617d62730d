"""The part of `faceshifter swap` that is about videos and animations."""

import argparse
import logging
from pathlib import Path

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import check_replaceable
from faceshifter_jax.media.animations import Animation
from faceshifter_jax.media.video_container import is_video
from faceshifter_jax.messages import printable
from faceshifter_jax.swapping.assignment import Assignment
from faceshifter_jax.swapping.defaults import DEFAULT_CRF
from faceshifter_jax.swapping.swap_inputs import load_swapper, read_assignment, tell
from faceshifter_jax.swapping.swapper import Swapper
from faceshifter_jax.swapping.video.swap_animation import is_animation_swap, swap_animation
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


def is_film(target: str | Path, output: str | Path) -> bool:
    """Whether faces are followed from frame to frame: a video, or an animation as output, too."""
    return is_video(target) or is_animation_swap(target, output)


def run(arguments: argparse.Namespace) -> None:
    """Swaps and writes one video or animation."""
    if arguments.aligned or arguments.save_error or arguments.save_masks:
        raise UserError("--aligned, --save-error and --save-masks are for photos, not for videos")
    target, output = arguments.target, arguments.output
    _check(arguments, target, output)
    assign = read_assignment(arguments)
    swapper = load_swapper(arguments)
    tell(swap_film(arguments, swapper, assign(swapper), target, output))
    print(printable(f"wrote {output}"))


def swap_film(
    arguments: argparse.Namespace,
    swapper: Swapper,
    assignment: Assignment,
    target: str,
    output: str,
) -> list[str]:
    """Swaps one video or animation; returns notes, raises as `swap_video`, `swap_animation`."""
    _refuse_to_sign(arguments)
    if not is_video(target):
        return swap_animation(
            swapper,
            assignment,
            target,
            output,
            strength=arguments.strength,
            provenance=not arguments.no_provenance,
            overwrite=arguments.overwrite,
        )
    try:
        return swap_video(
            swapper,
            assignment,
            target,
            output,
            settings=_settings(arguments),
            overwrite=arguments.overwrite,
        )
    except (KeyboardInterrupt, SystemExit):
        _logger.info("give the same command again to continue from here")
        raise


def _refuse_to_sign(arguments: argparse.Namespace) -> None:
    if arguments.sign:
        raise UserError("--sign is for photos: videos and animations are not signed")


def _check(arguments: argparse.Namespace, target: str, output: str) -> None:
    _refuse_to_sign(arguments)
    if is_video(target):
        check_before(target, output, _settings(arguments), overwrite=arguments.overwrite)
    else:
        check_for_photo(arguments)
        check_replaceable(Path(output), arguments.overwrite)
        Animation(target)


def _settings(arguments: argparse.Namespace) -> VideoSettings:
    return VideoSettings(
        detect_every=1 if arguments.detect_every is None else arguments.detect_every,
        crf=DEFAULT_CRF if arguments.crf is None else arguments.crf,
        provenance=not arguments.no_provenance,
        strength=arguments.strength,
    )
