"""Writing videos: pictures in parts that are complete, then one file with everything else."""

import contextlib
import heapq
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.provenance.films import append_xmp, tags_for
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.media.video_reader import VideoInfo, choose_stream, open_container

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
OUTPUT_SUFFIXES = tuple(_FORMATS)
_COPIED = ("audio", "subtitle")
_LARGEST_RATE_DENOMINATOR = 100_000
# Without pictures that depend on later ones, parts join exactly: packets come in the order of
# time, and every picture keeps its time stamp.
_ENCODER = {"bf": "0", "preset": "medium"}


def check_suffix(path: str | Path) -> None:
    """Raises UserError unless a file's name says a format that videos are written in."""
    if Path(path).suffix.lower() not in _FORMATS:
        known = " ".join(OUTPUT_SUFFIXES)
        raise UserError(f"{path}: videos are written as H.264: end its name in one of {known}")


class PartWriter:
    """Encodes some successive pictures of a video into a file of its own."""

    def __init__(self, path: Path, info: VideoInfo, *, crf: int):
        """Takes where to write, what the video is like, and the quality, as of x264."""
        self._path = path
        self._info = info
        self._options = {**_ENCODER, "crf": str(crf)}
        self._beside = path.with_name(f"{path.name}.part")
        self._container: Any = None
        self._stream: Any = None
        self._start = 0

    def add(self, picture: Any, time: int, duration: int) -> None:
        """Encodes an `av.VideoFrame`, 8-bit 4:2:0 of even size, shown at `time` for `duration`."""
        if self._container is None:
            self._begin(picture)
            self._start = time
        picture.pts = time - self._start
        picture.time_base = self._info.time_base
        picture.duration = duration
        # The encoder chooses where a picture stands alone, not the original.
        picture.pict_type = 0
        self._container.mux(self._stream.encode(picture))

    def finish(self) -> None:
        """Completes the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._beside.replace(self._path)

    def _begin(self, picture: Any) -> None:
        import av

        info = self._info
        self._container = av.open(str(self._beside), "w", format="mp4")
        rate = info.rate.limit_denominator(_LARGEST_RATE_DENOMINATOR)
        self._stream = self._container.add_stream("libx264", rate=rate, options=self._options)
        context = self._stream.codec_context
        context.width, context.height = picture.width, picture.height
        context.pix_fmt = picture.format.name
        context.time_base = info.time_base
        for name in ("colorspace", "color_range", "color_trc", "color_primaries"):
            setattr(context, name, getattr(picture, name))
        if info.pixel_aspect:
            context.sample_aspect_ratio = info.pixel_aspect


def check_copies(source: Path, scratch: Path, output: Path) -> list[str]:
    """Finds out before the work whether a video's sound fits into the output's format.

    Args:
      source: the video.
      scratch: folder for a file that is removed.
      output: what will be written.

    Returns:
      notes on what will be left out.

    Raises:
      UserError: it does not fit.
    """
    import av

    probe = scratch / "probe"
    with open_container(source) as container:
        out = av.open(str(probe), "w", format=_FORMATS[output.suffix.lower()])
        try:
            return _add_copies(container, out, source, output)[1]
        finally:
            out.close()
            probe.unlink(missing_ok=True)


def join(
    source: Path,
    parts: Sequence[Path],
    times: Sequence[int],
    durations: Sequence[int],
    info: VideoInfo,
    path: Path,
    output: Path,
    provenance: Provenance | None,
) -> None:
    """Puts the parts, and the sound and tags of the source, into one file.

    Args:
      source: the video.
      parts: files of `PartWriter`, which hold all its pictures in turn.
      times, durations: of all pictures, in `info.time_base`.
      info: of the source.
      path: the file to write.
      output: what it will be called; its suffix is the format.
      provenance: what the file says of where it comes from.

    Raises:
      UserError: the format cannot hold the sound.
    """
    import av

    kind = _FORMATS[output.suffix.lower()]
    options = {}
    if kind in ("mp4", "mov"):
        options = {
            # To begin playing, the index must be there; and other tags than those of iTunes.
            "movflags": "+faststart+use_metadata_tags",
            "movie_timescale": str(min(info.time_base.denominator, 2**31 - 1)),
        }
    with open_container(source) as container, open_container(parts[0]) as first:
        out = av.open(str(path), "w", format=kind, options=options)
        with contextlib.closing(out):
            video = out.add_stream_from_template(first.streams.video[0], opaque=True)
            video.time_base = info.time_base
            video.codec_context.framerate = info.rate.limit_denominator(_LARGEST_RATE_DENOMINATOR)
            if info.display_matrix:
                video.set_display_matrix(info.display_matrix)
            original = choose_stream(source, container)
            _copy_stream_tags(original, video)
            copies, _ = _add_copies(container, out, source, output)
            out.metadata.update(tags_for(container.metadata, provenance))
            if chapters := container.chapters():
                out.set_chapters(chapters)
            pictures = _read_parts(parts, times, durations, info, video)
            sounds = _read_copies(container, copies)
            try:
                for _, packet in heapq.merge(pictures, sounds, key=lambda entry: entry[0]):
                    out.mux(packet)
            except (av.FFmpegError, ValueError) as error:
                raise UserError(
                    f"cannot put the sound of {source} into {output}: "
                    f"{' '.join(str(error).split())}; write an .mkv"
                ) from error
    if provenance is not None and kind in ("mp4", "mov"):
        append_xmp(path, provenance)


def _add_copies(
    container: Any, out: Any, source: Path, output: Path
) -> tuple[list[tuple[Any, Any]], list[str]]:
    """Adds streams for sound and subtitles; returns pairs of theirs and ours, and notes."""
    copies, left_out = [], []
    video = choose_stream(source, container)
    for stream in container.streams:
        if stream is video:
            continue
        if stream.type not in _COPIED:
            left_out.append(stream.type)
            continue
        try:
            copy = out.add_stream_from_template(stream)
        except ValueError as error:
            if stream.type == "audio":
                raise UserError(
                    f"{output.suffix} cannot hold the sound of {source} "
                    f"({stream.codec_context.name}): write an .mkv"
                ) from error
            left_out.append(f"{stream.type} ({stream.codec_context.name})")
            continue
        _copy_stream_tags(stream, copy)
        copies.append((stream, copy))
    if not left_out:
        return copies, []
    return copies, [f"left out, beside pictures and sound: {', '.join(left_out)}"]


def _copy_stream_tags(source: Any, target: Any) -> None:
    target.metadata.update(
        {key: value for key, value in source.metadata.items() if key not in ("encoder", "DURATION")}
    )
    target.disposition = source.disposition


def _read_parts(
    parts: Sequence[Path],
    times: Sequence[int],
    durations: Sequence[int],
    info: VideoInfo,
    stream: Any,
) -> Iterator[tuple[Fraction, Any]]:
    index = 0
    for part in parts:
        with open_container(part) as container:
            for packet in container.demux(video=0):
                if packet.size == 0:
                    continue
                packet.stream = stream
                packet.time_base = info.time_base
                packet.pts = packet.dts = times[index]
                packet.duration = durations[index]
                yield times[index] * info.time_base, packet
                index += 1
    if index != len(times):
        raise RuntimeError(f"the parts hold {index} pictures in place of {len(times)}")


def _read_copies(
    container: Any, copies: Sequence[tuple[Any, Any]]
) -> Iterator[tuple[Fraction, Any]]:
    if not copies:
        return
    targets = {stream.index: copy for stream, copy in copies}
    latest = Fraction(0)
    for packet in container.demux([stream for stream, _ in copies]):
        # Empty packets end a stream for a decoder. One without time stamps is no such packet.
        if packet.size == 0:
            continue
        moment = packet.dts if packet.dts is not None else packet.pts
        if moment is not None:
            latest = max(latest, moment * packet.time_base)
        packet.stream = targets[packet.stream.index]
        yield latest, packet
