"""One clock for all streams of a video, whatever the clocks of its container do.

Broadcast recordings begin at any time of a clock that wraps after a day; files that were joined
begin anew in the middle; AVI knows when pictures are decoded and not when they are shown. On the
clock that is made of them the earliest picture or sound is at 0 and time never goes back. Streams
that begin later than others do so here too, and gaps are kept.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

# Time stamps that go back by more seconds than this start a new clock; less is disorder.
_GOES_BACK = Fraction(1, 5)
# At most this many pictures that are decoded later are shown before a picture.
_LARGEST_REORDERING = 16
# In broadcast streams a jump forward by more seconds than this is another clock, not a gap.
_LARGEST_GAP = Fraction(300)
_BROADCAST = {"mpeg", "mpegts"}
# Seconds after which their clocks wrap: 33 bits of 1/90000.
_WRAP = Fraction(2**33, 90_000)
# The most seconds between streams of one clock at one place of the file.
_INTERLEAVED = Fraction(10)
_CONTIGUOUS = Fraction(1, 2)
_FINEST = Fraction(1, 90_000)


@dataclass
class _Span:
    """A part of the file with a clock of its own; seconds on that clock."""

    starts: dict[int, Fraction] = field(default_factory=dict)
    ends: dict[int, Fraction] = field(default_factory=dict)
    latest: Fraction | None = None

    def fits(self, time: Fraction, slack: Fraction) -> bool:
        start = min(self.starts.values(), default=time)
        latest = time if self.latest is None else self.latest
        return start - slack <= time <= latest + slack

    def take(self, stream: int, time: Fraction, begin: Fraction, end: Fraction) -> None:
        self.starts[stream] = min(begin, self.starts.get(stream, begin))
        self.ends[stream] = max(end, self.ends.get(stream, end))
        self.latest = time if self.latest is None else max(self.latest, time)


@dataclass
class _Stream:
    """The state of a stream while its packets are read."""

    spans: list[tuple[int, int, Fraction]] = field(default_factory=list)
    packets: int = 0
    latest: Fraction = Fraction(0)
    step: Fraction = Fraction(0)
    shown: deque[Fraction] = field(default_factory=lambda: deque(maxlen=_LARGEST_REORDERING + 1))
    has_order: bool = False

    @property
    def span(self) -> int:
        return self.spans[-1][1]

    @property
    def turned(self) -> Fraction:
        return self.spans[-1][2]

    def order(self, pts: Fraction | None, dts: Fraction | None) -> Fraction:
        """Seconds that never decrease from packet to packet, except where the clock restarts."""
        if dts is not None:
            self.has_order = True
            return dts
        if pts is None:
            return self.latest + self.step
        if self.has_order:
            # Nothing is shown before it is decoded.
            return min(pts, self.latest)
        self.shown.append(pts)
        return min(self.shown)


@dataclass(frozen=True)
class Track:
    """A stream on the common clock.

    Attributes:
      shifts: pairs (number of a packet, seconds that are added to its time stamps and to those of
        the packets after it), the first of packet 0; empty for a stream without packets.
      unit: of its time stamps on the common clock, in seconds.
      packets: how many there are.
      end: when the last one is over, in seconds on the file's own clock.
      start, stop: the first and the last moment, in seconds on the common clock.
    """

    shifts: tuple[tuple[int, Fraction], ...]
    unit: Fraction
    packets: int
    end: Fraction
    start: Fraction
    stop: Fraction


@dataclass(frozen=True)
class Clock:
    """The positions of a video's streams on one clock.

    Attributes:
      tracks: keyed by the index of their stream.
      shift: seconds that are added to times at the file's beginning.
      joined: how often the file's clock restarts.
    """

    tracks: dict[int, Track]
    shift: Fraction
    joined: int

    def packets(self, container: Any, streams: Sequence[Any]) -> Iterator[Any]:
        """Reads packets of an `av` container at its start, with time stamps on this clock.

        Packets without data, which end a stream for its decoder, come as they are.

        Yields:
          packets whose time stamps count `Track.unit`, as does their `time_base`; `dts` is None
          where nothing says it, and `pts` where only the order of decoding is known.
        """
        counts = dict.fromkeys(self.tracks, 0)
        places = dict.fromkeys(self.tracks, 0)
        for packet in container.demux(streams):
            track = self.tracks.get(packet.stream.index)
            if packet.size == 0 or track is None:
                yield packet
                continue
            index, number = packet.stream.index, counts[packet.stream.index]
            counts[index] += 1
            place = places[index]
            while place + 1 < len(track.shifts) and track.shifts[place + 1][0] <= number:
                place += 1
            places[index] = place
            _retime(packet, track.shifts[place][1], track.unit)
            yield packet


def read_clock(container: Any, streams: Sequence[Any], main: Any, shown: Fraction | None) -> Clock:
    """Reads all packets of an `av` container at its start, without decoding any.

    Args:
      container: whose packets are asked for.
      streams: those that have to agree: the ones that will be seen or heard.
      main: the one of them that holds the pictures.
      shown: when the first picture that can be decoded is shown, in seconds; None if that is not
        said.
    """
    reader = _ClockReader(container, streams, main, shown)
    for packet in container.demux(streams):
        if packet.size:
            reader.take(packet)
    return reader.finish()


def shows_no_times(stream: Any) -> bool:
    """Whether a video stream only records the order in which its pictures are decoded.

    What FFmpeg adds to packets of such streams is guessed, and late by the reordered pictures.
    """
    name = stream.container.format.name
    return name == "avi" or ("matroska" in name and stream.codec_tag not in ("", "\0\0\0\0"))


class _ClockReader:
    def __init__(self, container: Any, streams: Sequence[Any], main: Any, shown: Fraction | None):
        self._broadcast = container.format.name in _BROADCAST
        self._main = main
        self._shown = shown
        self._units = {stream.index: stream.time_base for stream in streams}
        self._starts = {s.index: s for s in streams if s is not main}
        self._sparse = {s.index for s in streams if s.type not in ("audio", "video")}
        self._streams = {stream.index: _Stream() for stream in streams}
        self._spans = [_Span()]
        self._unsorted = shows_no_times(main)

    def take(self, packet: Any) -> None:
        index, unit = packet.stream.index, self._units[packet.stream.index]
        state = self._streams[index]
        _mend(packet)
        pts = None if packet.pts is None else packet.pts * unit
        dts = None if packet.dts is None else packet.dts * unit
        if self._unsorted and index == self._main.index:
            pts = None
        time = state.order(pts, dts)
        span, turned = self._place(index, time)
        time += turned
        if not state.spans or (state.span, state.turned) != (span, turned):
            if not state.spans or state.span != span:
                state.latest = time
            state.spans.append((state.packets, span, turned))
        if 0 < time - state.latest < _INTERLEAVED:
            state.step = time - state.latest
        state.packets += 1
        state.latest = time
        if not packet.is_discard:
            begin = time if pts is None else pts + turned
            length = (packet.duration or 0) * unit or state.step
            self._spans[span].take(index, time, begin, begin + length)

    def _place(self, index: int, time: Fraction) -> tuple[int, Fraction]:
        """Number of the span that a packet at `time` belongs to, a new one if to none.

        And the seconds, of whole turns of its clock, that are added to its time in that span.
        """
        state, newest = self._streams[index], len(self._spans) - 1
        here = newest, self._turns(time, self._spans[newest].latest)
        if not state.spans:
            if not self._broadcast or self._fits(newest, time, _LARGEST_GAP):
                return here
            # The first packet after a joint of two recordings.
            return self._new_span()
        own = state.span, self._turns(time, state.latest)
        if index in self._sparse:
            return here if self._fits(newest, time) else own
        step = time + own[1] - state.latest
        reached = self._spans[own[0]].latest
        ahead = step if reached is None else time + own[1] - reached
        forward = self._broadcast and min(step, ahead) > _LARGEST_GAP
        if step >= -_GOES_BACK and not forward:
            moved_on = own[0] < newest and step > _CONTIGUOUS and self._fits(newest, time)
            return here if moved_on else own
        for later in range(own[0] + 1, newest + 1):
            if self._fits(later, time):
                return later, self._turns(time, self._spans[later].latest)
        return self._new_span()

    def _new_span(self) -> tuple[int, Fraction]:
        self._spans.append(_Span())
        return len(self._spans) - 1, Fraction(0)

    def _turns(self, time: Fraction, near: Fraction | None) -> Fraction:
        """Seconds of whole turns of the clock that bring a time nearest to another."""
        if not self._broadcast or near is None:
            return Fraction(0)
        return round((near - time) / _WRAP) * _WRAP

    def _fits(self, span: int, time: Fraction, slack: Fraction = _INTERLEAVED) -> bool:
        known = self._spans[span]
        return known.fits(time + self._turns(time, known.latest), slack)

    def finish(self) -> Clock:
        self._use_stated_starts()
        shifts = self._shifts()
        tracks = {}
        for index, state in self._streams.items():
            own = tuple((number, shifts[span] + turned) for number, span, turned in state.spans)
            unit = self._units[index]
            if any(shift % unit for _, shift in own):
                unit /= -(-unit // _FINEST)
            used = [k for k, span in enumerate(self._spans) if index in span.ends]
            ends = [self._spans[k].ends[index] for k in used]
            begins = [self._spans[k].starts[index] + shifts[k] for k in used]
            stops = [end + shifts[k] for k, end in zip(used, ends, strict=True)]
            tracks[index] = Track(
                shifts=own,
                unit=unit,
                packets=state.packets,
                end=max(ends, default=Fraction(0)),
                start=min(begins, default=Fraction(0)),
                stop=max(stops, default=Fraction(0)),
            )
        return Clock(tracks, shifts[0], joined=len(self._spans) - 1)

    def _use_stated_starts(self) -> None:
        """The first packets may be there for the decoder alone, or not to be decoded."""
        starts = self._spans[0].starts
        if self._shown is not None and self._main.index in starts:
            starts[self._main.index] = max(starts[self._main.index], self._shown)
        for index, stream in self._starts.items():
            if index in starts and stream.start_time is not None:
                starts[index] = max(starts[index], stream.start_time * self._units[index])

    def _shifts(self) -> list[Fraction]:
        """Seconds to add to the times of each span: where it begins, the one before it ends."""
        shifts: list[Fraction] = []
        end = Fraction(0)
        for span in self._spans:
            heard = [i for i in span.starts if i not in self._sparse] or list(span.starts)
            if not shifts:
                heard = list(span.starts)
            start = min((span.starts[i] for i in heard), default=Fraction(0))
            shifts.append(end - start)
            heard = [i for i in span.ends if i not in self._sparse] or list(span.ends)
            end += max((span.ends[i] for i in heard), default=start) - start
        return shifts


def _mend(packet: Any) -> None:
    """Where FFmpeg takes the next picture's clock for when this one is shown, it is another one."""
    if packet.pts is None or packet.dts is None:
        return
    if abs(packet.pts - packet.dts) * packet.time_base > _LARGEST_GAP:
        packet.pts = packet.dts + (packet.duration or 0)


def _retime(packet: Any, shift: Fraction, unit: Fraction) -> None:
    _mend(packet)
    old = packet.time_base
    stamps = {name: getattr(packet, name) for name in ("pts", "dts")}
    duration = packet.duration
    packet.time_base = unit
    for name, stamp in stamps.items():
        setattr(packet, name, None if stamp is None else round((stamp * old + shift) / unit))
    if duration:
        packet.duration = round(duration * old / unit)
