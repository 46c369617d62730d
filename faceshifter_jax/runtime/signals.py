"""Stopping a training run on a signal without losing its work, and ending a process at once."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# `timeout` and launchers signal a process and its group: one request that arrives as two signals.
_ONE_WISH_SECONDS = 2.0


class Interrupted(Exception):
    """Raised when a signal ended a training run after its state was saved.

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

    Signals in the next two seconds count as the same request. A later one has its default effect,
    for users who do not want to wait. Outside the main thread, where Python allows no handlers,
    nothing is caught.
    """
    request = StopRequest()
    if current_thread() is not main_thread():
        yield request
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    first_at = 0.0

    def restore():
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number, _frame):
        nonlocal first_at
        if request.number is None:
            request.number, first_at = number, time.monotonic()
        elif time.monotonic() - first_at > _ONE_WISH_SECONDS:
            restore()
            signal.raise_signal(number)

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        restore()


def leave(message: str, exit_code: int) -> NoReturn:
    """Ends this process at once, because at a normal exit jax would wait for other processes.

    Args:
      message: a line for stderr, "" for none.
      exit_code: of the process.
    """
    if message:
        print(message, file=sys.stderr)
    sys.stderr.flush()
    # Python buffers what it prints to a redirected stdout.
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    os._exit(exit_code)
