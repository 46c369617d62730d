"""Opening video files of known formats, reading nothing else, with errors of one line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError

VIDEO_SUFFIXES = (
    *(".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".m2t", ".m2ts", ".m2v", ".m4v"),
    *(".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".qt", ".ts", ".vob"),
    *(".webm", ".wmv"),
)
# FFmpeg goes by a file's content, not by its name, and knows formats that are lists of other
# files and of addresses. These are what video files are in.
_DEMUXERS = (
    *("mov", "mp4", "matroska", "webm", "avi", "flv", "live_flv", "mpegts", "mpeg", "asf"),
    *("mpegvideo", "m4v", "h264", "hevc", "av1", "obu", "ivf", "ogg", "dv", "mxf", "nut", "gxf"),
)
# Some formats announce a stream only where it begins: FFmpeg looks for one in this many bytes and
# microseconds.
_OPTIONS = {
    "format_whitelist": ",".join(_DEMUXERS),
    "protocol_whitelist": "file",
    "probesize": str(64 * 2**20),
    "analyzeduration": str(120_000_000),
}


def is_video(path: str | Path) -> bool:
    """Whether a file's name says that it is a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def address_of(path: str | Path) -> str:
    """Returns the path for FFmpeg, which would take a name with a colon for a protocol."""
    return f"file:{path}"


@contextlib.contextmanager
def open_container(path: str | Path, *, options: dict[str, str] | None = None) -> Iterator[Any]:
    """Opens a video file for reading, as an `av` container.

    Args:
      path: the file; nothing else is opened, whatever it says.
      options: more options of FFmpeg's reader.

    Raises:
      UserError: the file does not exist, is not a video, or PyAV is not installed.
    """
    av = load_av()
    path = Path(path)
    if not path.exists():
        raise UserError(f"the video {path} does not exist")
    if not path.is_file():
        raise UserError(f"{path} is not a video file but a folder or the like: name a file")
    try:
        # Tags need not be UTF-8.
        container = av.open(
            address_of(path), options=_OPTIONS | (options or {}), metadata_errors="replace"
        )
    except PermissionError as error:
        raise UserError(f"cannot read the video {path}: {error.strerror}") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UserError(
            f"cannot read the video {path}: it is not a video in any known format, or is cut off"
        ) from error
    with container:
        yield container


def choose_stream(path: str | Path, container: Any) -> Any:
    """Returns the video stream of a container: the default one, and never a cover picture.

    Raises:
      UserError: it has none.
    """
    from av.stream import Disposition

    cover = Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        raise UserError(f"{path} has no video stream: it may hold sound alone")
    default = Disposition.default
    stream = next((stream for stream in streams if stream.disposition & default), streams[0])
    if stream.codec_context is None:
        raise UserError(f"the pictures of the video {path} are in a format that cannot be decoded")
    return stream


def load_av() -> Any:
    """Imports PyAV and silences FFmpeg's messages on stderr.

    Raises:
      UserError: the package is not installed.
    """
    try:
        import av
        import av.logging
    except ImportError as error:
        raise UserError(
            f"videos need the package av ({error}): install it with "
            "pip install 'faceshifter-jax[swap]'"
        ) from error
    av.logging.set_libav_level(av.logging.FATAL)
    return av
