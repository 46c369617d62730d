"""The faces of a video or animation that are replaced, frame by frame."""

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.progress import Progress
from faceshifter_jax.swapping.assignment import Assignment, assign_tracks
from faceshifter_jax.swapping.video.find_faces import Seen
from faceshifter_jax.swapping.video.tracking import SmoothTrack

# Seconds before and after a frame that its landmarks are smoothed with.
_REACH = 0.5


@dataclass(frozen=True, eq=False)
class VideoReplacement:
    """A face over successive frames, and its source, see `assignment.Replacement`."""

    track: SmoothTrack
    source: np.ndarray


def choose_replacements(
    assignment: Assignment, seen: Seen, name: str, kind: str
) -> tuple[list[VideoReplacement], list[str]]:
    """Assigns sources to the faces that were seen, and smooths their landmarks.

    Args:
      assignment: who is swapped.
      seen: the results of the first pass.
      name: of what was watched, for messages.
      kind: what it is, `a video` or `an animation`, for messages.

    Returns:
      what is replaced, and notes for the user.

    Raises:
      UserError: there is no face, or as `assign_tracks`.
    """
    if not seen.tracks:
        raise UserError(
            f"no face was found in any of the {len(seen.times)} frames of {name}: use {kind} where "
            "a face is large, sharp, upright and turned to the camera"
        )
    chosen, notes = assign_tracks(assignment, seen.tracks, name)
    return [VideoReplacement(track.smoothed(_REACH), source) for track, source in chosen], notes


class Visible:
    """The faces to be swapped in each of successive frames."""

    def __init__(self, replaced: Sequence[VideoReplacement]):
        """Takes what is replaced, in any order."""
        self._coming = sorted(replaced, key=lambda one: one.track.start, reverse=True)
        self._here: list[VideoReplacement] = []

    def at(self, frame: int) -> list[VideoReplacement]:
        """Returns those of a frame; each call asks for a later one."""
        while self._coming and self._coming[-1].track.start <= frame:
            self._here.append(self._coming.pop())
        self._here = [one for one in self._here if frame < one.track.stop]
        return list(self._here)


def frame_progress(doing: str, total: int) -> tuple[Callable[[int], None], Callable[[], None]]:
    """Returns what reports on frames: what the first call tells was done by an earlier run."""
    progress = Progress(doing, total, sys.stderr, unit="frames")
    calls = itertools.count()

    def advance(count: int) -> None:
        (progress.advance if next(calls) else progress.skip)(count)

    return advance, progress.finish
