"""Copying the sound and subtitles of a video into an output that can hold them."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.video_clock import Clock
from faceshifter_jax.media.video_container import choose_stream, open_container
from faceshifter_jax.media.video_reader import COPIED

_LAYOUTS = {1: "mono", 2: "stereo"}
_HOLDS_MOST = "matroska"
# The most seconds, and packets, before the beginning that a decoder needs.
_PREROLL = Fraction(1, 20)
_MOST_EARLY = 4
_LONG_AGO = Fraction(-(10**9))

Begin = Callable[[Any, str], tuple[Any, Callable[[], None]]]
"""Makes an output of a file-like object and a format: an `av` container with a video stream, and
what writes a picture into it."""


@dataclass(frozen=True)
class Copies:
    """The streams to copy.

    Attributes:
      indices: of the streams in the video.
      notes: for the user, on what is left out.
    """

    indices: tuple[int, ...]
    notes: tuple[str, ...]


def prove_copies(source: Path, clock: Clock, output: Path, kind: str, begin: Begin) -> Copies:
    """Finds out by a trial run, without output, which streams of a video an output can hold.

    Args:
      source: the video.
      clock: its.
      output: what will be written, for messages.
      kind: its format as FFmpeg calls it.
      begin: makes such an output.

    Raises:
      UserError: it cannot hold the sound; what is left out otherwise is in the notes.
    """
    with open_container(source) as container:
        main = choose_stream(source, container)
        others = [stream for stream in container.streams if stream is not main]
        wanted = [s for s in others if s.type in COPIED and clock.tracks[s.index].packets]
        left_out = [_describe_other(stream) for stream in others if stream not in wanted]
        refused = _try(container, wanted, clock, kind, begin)
        for stream in wanted:
            if stream.index in refused and stream.type == "audio":
                raise UserError(_refusal(source, clock, stream, output, kind, begin))
        left_out += [describe(stream) for stream in wanted if stream.index in refused]
        notes = [f"left out: {', '.join(left_out)}"] if left_out else []
        kept = tuple(stream.index for stream in wanted if stream.index not in refused)
        return Copies(kept, tuple(notes))


def add_copy(out: Any, stream: Any) -> Any:
    """Adds a stream for the packets of another one, with its tags, to an `av` output.

    Raises:
      ValueError: the format cannot hold it.
    """
    copy = out.add_stream_from_template(stream)
    if stream.type == "audio" and stream.layout.name.endswith("channels"):
        # Recorders often write how many channels the sound has, not which ones.
        layout = _LAYOUTS.get(stream.layout.nb_channels)
        if layout is not None:
            copy.codec_context.layout = layout
    copy_stream_tags(stream, copy)
    return copy


def copy_stream_tags(source: Any, target: Any) -> None:
    """Copies the tags and the disposition of an `av` stream."""
    target.metadata.update(
        {key: value for key, value in source.metadata.items() if key not in ("encoder", "DURATION")}
    )
    target.disposition = source.disposition


def read_copies(
    container: Any, clock: Clock, targets: dict[int, Any], kind: str
) -> Iterator[tuple[Fraction, Any]]:
    """Reads the packets that are copied.

    Args:
      container: the video, at its start.
      clock: its.
      targets: of each stream's index the one that its packets go into.
      kind: format of the output.

    Yields:
      seconds, which never decrease, and a packet for the output.
    """
    streams = [container.streams[index] for index in targets]
    if not streams:
        return
    lines = {index: _Line(target, kind) for index, target in targets.items()}
    latest = _LONG_AGO
    for packet in clock.packets(container, streams):
        for settled in lines[packet.stream.index].take(packet):
            time = settled.dts * settled.time_base
            latest = max(latest, time)
            yield latest, settled


class _Line:
    """The packets of one stream in order, each with a time, as containers need them."""

    def __init__(self, target: Any, kind: str):
        self._target = target
        self._step = 0 if kind == _HOLDS_MOST else 1
        self._latest: int | None = None
        self._shortest: int | None = None
        self._end = 0
        self._begun = False
        self._early: deque[Any] = deque(maxlen=_MOST_EARLY)

    def take(self, packet: Any) -> list[Any]:
        """Takes a packet of the video; returns those that are to be written."""
        # Empty packets end a stream for a decoder.
        if packet.size == 0:
            return []
        if packet.is_discard:
            # Cut away in editing; the decoder needs what comes just before the beginning.
            if not self._begun:
                self._early.append(packet)
            return []
        early = [] if self._begun or packet.pts is None else self._early
        self._begun = True
        reach = (packet.pts or 0) - _PREROLL / packet.time_base
        packets = [other for other in early if other.pts is not None and other.pts >= reach]
        packets.append(packet)
        for settled in packets:
            self._settle(settled)
            settled.stream = self._target
        return packets

    def _settle(self, packet: Any) -> None:
        time = packet.dts if packet.dts is not None else packet.pts
        if time is None:
            time = self._end
        if self._latest is not None:
            time = max(time, self._latest + self._step)
            self._say_duration(packet, time - self._latest)
        packet.dts = self._latest = time
        packet.pts = time if packet.pts is None else max(packet.pts, time)
        self._end = packet.pts + (packet.duration or 0)

    def _say_duration(self, packet: Any, since: int) -> None:
        """MP4 files lose a last packet that lasts no time, as FLV and Matroska have it."""
        if since > 0:
            self._shortest = min(since, self._shortest or since)
        if not packet.duration and self._shortest and self._target.type == "audio":
            packet.duration = self._shortest


def describe(stream: Any) -> str:
    """Names a stream of a video."""
    codec = stream.codec_context.name if stream.codec_context is not None else None
    if stream.type == "video" and codec in ("mjpeg", "png"):
        return "a cover picture"
    return f"{stream.type} ({codec})" if codec else stream.type


def _describe_other(stream: Any) -> str:
    return describe(stream) + (", which is empty" if stream.type in COPIED else "")


def _refusal(source: Path, clock: Clock, stream: Any, output: Path, kind: str, begin: Begin) -> str:
    with open_container(source) as container:
        same = container.streams[stream.index]
        others = kind == _HOLDS_MOST or _try(container, [same], clock, _HOLDS_MOST, begin)
    advice = "make the sound AAC with another program first" if others else "write an .mkv"
    return f"{output.suffix} cannot hold the sound of {source} ({describe(stream)}): {advice}"


def _try(container: Any, streams: Sequence[Any], clock: Clock, kind: str, begin: Begin) -> set[int]:
    """Copies each stream into its own output; returns those that cannot be copied."""
    from av.error import FFmpegError

    refused = set()
    outputs: dict[int, Any] = {}
    # PyAV raises ValueError for what a format cannot hold.
    errors = (FFmpegError, ValueError)
    for stream in streams:
        out, write_picture = begin(_Nowhere(), kind)
        try:
            copy = add_copy(out, stream)
            write_picture()
            outputs[stream.index] = out, _Line(copy, kind)
        except errors:
            refused.add(stream.index)
            close_quietly(out)
    # PyAV reads all streams if none is named.
    for packet in clock.packets(container, streams) if outputs else ():
        index = packet.stream.index
        if index not in outputs or index in refused:
            continue
        out, line = outputs[index]
        try:
            out.mux(line.take(packet))
        except errors:
            refused.add(index)
    for index, (out, _) in outputs.items():
        try:
            out.close()
        except errors:
            refused.add(index)
    return refused


def close_quietly(out: Any) -> None:
    """Closes an abandoned `av` output; errors from closing it do not matter."""
    from av.error import FFmpegError

    with contextlib.suppress(FFmpegError, ValueError):
        out.close()


class _Nowhere:
    """A file that discards what is written to it."""

    def __init__(self):
        self._place = self._size = 0

    def write(self, data: bytes) -> int:
        self._place += len(data)
        self._size = max(self._size, self._place)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def tell(self) -> int:
        return self._place
