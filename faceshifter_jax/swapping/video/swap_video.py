"""Faces of videos into others, in two passes.

The first finds the faces; then it is known who is in the video and where, so that their positions
are smoothed with what comes after as well as before, and it is chosen once who is swapped. The
second swaps and encodes, part by part. The work of both is kept next to the output until it is
complete: an interrupted run continues.
"""

import contextlib
import itertools
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.finder import AlignedFace
from faceshifter_jax.files import check_place, check_replaceable, unfinished_work
from faceshifter_jax.media.video_pixels import draw_over, to_encodable, to_rgb
from faceshifter_jax.media.video_reader import (
    Frame,
    VideoInfo,
    VideoReader,
    check_video,
    open_video,
)
from faceshifter_jax.media.video_writer import Film, PartWriter, check_suffix, join, prove_output
from faceshifter_jax.runtime.faults import explain_write_error, is_no_room
from faceshifter_jax.runtime.workers import usable_cores
from faceshifter_jax.swapping.assignment import Assignment
from faceshifter_jax.swapping.defaults import DEFAULT_CRF, check_strength
from faceshifter_jax.swapping.pasting import put_back
from faceshifter_jax.swapping.swapper import Swapper
from faceshifter_jax.swapping.video.find_faces import Seen, check_detect_every, find_faces
from faceshifter_jax.swapping.video.plan import plan_video
from faceshifter_jax.swapping.video.replacements import (
    VideoReplacement,
    Visible,
    choose_replacements,
    frame_progress,
)

_WORST_CRF = 51
_WRITTEN_BITS = 8
_FRAMES_A_PART = 120
# The most pixels of frames that wait until a batch is full.
_WAITING_PIXELS = 32 * 2**20


@dataclass(frozen=True)
class VideoSettings:
    """Settings for swapping videos.

    Attributes:
      detect_every: faces are looked for in every so many frames, and in between where one comes
        or goes.
      crf: quality of the encoder x264, 0 (without loss) to 51.
      frames_a_part: frames between two points from which an interrupted run continues.
      provenance: whether the output says what it is.
      strength: see `Swapper.swap`.
    """

    detect_every: int = 1
    crf: int = DEFAULT_CRF
    frames_a_part: int = _FRAMES_A_PART
    provenance: bool = True
    strength: float = 1.0

    def check(self) -> None:
        """Raises UserError for numbers out of range."""
        check_detect_every(self.detect_every)
        check_strength(self.strength)
        if not 0 <= self.crf <= _WORST_CRF:
            raise UserError(f"--crf must lie between 0 and {_WORST_CRF}, got {self.crf}")
        if self.frames_a_part < 1:
            raise ValueError("a part has at least one frame")


