"""What the package says while it works: through `logging`, and on stderr as plain lines."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from faceshifter_jax.messages import printable

LEVELS = ("debug", "info", "warning", "error")
DEFAULT_LEVEL = "info"
_PACKAGE = __name__.partition(".")[0]


class _Lines(logging.Formatter):
    """The package's notes as they are, with the level before warnings, and others' with names."""

    def format(self, record: logging.LogRecord) -> str:
        text = "\n".join(map(printable, record.getMessage().splitlines()))
        if record.name.partition(".")[0] != _PACKAGE:
            text = f"{record.levelname.lower()}: {record.name}: {text}"
        elif record.levelno != logging.INFO:
            text = f"{record.levelname.lower()}: {text}"
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return "\n".join(filter(None, (text, trace)))


class _Stderr(logging.Handler):
    """Writes to whatever stderr is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(self.format(record), file=sys.stderr, flush=True)


@contextlib.contextmanager
def shown_on_stderr(level: str = DEFAULT_LEVEL) -> Iterator[None]:
    """Shows what the package logs from `level` on; with "debug" also what its libraries log.

    Args:
      level: one of `LEVELS`. Notes and progress are "info". Inside another such context, that
        one's level holds.
    """
    # The root logger has the libraries' records as well.
    logger = logging.getLogger("" if level == "debug" else _PACKAGE)
    if any(isinstance(handler, _Stderr) for handler in logger.handlers):
        yield
        return
    handler = _Stderr()
    handler.setFormatter(_Lines())
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    # A handler that a library gave the root logger would show each line a second time.
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def shows_progress() -> bool:
    """Whether progress is shown: it is, unless somebody asked for warnings or errors alone."""
    level = logging.getLogger(_PACKAGE).level
    return level in (logging.NOTSET, logging.DEBUG, logging.INFO)


def give_up_stdout() -> None:
    """Discards what is still in the buffer of a stdout that nobody reads any more.

    It would fail again at the process's end.
    """
    # In tests it may be no file.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
