"""Writing videos: pictures in complete parts, then one file with everything else."""

import contextlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.provenance.films import append_xmp, tags_for
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.media.video_clock import Clock
from faceshifter_jax.media.video_container import address_of, choose_stream, open_container
from faceshifter_jax.media.video_copies import (
    Copies,
    add_copy,
    close_quietly,
    copy_stream_tags,
    prove_copies,
    read_copies,
)
from faceshifter_jax.media.video_pixels import to_encodable
from faceshifter_jax.media.video_reader import VideoInfo

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
OUTPUT_SUFFIXES = tuple(_FORMATS)
_ISO_FORMATS = ("mp4", "mov")
_LARGEST_RATE_DENOMINATOR = 100_000
# Without pictures that depend on later ones, parts join exactly: packets come in the order of
# time, and every picture keeps its time stamp.
_ENCODER = {"bf": "0", "preset": "medium"}


def check_suffix(path: str | Path) -> None:
    """Raises UserError unless a file's name has the suffix of a supported output format."""
    if Path(path).suffix.lower() not in _FORMATS:
        known = " ".join(OUTPUT_SUFFIXES)
        raise UserError(f"{path}: videos are written as H.264: end its name in one of {known}")


class PartWriter:
    """Encodes a part of a video's pictures into its own file."""

    def __init__(self, path: Path, info: VideoInfo, *, crf: int):
        """Takes the path to write, the description of the video, and the quality as in x264."""
        self._path = path
        self._info = info
        self._options = {**_ENCODER, "crf": str(crf)}
        if info.interlaced:
            self._options["x264-params"] = f"{info.interlaced}=1"
        self._unfinished = path.with_name(f"{path.name}.part")
        self._container: Any = None
        self._stream: Any = None
        self._start = 0
        self._begun = False

    def add(self, picture: Any, time: int, duration: int) -> None:
        """Encodes an `av.VideoFrame`, 8-bit 4:2:0 of even size, shown at `time` for `duration`."""
        if not self._begun:
            self._begin(picture)
            self._start, self._begun = time, True
        picture.pts = time - self._start
        picture.time_base = self._info.time_base
        picture.duration = duration
        # The encoder chooses the key frames, not the original.
        picture.pict_type = 0
        self._container.mux(self._stream.encode(picture))

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Completes the file; after an exception there is none."""
        if self._container is None:
            return
        if kind is not None:
            close_quietly(self._container)
            return
        try:
            self._container.mux(self._stream.encode(None))
        except BaseException:
            close_quietly(self._container)
            raise
        self._container.close()
        self._unfinished.replace(self._path)

    def _begin(self, picture: Any) -> None:
        import av

        info = self._info
        self._container = av.open(address_of(self._unfinished), "w", format="mp4")
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


@dataclass(frozen=True, eq=False)
class Film:
    """A video and its output.

    Attributes:
      source: the video.
      info, clock: of the source.
      output: the file that is made; its suffix is the format.
      provenance: its statement of provenance.
    """

    source: Path
    info: VideoInfo
    clock: Clock
    output: Path
    provenance: Provenance | None

    @property
    def kind(self) -> str:
        """The output's format, as FFmpeg calls it."""
        return _FORMATS[self.output.suffix.lower()]