def swap_video(
    swapper: Swapper,
    assignment: Assignment,
    video: str | Path,
    output: str | Path,
    *,
    settings: VideoSettings | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Swaps faces of a video.

    Its size, its frames with their times, its rotation, and its sound to the byte are kept; frames
    without a face to be swapped are encoded as they are. Progress is written to stderr.

    Args:
      swapper: the network.
      assignment: who is swapped, of `swapper.assign_source` or `swapper.assign_people`.
      video: the file, in any format that FFmpeg reads.
      output: the file to write, H.264; its suffix says the container.
      settings: None for the usual ones.
      overwrite: whether it may replace an existing one.

    Returns:
      notes for the user.

    Raises:
      UserError: a file that is not a video, a damaged video or one without a face to be swapped, or
        an output that cannot be written.
    """
    settings = settings or VideoSettings()
    check_before(video, output, settings, overwrite=overwrite)
    from av.error import FFmpegError

    output = Path(output).absolute()
    try:
        return _swap(swapper, assignment, Path(video), output, settings, overwrite)
    except (OSError, FFmpegError) as error:
        if is_no_room(error):
            raise UserError(f"cannot write {output}: {explain_write_error(error)}") from error
        if not isinstance(error, FFmpegError):
            raise
        raise UserError(
            f"cannot make {output} of {video}: FFmpeg says {' '.join(str(error).split())}; what is "
            "done is kept"
        ) from error


def _swap(
    swapper: Swapper,
    assignment: Assignment,
    video: Path,
    output: Path,
    settings: VideoSettings,
    overwrite: bool,
) -> list[str]:
    provenance = swapper.provenance if settings.provenance else None
    with unfinished_work(output, plan_video(swapper, assignment, video, vars(settings))) as work:
        with open_video(video) as reader:
            film = Film(video, reader.info, reader.clock, output, provenance)
            copies = prove_output(film, reader.first, work.folder, crf=settings.crf)
            seen = _watch(swapper, reader, work.folder / "faces.jsonl", settings)
        replaced, notes = choose_replacements(assignment, seen, str(video), "a video")
        # From here on the folder holds hours of work.
        work.keep_after_error = True
        try:
            parts = _swap_parts(swapper, replaced, film, seen, work.folder, settings)
        except _VideoChangedError:
            work.keep_after_error = False
            raise
        complete = work.folder / "complete"
        join(film, copies, parts, seen.times, seen.durations, complete)
        check_replaceable(output, overwrite)
        complete.replace(output)
    return [*copies.notes, *notes, *_notes_on_pictures(film.info, output)]


class _VideoChangedError(UserError):
    """The video's frames are no longer those that were looked at."""


def check_before(
    video: str | Path, output: str | Path, settings: VideoSettings, *, overwrite: bool
) -> None:
    """Checks everything that can be checked before a network is loaded.

    Raises:
      UserError: as `swap_video`.
    """
    settings.check()
    check_suffix(output)
    check_replaceable(Path(output), overwrite)
    check_video(video)
    if Path(video).resolve() == Path(output).resolve():
        raise UserError(f"{output} is the video itself: choose another name")
    check_place(Path(output).absolute())


def _watch(swapper: Swapper, video: VideoReader, log: Path, settings: VideoSettings) -> Seen:
    advance, finish = frame_progress("looking for faces", video.info.num_frames)
    seen = find_faces(
        video, swapper.finder, log, detect_every=settings.detect_every, advance=advance
    )
    finish()
    return seen


def _swap_parts(
    swapper: Swapper,
    replaced: Sequence[VideoReplacement],
    film: Film,
    seen: Seen,
    folder: Path,
    settings: VideoSettings,
) -> list[Path]:
    """Makes the parts that are not there yet; returns the files of all."""
    starts = range(0, len(seen.times), settings.frames_a_part)
    parts = [folder / f"part{start:09d}.mp4" for start in starts]
    done = next((i for i, part in enumerate(parts) if not part.exists()), len(parts))
    advance, finish = frame_progress("swapping", len(seen.times))
    known = min(done * settings.frames_a_part, len(seen.times))
    advance(known)
    if done < len(parts):
        with (
            open_video(film.source, film.clock) as reader,
            ThreadPoolExecutor(usable_cores()) as pool,
            contextlib.closing(_remaining_frames(reader, seen.times, known)) as frames,
            contextlib.closing(
                _swap_frames(swapper, replaced, frames, reader.info, settings.strength, pool)
            ) as swapped,
        ):
            for part in parts[done:]:
                with PartWriter(part, reader.info, crf=settings.crf) as writer:
                    for frame, picture in itertools.islice(swapped, settings.frames_a_part):
                        writer.add(picture, frame.time, frame.duration)
                        advance(1)
    finish()
    return parts


def _remaining_frames(
    reader: VideoReader, times: array, known: int
) -> Generator[Frame, None, None]:
    for frame in reader.frames():
        if frame.index >= len(times) or frame.time != times[frame.index]:
            raise _VideoChangedError(
                "the video has changed since its faces were looked for: begin again"
            )
        if frame.index >= known:
            yield frame


def _swap_frames(
    swapper: Swapper,
    replaced: Sequence[VideoReplacement],
    frames: Iterable[Frame],
    info: VideoInfo,
    strength: float,
    pool: ThreadPoolExecutor,
) -> Generator[tuple[Frame, Any], None, None]:
    """Yields frames with what the encoder gets of each, an `av.VideoFrame`."""
    visible = Visible(replaced)
    most = max(1, _WAITING_PIXELS // (info.width * info.height))
    waiting: list[_Shot] = []
    for frame in frames:
        waiting.append(_Shot(frame, visible.at(frame.index), info))
        full = sum(len(shot.replaced) for shot in waiting) >= swapper.batch_size
        if full or len(waiting) >= most or not any(shot.replaced for shot in waiting):
            yield from _swap_together(swapper, waiting, strength, pool)
            waiting = []
    yield from _swap_together(swapper, waiting, strength, pool)


class _Shot:
    """A frame that is being swapped."""

    def __init__(self, frame: Frame, replaced: Sequence[VideoReplacement], info: VideoInfo):
        self.frame = frame
        self._time = frame.time * float(info.time_base)
        self.replaced = sorted(replaced, key=lambda one: -one.track.face_at(self._time).area)
        self.faces: list[AlignedFace] = []
        self._turns = info.turns
        self._pixels: np.ndarray | None = None

    def align(self, swapper: Swapper) -> None:
        if self.replaced:
            self._pixels = to_rgb(self.frame.picture, self._turns)
            self.faces = [
                swapper.finder.align(self._pixels, one.track.face_at(self._time))
                for one in self.replaced
            ]

    def finish(self, squares: Sequence[np.ndarray], mask: str) -> Any:
        encodable = to_encodable(self.frame.picture)
        if self._pixels is not None:
            pixels = put_back(self._pixels, self.faces, squares, mask)
            draw_over(encodable, self._pixels, pixels, self._turns)
        return encodable


def _swap_together(
    swapper: Swapper, shots: Sequence[_Shot], strength: float, pool: ThreadPoolExecutor
) -> Iterator[tuple[Frame, Any]]:
    list(pool.map(lambda shot: shot.align(swapper), shots))
    sources = [one.source for shot in shots for one in shot.replaced]
    squares: Iterator[np.ndarray] = iter(())
    if sources:
        targets = [face.square for shot in shots for face in shot.faces]
        squares = iter(swapper.run_network(sources, np.stack(targets), strength))
    own = [[next(squares) for _ in shot.replaced] for shot in shots]
    encodable = pool.map(lambda shot, result: shot.finish(result, swapper.mask), shots, own)
    for shot, picture in zip(shots, encodable, strict=True):
        yield shot.frame, picture


def _notes_on_pictures(info: VideoInfo, output: Path) -> list[str]:
    notes = []
    if info.bits > _WRITTEN_BITS:
        notes.append(f"{output} has {_WRITTEN_BITS} bits a channel of the {info.bits}")
    if info.width % 2 or info.height % 2:
        size = f"{info.width + info.width % 2}x{info.height + info.height % 2}"
        notes.append(
            f"{output} has {size} pixels in place of {info.width}x{info.height}: H.264 in its "
            "most common form has even sizes, so an edge is repeated"
        )
    if info.interlaced:
        notes.append(
            f"{output} is interlaced as the video is: a face that moves comes out better if it is "
            "deinterlaced first"
        )
    lost = ["transparency"] if info.alpha else []
    if lost := [*lost, *info.extras]:
        notes.append(f"{output} is without what the video has of {', '.join(lost)}")
    return notes
