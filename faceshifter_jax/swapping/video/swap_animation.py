"""Faces of animated GIF and WebP files into others, through Pillow."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from faceshifter_jax.files import check_replaceable, publish_file
from faceshifter_jax.media.animations import (
    ANIMATED_SUFFIXES,
    Animation,
    count_animation_frames,
    write_animation,
)
from faceshifter_jax.media.photos import Photo, repaint
from faceshifter_jax.swapping.assignment import Assignment
from faceshifter_jax.swapping.defaults import check_strength
from faceshifter_jax.swapping.pasting import put_back
from faceshifter_jax.swapping.swapper import Swapper
from faceshifter_jax.swapping.video.find_faces import find_faces
from faceshifter_jax.swapping.video.replacements import (
    VideoReplacement,
    Visible,
    choose_replacements,
    frame_progress,
)


def is_animation_swap(target: str | Path, output: str | Path) -> bool:
    """Whether all frames of a GIF or WebP file are swapped: its output can hold them."""
    suffix = Path(output).suffix.lower()
    if suffix not in ANIMATED_SUFFIXES:
        return False
    # Pictures of one frame keep more as a photo, but for GIFs, which photos are not written as.
    return count_animation_frames(target) >= (1 if suffix == ".gif" else 2)


def swap_animation(
    swapper: Swapper,
    assignment: Assignment,
    target: str | Path,
    output: str | Path,
    *,
    strength: float = 1.0,
    provenance: bool = True,
    overwrite: bool = False,
) -> list[str]:
    """Swaps faces of an animated GIF or WebP file as `swap_video` does those of videos.

    The frames' times, their size and transparency and the number of repeats are kept. GIF has 256
    colours for what changes in each frame; WebP joins frames that are equal.

    Args:
      swapper: the network.
      assignment: who is swapped, of `swapper.assign_source` or `swapper.assign_people`.
      target: the file.
      output: the file to write; its suffix says the format.
      strength: see `Swapper.swap`.
      provenance: whether the output says what it is.
      overwrite: whether it may replace an existing one.

    Returns:
      notes for the user.

    Raises:
      UserError: as `Animation`, no face to be swapped, or an output that cannot be written.
    """
    check_strength(strength)
    check_replaceable(Path(output), overwrite)
    animation = Animation(target)
    with tempfile.TemporaryDirectory() as folder:
        advance, finish = frame_progress("looking for faces", animation.info.num_frames)
        log = Path(folder, "faces.jsonl")
        seen = find_faces(animation, swapper.finder, log, detect_every=1, advance=advance)
        finish()
    replaced, notes = choose_replacements(assignment, seen, str(target), "an animation")
    statement = swapper.provenance if provenance else None
    xmp = statement.to_xmp(animation.info.xmp) if statement else animation.info.xmp
    with publish_file(output, overwrite=overwrite) as beside:
        frames = _swap_frames(swapper, replaced, animation, strength)
        suffix = Path(output).suffix.lower()
        write_animation(beside, suffix, frames, animation.info.loop, xmp)
    return notes


def _swap_frames(
    swapper: Swapper, replaced: Sequence[VideoReplacement], animation: Animation, strength: float
) -> Iterator[tuple[Photo, int]]:
    visible = Visible(replaced)
    advance, finish = frame_progress("swapping", animation.info.num_frames)
    advance(0)
    for frame in animation.frames():
        photo, time = frame.picture, frame.time / animation.second
        here = [(one, one.track.face_at(time)) for one in visible.at(frame.index)]
        here.sort(key=lambda entry: -entry[1].area)
        if here:
            faces = [swapper.finder.align(photo.pixels, face) for _, face in here]
            squares = swapper.run_network(
                [one.source for one, _ in here], np.stack([f.square for f in faces]), strength
            )
            photo = repaint(photo, put_back(photo.pixels, faces, list(squares), swapper.mask))
        yield photo, frame.stated
        advance(1)
    finish()