def prove_output(film: Film, first: Any, scratch: Path, *, crf: int) -> Copies:
    """Checks before the work that a video's pictures can be encoded and its sound kept.

    Args:
      film: what is to be made.
      first: its first picture, an `av.VideoFrame`.
      scratch: folder for a file that is removed.
      crf: as for `PartWriter`.

    Returns:
      what is copied.

    Raises:
      UserError: it is not possible; the line says what is.
    """
    import av
    from av.error import ExternalError

    part = scratch / "first.mp4"
    try:
        with PartWriter(part, film.info, crf=crf) as writer:
            writer.add(to_encodable(first), 0, 1)
    except (ExternalError, ValueError) as error:
        raise UserError(
            f"the pictures of {film.source}, {film.info.width}x{film.info.height} pixels, cannot "
            "be encoded as H.264: make them smaller with another program first"
        ) from error
    try:
        with open_container(film.source) as container, open_container(part) as encoded:

            def begin(file: Any, kind: str) -> tuple[Any, Callable[[], None]]:
                out = av.open(file, "w", format=kind, options=_options(film, kind))
                video = _add_pictures(film, container, encoded, out)

                def write_picture() -> None:
                    times = _read_parts([part], [0], [1], film.info, video)
                    out.mux([packet for _, packet in times])

                return out, write_picture

            return prove_copies(film.source, film.clock, film.output, film.kind, begin)
    finally:
        part.unlink(missing_ok=True)


def join(
    film: Film,
    copies: Copies,
    parts: Sequence[Path],
    times: Sequence[int],
    durations: Sequence[int],
    path: Path,
) -> None:
    """Puts the parts, and the sound and tags of the source, into one file.

    Args:
      film: what is made.
      copies: what is copied into it.
      parts: files of `PartWriter`, which hold all pictures in turn.
      times, durations: of all pictures, in the video's time base.
      path: the file to write.

    Raises:
      UserError: the format cannot hold the sound, which `prove_output` says before the work.
    """
    import av

    options = _options(film, film.kind)
    if film.kind in _ISO_FORMATS:
        # Players need the index before they can start.
        options["movflags"] += "+faststart"
    with open_container(film.source) as container, open_container(parts[0]) as first:
        out = av.open(address_of(path), "w", format=film.kind, options=options)
        with _closing(out):
            video = _add_pictures(film, container, first, out)
            targets = {i: add_copy(out, container.streams[i]) for i in copies.indices}
            pictures = _read_parts(parts, times, durations, film.info, video)
            sounds = read_copies(container, film.clock, targets, film.kind)
            for _, packet in heapq.merge(pictures, sounds, key=lambda entry: entry[0]):
                out.mux(packet)
    if film.provenance is not None and film.kind in _ISO_FORMATS:
        append_xmp(path, film.provenance)


@contextlib.contextmanager
def _closing(out: Any) -> Iterator[None]:
    """Closes an `av` output, which completes it; quietly after an exception."""
    try:
        yield
    except BaseException:
        close_quietly(out)
        raise
    out.close()


def _options(film: Film, kind: str) -> dict[str, str]:
    if kind not in _ISO_FORMATS:
        return {}
    return {
        # Other tags than those of iTunes.
        "movflags": "+use_metadata_tags",
        "movie_timescale": str(min(film.info.time_base.denominator, 2**31 - 1)),
    }


def _add_pictures(film: Film, container: Any, encoded: Any, out: Any) -> Any:
    """Adds the video stream and the tags of the whole file to an output."""
    info = film.info
    video = out.add_stream_from_template(encoded.streams.video[0], opaque=True)
    video.time_base = info.time_base
    video.codec_context.framerate = info.rate.limit_denominator(_LARGEST_RATE_DENOMINATOR)
    if info.display_matrix:
        video.set_display_matrix(info.display_matrix)
    original = choose_stream(film.source, container)
    copy_stream_tags(original, video)
    out.metadata.update(tags_for(container.metadata, film.provenance))
    if chapters := _chapters(container, film.clock):
        out.set_chapters(chapters)
    return video


def _chapters(container: Any, clock: Clock) -> list[dict[str, Any]]:
    """A video's chapters on the common clock; none where its own clock restarts in between."""
    if clock.joined:
        return []
    chapters = []
    for chapter in container.chapters():
        shift = round(clock.shift / chapter["time_base"])
        start, end = (max(chapter[name] + shift, 0) for name in ("start", "end"))
        if end > start:
            chapters.append({**chapter, "start": start, "end": end})
    return chapters


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
