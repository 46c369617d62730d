"""Reading videos: every frame in turn, with its time on one clock, whatever the container."""

import contextlib
import heapq
import statistics
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.video_clock import Clock, Track, read_clock, shows_no_times
from faceshifter_jax.media.video_container import choose_stream, open_container
from faceshifter_jax.media.video_pixels import has_alpha, like, to_rgb, to_thumbnail
from faceshifter_jax.media.video_truncation import ends_early, holds_several

COPIED = ("audio", "subtitle")
"""Types of streams, besides the pictures, that are on the clock and in outputs."""

_DEFAULT_RATE = Fraction(25)
# A higher rate is most often the tick of a clock, not of pictures.
_LARGEST_RATE = 300
# A container's rate is used if it differs from the measured one by less than this factor.
_RATE_ERROR = 2
_LARGEST_RATE_DENOMINATOR = 1001
# The most seconds between the end of the last pictures and sounds and the header's duration.
_MISSING_AT_END = 1.0
_MICROSECOND = Fraction(1, 1_000_000)
# As FFmpeg numbers orders of fields: how they are stored, then how they are shown.
_BOTTOM_FIRST = (3, 4)
# Side data of frames that cannot be written -> its name in messages.
_SIDE_DATA = {
    "MASTERING_DISPLAY_METADATA": "HDR mastering data",
    "CONTENT_LIGHT_LEVEL": "HDR light levels",
    "DYNAMIC_HDR_PLUS": "HDR10+ data",
    "DYNAMIC_HDR_VIVID": "HDR Vivid data",
    "DOVI_METADATA": "Dolby Vision data",
    "DOVI_RPU_BUFFER": "Dolby Vision data",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient light for HDR",
    "A53_CC": "closed captions",
    "STEREO3D": "the marking as a stereo picture",
    "SPHERICAL": "the marking as a 360-degree picture",
    "ICC_PROFILE": "the colour profile",
}


@dataclass(frozen=True)
class VideoInfo:
    """What a video says about its pictures.

    Attributes:
      width, height: of the stored pictures in pixels.
      time_base: the unit of time stamps, in seconds.
      rate: pictures a second, in the mean.
      num_frames: about how many pictures there are.
      display_matrix: how players turn and mirror the pictures, 9 numbers as in FFmpeg; None for
        not at all.
      turns: quarter turns, counterclockwise, that make the stored pictures upright.
      pixel_aspect: width of a pixel divided by its height, None if unknown.
      bits: of a pixel's brightness.
      interlaced: "tff" or "bff" if a picture is two fields, of lines in turn, the top or the bottom
        one of which is shown first; None if it is not.
      alpha: whether its pictures are transparent in places.
      extras: what else the pictures carry, in words.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    num_frames: int
    display_matrix: tuple[int, ...] | None
    turns: int
    pixel_aspect: Fraction | None
    bits: int
    interlaced: str | None
    alpha: bool
    extras: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture of a video.

    Attributes:
      index: its number, from 0.
      time, duration: when it is shown and for how long, in units of the video's time base.
      picture: the `av.VideoFrame` as it is stored.
    """

    index: int
    time: int
    duration: int
    picture: Any


