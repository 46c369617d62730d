"""A progress line on stderr for long preparations, with the time left."""

import sys
import time
from typing import TextIO

from faceshifter_jax.logs import shows_progress
from faceshifter_jax.messages import printable


class Progress:
    """Counts pictures and reports progress: in place on a terminal, else as occasional lines."""

    def __init__(
        self, doing: str, total: int, stream: TextIO | None = None, *, unit: str = "pictures"
    ):
        """`doing` names the work, such as "rendering"; `total` is the number of pictures."""
        self._doing = doing
        self._total = total
        self._unit = unit
        self._known = 0
        self._stream = stream or sys.stderr
        self._in_place = self._stream.isatty()
        self._shown = shows_progress()
        self._interval_seconds = 0.2 if self._in_place else 10.0
        self._begin = self._last_report = time.monotonic()
        self._done = 0

    def advance(self, count: int = 1) -> None:
        """Counts more pictures."""
        self._done += count
        now = time.monotonic()
        if now - self._last_report >= self._interval_seconds:
            self._last_report = now
            self._write(self._line(now - self._begin))

    @property
    def done(self) -> int:
        """How many were counted."""
        return self._done

    def skip(self, count: int) -> None:
        """Counts pictures of an earlier run, which the estimate of the time left ignores."""
        self._done += count
        self._known += count

    def finish(self) -> None:
        """Writes the last line: the number of pictures and the time taken."""
        seconds = time.monotonic() - self._begin
        done = count_of(self._done, self._unit)
        self._write(f"{self._doing}: {done} in {format_duration(seconds)}")
        if self._shown and self._in_place:
            self._stream.write("\n")

    def note(self, message: str) -> None:
        """Writes a separate line without disturbing the line that is written in place."""
        if not self._shown:
            return
        message = printable(message)
        self._stream.write(f"\r\x1b[K{message}\n" if self._in_place else f"{message}\n")
        self._stream.flush()

    def _line(self, seconds: float) -> str:
        rate = (self._done - self._known) / seconds
        left = format_duration(max(self._total - self._done, 0) / rate)
        a_second = f"{rate:.0f}" if rate >= 2 else f"{rate:.2g}"
        return (
            f"{self._doing}: {self._done} of {count_of(self._total, self._unit)}, "
            f"{a_second} a second, {left} left"
        )

    def _write(self, line: str) -> None:
        if not self._shown:
            return
        self._stream.write(f"\r\x1b[K{line}" if self._in_place else f"{line}\n")
        self._stream.flush()


def count_of(count: int, unit: str) -> str:
    """Formats a count, where `unit` is the plural: "1 picture", "2 pictures"."""
    return f"{count} {unit.removesuffix('s') if count == 1 else unit}"


def format_duration(seconds: float) -> str:
    """Formats a duration in its two largest units: "8 s", "3 min 05 s", "2 h 07 min", "3 d 4 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
