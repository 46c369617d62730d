"""Stopping a training run on a signal without losing its work, and ending a process at once."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread, current_thread, main_thread
from types import CodeType, FrameType
from typing import Any, NoReturn

TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, as a shell reports it."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
_SEND_AGAIN_SECONDS = 0.05
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


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turns SIGTERM into SystemExit, so that half-written files go, and sees that it arrives.

    An exception that a signal's handler raises inside a callback of the garbage collector (jax has
    one), of a weak reference or in a destructor is printed by Python and forgotten. Such a SIGTERM
    or SIGINT is sent again. A caller's own handlers stay, and outside the main thread, where Python
    allows none, nothing changes.

    Raises:
      SystemExit: with `TERMINATED`.
    """
    if current_thread() is not main_thread():
        yield
        return
    show = sys.unraisablehook
    lost: SimpleQueue[int] = SimpleQueue()

    def look(unraisable: Any) -> None:
        error = unraisable.exc_value
        if signal.SIGINT in before and isinstance(error, KeyboardInterrupt):
            lost.put(signal.SIGINT)
        elif (
            signal.SIGTERM in before and isinstance(error, SystemExit) and error.code == TERMINATED
        ):
            signal.signal(signal.SIGTERM, stop)
            lost.put(signal.SIGTERM)
        else:
            show(unraisable)

    def stop(number: int, frame: FrameType | None) -> None:
        # What is raised in there is forgotten, too.
        if _is_inside(frame, look.__code__):
            lost.put(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            # `timeout` sends two: the second must not end what the first began.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise SystemExit(TERMINATED)

    sys.unraisablehook = look
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in before.items() if handler in _DEFAULTS}
    with _sending_again(lost):
        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = show


def raise_stop(error: ImportError) -> NoReturn:
    """Raises the Ctrl-C or SIGTERM that came while a module was imported, or else the error itself.

    Extension modules turn whatever is raised during their import into an ImportError.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt | SystemExit):
        cause = cause.__cause__ or cause.__context__
    raise cause or error


def _is_inside(frame: FrameType | None, code: CodeType) -> bool:
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


@contextmanager
def _sending_again(lost: SimpleQueue[int]) -> Iterator[None]:
    """Sends this process what comes in the queue, a moment later: at once it would be lost again.

    With a thread from the start, because none can be started while Python looks at what was lost.
    """
    over = Event()

    def send() -> None:
        while not over.is_set():
            number = lost.get()
            if not over.wait(_SEND_AGAIN_SECONDS):
                os.kill(os.getpid(), number)

    Thread(target=send, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        lost.put(0)


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Puts off Ctrl-C until the end, and keeps it for good from processes that are started inside.

    A process of `multiprocessing` that is just starting would print a traceback for it.
    """
    came = False

    def note(*_: object) -> None:
        nonlocal came
        came = True

    in_main_thread = current_thread() is main_thread()
    # A mask is inherited, a handler is not; but signals to this process reach its other threads.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = signal.signal(signal.SIGINT, note) if in_main_thread else None
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


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