class VideoReader:
    """An open video.

    Attributes:
      info: what it says about its pictures.
      clock: when its streams are shown and heard.
      first: its first picture, an `av.VideoFrame`.
    """

    def __init__(self, path: Path, container: Any, info: VideoInfo, clock: Clock, first: Any):
        """Use `open_video` to make one."""
        self.info = info
        self.clock = clock
        self._path = path
        self._container = container
        self.first = first
        self._stream = choose_stream(path, container)
        # Frames in parallel: many files do not allow slices in parallel.
        self._stream.thread_type = "AUTO"

    @property
    def second(self) -> float:
        """Units of the frames' times a second."""
        return 1 / float(self.info.time_base)

    def upright(self, picture: Any) -> np.ndarray:
        """Converts a frame's picture to uint8 (H, W, 3); raises as `to_rgb`."""
        return to_rgb(picture, self.info.turns)

    def thumbnail(self, picture: Any, width: int, height: int) -> np.ndarray:
        """Shrinks a frame's picture; see `to_thumbnail`."""
        return to_thumbnail(picture, width, height)

    def frames(self) -> Iterator[Frame]:
        """Decodes all frames in the order in which they are shown; times always increase.

        Each lasts until the next. Frames of another size or with colours of another kind than the
        first, as of some broadcasts, become like it.

        Raises:
          UserError: the file is damaged.
        """
        waiting: tuple[int, Any] | None = None
        durations = array("q")
        for time, picture in self._pictures():
            if waiting is not None:
                durations.append(time - waiting[0])
                yield Frame(len(durations) - 1, waiting[0], durations[-1], waiting[1])
            waiting = (time, picture)
        if waiting is None:
            raise UserError(f"not a single picture of the video {self._path} can be decoded")
        time, picture = waiting
        # The stored duration of the last frame is not always right.
        usual = statistics.median_low(durations) if durations else self._usual_duration()
        stated = picture.duration or 0
        last = stated if 2 * stated >= usual else usual
        yield Frame(len(durations), time, last, picture)

    def _pictures(self) -> Iterator[tuple[int, Any]]:
        from av.error import FFmpegError

        latest = None
        order = _DecodingOrder()
        no_times = shows_no_times(self._stream)
        try:
            for packet in self.clock.packets(self._container, [self._stream]):
                if packet.size and (no_times or packet.pts is None):
                    order.take(packet)
                for picture in packet.decode():
                    time = order.time_of(picture)
                    if time is None:
                        time = 0 if latest is None else latest + self._usual_duration()
                    latest = time if latest is None else max(time, latest + 1)
                    yield latest, like(picture, self.first)
        except FFmpegError as error:
            second = float((latest or 0) * self.info.time_base)
            raise UserError(
                f"the video {self._path} is damaged or cut off after {second:.1f} seconds: get a "
                "whole copy, or make one of what is left with another program"
            ) from error

    def _usual_duration(self) -> int:
        return max(1, round(1 / self.info.rate / self.info.time_base))


class _DecodingOrder:
    """Times of pictures whose packets only record decoding times: those times, in order."""

    def __init__(self):
        self._times: list[int] = []
        self._known: set[int] = set()

    def take(self, packet: Any) -> None:
        if packet.dts is not None:
            # The decoder passes it on, so that a picture can be traced to its packet.
            packet.pts = packet.dts
            heapq.heappush(self._times, packet.dts)
            self._known.add(packet.dts)

    def time_of(self, picture: Any) -> int | None:
        if picture.pts not in self._known:
            return picture.pts
        if picture.key_frame:
            # All that was decoded before a picture that stands alone is shown before it: what is
            # left of that was not decoded at all.
            while self._times and self._times[0] < picture.pts:
                self._known.discard(heapq.heappop(self._times))
        return heapq.heappop(self._times) if self._times else picture.pts


@contextlib.contextmanager
def open_video(path: str | Path, clock: Clock | None = None) -> Iterator[VideoReader]:
    """Opens a video for one pass over its frames.

    Args:
      path: the file.
      clock: of an earlier call for the same file; None reads the file once for it.

    Raises:
      UserError: the file does not exist, is not a video, is damaged or cut off, or PyAV is not
        installed.
    """
    path = Path(path)
    first = check_video(path)
    if clock is None:
        clock = _read_clock(path, first)
    # Opened again: seeking back is not exact in every format.
    with open_container(path) as container:
        stream = choose_stream(path, container)
        info = _read_info(stream, first, clock.tracks[stream.index])
        yield VideoReader(path, container, info, clock, first)


