"""Reading videos: every frame in turn, with its time, whatever the container."""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError

VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"),
)
_DEFAULT_RATE = Fraction(25)
# Containers whose header says how long they are, not an estimate of what could be in them.
_HEADER_SAYS_DURATION = {"avi", "flv", "matroska", "mov"}
# Seconds that the last pictures or sounds may end before the duration that the header says.
_MISSING_AT_END = 1.0
_MICROSECOND = Fraction(1, 1_000_000)


def is_video(path: str | Path) -> bool:
    """Whether a file's name says that it is a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of its pictures.

    Attributes:
      width, height: of the stored pictures in pixels.
      time_base: the unit of time stamps, in seconds.
      rate: pictures a second, in the mean.
      num_frames: about how many pictures there are; None if nothing says so.
      display_matrix: how players turn and mirror the pictures, 9 numbers as in FFmpeg; None for
        not at all.
      turns: quarter turns, counterclockwise, that make the stored pictures upright.
      pixel_aspect: width of a pixel divided by its height, None if that is not said.
      bits: of a pixel's brightness.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    num_frames: int | None
    display_matrix: tuple[int, ...] | None
    turns: int
    pixel_aspect: Fraction | None
    bits: int


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
      info: what it says of its pictures.
    """

    def __init__(self, path: Path, container: Any, info: VideoInfo):
        """`open_video` makes one."""
        self._path = path
        self._container = container
        self._stream = choose_stream(path, container)
        # Frames on several cores; a slice of each picture is all that many files allow.
        self._stream.thread_type = "AUTO"
        self.info = info

    def frames(self) -> Iterator[Frame]:
        """Decodes all frames in the order in which they are shown; times always increase.

        Frames of another size than the first, as of some broadcasts, are resized to it.

        Raises:
          UserError: the file is damaged or cut off.
        """
        import av

        info = self.info
        usual = max(1, round(1 / info.rate / info.time_base))
        index, earliest, end = 0, None, Fraction(0)
        sounds = [s for s in self._container.streams if s.type in ("audio", "video")]
        try:
            for packet in self._container.demux(sounds):
                end = max(end, _end_of(packet))
                if packet.stream is not self._stream:
                    continue
                for picture in packet.decode():
                    duration, time = picture.duration or usual, picture.pts
                    if earliest is not None and (time is None or time < earliest):
                        time = earliest
                    time = time or 0
                    # A frame may be shown for longer than it says, never for less than a unit.
                    earliest = time + (usual if picture.pts is None else 1)
                    if (picture.width, picture.height) != (info.width, info.height):
                        picture = picture.reformat(info.width, info.height)
                    yield Frame(index, time, duration, picture)
                    index += 1
        except (av.InvalidDataError, av.EOFError) as error:
            second = float((earliest or 0) * info.time_base)
            raise UserError(
                f"the video {self._path} is damaged or cut off after {second:.1f} seconds: get a "
                "whole copy, or make one of what is left with another program"
            ) from error
        self._check_complete(index, end)

    def _check_complete(self, num_frames: int, end: Fraction) -> None:
        if num_frames == 0:
            raise UserError(f"not a single picture of the video {self._path} can be decoded")
        container = self._container
        kinds = set(container.format.name.split(","))
        if not container.duration or not kinds & _HEADER_SAYS_DURATION:
            return
        start = (container.start_time or 0) * _MICROSECOND
        missing = container.duration * _MICROSECOND + start - end
        if missing > _MISSING_AT_END:
            raise UserError(
                f"the video {self._path} is cut off: its last {float(missing):.1f} seconds are "
                "missing; get a whole copy, or make one of what is left with another program"
            )


@contextlib.contextmanager
def open_video(path: str | Path) -> Iterator[VideoReader]:
    """Opens a video for one pass over its frames.

    Raises:
      UserError: there is no such file, it is no video, it is damaged, or PyAV is not installed.
    """
    path = Path(path)
    # Twice, as a picture must be decoded for the facts, and going back is not exact everywhere.
    with open_container(path) as container:
        info = _read_info(path, container)
    with open_container(path) as container:
        yield VideoReader(path, container, info)


def choose_stream(path: str | Path, container: Any) -> Any:
    """Returns the video stream of a container: the default one, and never a cover picture.

    Raises:
      UserError: it has none.
    """
    import av

    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        raise UserError(f"{path} has no video stream: it may hold sound alone")
    default = av.stream.Disposition.default
    return next((stream for stream in streams if stream.disposition & default), streams[0])


@contextlib.contextmanager
def open_container(path: str | Path, *, options: dict[str, str] | None = None) -> Iterator[Any]:
    """Opens a file as `av` container for reading; `options` are of FFmpeg's reader.

    Raises:
      UserError: as `open_video`.
    """
    av = load_av()
    path = Path(path)
    if not path.exists():
        raise UserError(f"the video {path} does not exist")
    if not path.is_file():
        raise UserError(f"{path} is no video but a folder or the like: name a file")
    try:
        # Tags need not be UTF-8.
        container = av.open(str(path), options=options, metadata_errors="replace")
    except PermissionError as error:
        raise UserError(f"cannot read the video {path}: {error.strerror}") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UserError(
            f"cannot read the video {path}: it is no video in any known format, or is cut off"
        ) from error
    with container:
        yield container


def load_av() -> Any:
    """Imports PyAV and silences FFmpeg, which writes to stderr what matters to nobody.

    Raises:
      UserError: the package is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(
            f"videos need the package av ({error}): install it with "
            "pip install 'faceshifter-jax[swap]'"
        ) from error
    av.logging.set_libav_level(av.logging.FATAL)
    return av


def _read_info(path: Path, container: Any) -> VideoInfo:
    stream = choose_stream(path, container)
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or _DEFAULT_RATE
    num_frames = stream.frames or None
    if num_frames is None and container.duration:
        num_frames = round(container.duration * _MICROSECOND * rate)
    matrix = _read_display_matrix(path, container, stream)
    return VideoInfo(
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        time_base=stream.time_base,
        rate=rate,
        num_frames=num_frames,
        display_matrix=matrix,
        turns=_quarter_turns(matrix),
        pixel_aspect=stream.sample_aspect_ratio or None,
        bits=stream.codec_context.format.components[0].bits,
    )


def _read_display_matrix(path: Path, container: Any, stream: Any) -> tuple[int, ...] | None:
    """It comes with the frames."""
    import av

    try:
        first = next(container.decode(stream), None)
    except (av.InvalidDataError, av.EOFError) as error:
        raise UserError(
            f"the video {path} is damaged or cut off: its first picture cannot be decoded"
        ) from error
    with contextlib.suppress(KeyError):
        if first is not None:
            return struct.unpack("=9i", bytes(first.side_data["DISPLAYMATRIX"])[:36])
    return None


def _end_of(packet: Any) -> Fraction:
    """When a packet's picture or sound is over, in seconds."""
    if packet.pts is None:
        return Fraction(0)
    return (packet.pts + (packet.duration or 0)) * packet.time_base


def _quarter_turns(matrix: tuple[int, ...] | None) -> int:
    """Counterclockwise, of FFmpeg's display matrix; mirroring is left out."""
    if matrix is None:
        return 0
    a, b = matrix[:2]
    if abs(a) >= abs(b):
        return 0 if a >= 0 else 2
    # Rows of pictures count downwards: with b > 0, what is right goes down, that is clockwise.
    return 3 if b > 0 else 1
