"""Stopping a training by a signal without losing what it has done."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A training that a signal ended after its state was saved.

    Attributes:
      exit_code: 128 plus the signal's number, as a shell reports it (130, 143).
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.exit_code = 128 + number


@dataclass
class StopRequest:
    """The first signal that asked for a stop, or None."""

    number: int | None = None


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Turns SIGINT and SIGTERM into a request that the loop looks at between steps.

    A second signal acts as it did before, for whoever does not want to wait. Outside the main
    thread, where Python allows no handlers, nothing is caught.
    """
    request = StopRequest()
    if current_thread() is not main_thread():
        yield request
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore():
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number, _frame):
        request.number = number
        restore()

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        restore()