def check_video(path: str | Path) -> Any:
    """Returns the first picture of a video, an `av.VideoFrame`.

    Raises:
      UserError: as `open_video`, but for what shows only when all of it is read.
    """
    from av.error import FFmpegError

    path = Path(path)
    with open_container(path) as container:
        try:
            first = next(container.decode(choose_stream(path, container)), None)
        except FFmpegError as error:
            raise UserError(
                f"the video {path} is damaged or cut off: its first picture cannot be decoded"
            ) from error
    if first is None:
        raise UserError(f"not a single picture of the video {path} can be decoded")
    to_rgb(first, 0)
    return first


def _read_clock(path: Path, first: Any) -> Clock:
    from av.error import FFmpegError

    with open_container(path) as container:
        main = choose_stream(path, container)
        streams = [s for s in container.streams if s is main or s.type in COPIED]
        shown = None
        if first.pts is not None and not shows_no_times(main):
            shown = first.pts * first.time_base
        try:
            clock = read_clock(container, streams, main, shown)
        except FFmpegError as error:
            raise UserError(f"the video {path} is damaged: get a whole copy of it") from error
        _check_complete(path, container, main, clock)
    return clock


def _check_complete(path: Path, container: Any, main: Any, clock: Clock) -> None:
    if holds_several(path, container.format.name):
        raise UserError(
            f"the file {path} holds several videos one after the other, of which only the first "
            "would be read: join them with a program for videos"
        )
    if not ends_early(path, container.format.name):
        return
    end = max(track.end for track in clock.tracks.values())
    missing = (container.duration or 0) * _MICROSECOND - end
    if main.frames:
        # FFmpeg, which knows the file's size, then gives a duration below the header's.
        track = clock.tracks[main.index]
        missing = max(missing, (main.frames - track.packets) / _mean_rate(main, track))
    if missing > _MISSING_AT_END:
        raise UserError(
            f"the video {path} is cut off: its last {float(missing):.1f} seconds are "
            "missing; get a whole copy, or make one of what is left with another program"
        )


def _read_info(stream: Any, first: Any, track: Track) -> VideoInfo:
    matrix = _display_matrix(first)
    kinds = {data.type.name for data in first.side_data}
    return VideoInfo(
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        time_base=track.unit,
        rate=_mean_rate(stream, track),
        num_frames=track.packets,
        display_matrix=matrix,
        turns=_quarter_turns(matrix),
        pixel_aspect=stream.sample_aspect_ratio or None,
        bits=first.format.components[0].bits,
        interlaced=_field_order(stream, first),
        alpha=has_alpha(first),
        extras=tuple(dict.fromkeys(text for kind, text in _SIDE_DATA.items() if kind in kinds)),
    )


def _field_order(stream: Any, first: Any) -> str | None:
    if not first.interlaced_frame:
        return None
    return "bff" if stream.codec_context.field_order in _BOTTOM_FIRST else "tff"


def _mean_rate(stream: Any, track: Track) -> Fraction:
    stated = stream.average_rate or stream.guessed_rate or stream.base_rate
    seconds = track.stop - track.start
    if track.packets < 2 or seconds <= 0:
        return stated if stated and stated <= _LARGEST_RATE else _DEFAULT_RATE
    measured = track.packets / seconds
    if stated and measured / _RATE_ERROR <= stated <= measured * _RATE_ERROR:
        return stated
    limited = measured.limit_denominator(_LARGEST_RATE_DENOMINATOR)
    return limited or measured


def _display_matrix(first: Any) -> tuple[int, ...] | None:
    with contextlib.suppress(KeyError):
        return struct.unpack("=9i", bytes(first.side_data["DISPLAYMATRIX"])[:36])
    return None


def _quarter_turns(matrix: tuple[int, ...] | None) -> int:
    """Counterclockwise, of FFmpeg's display matrix; mirroring is left out."""
    if matrix is None:
        return 0
    a, b = matrix[:2]
    if abs(a) >= abs(b):
        return 0 if a >= 0 else 2
    # Rows of pictures count downwards: with b > 0, what is right goes down, that is clockwise.
    return 3 if b > 0 else 1
