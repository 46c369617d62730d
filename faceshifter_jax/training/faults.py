"""What a disk or a file refuses, said in one line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceshifter_jax.errors import UserError

_NO_ROOM = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large",
}
_ADVICE = "make room, then the same command continues"


def explain_write_error(error: Exception) -> str:
    """Returns why something could not be written, and what helps, in one line.

    Args:
      error: an OSError, or what TensorStore or TensorFlow raise with its text inside.
    """
    text = " ".join(str(error).split())
    for number, words in _NO_ROOM.items():
        if getattr(error, "errno", None) == number or words.lower() in text.lower():
            return f"no space is left on the disk ({words}): {_ADVICE}"
    return text[:300]


def is_no_room(error: Exception) -> bool:
    """Whether an error means that the disk takes no more."""
    return explain_write_error(error).endswith(_ADVICE)


def in_one_line(error: OSError) -> UserError:
    """Returns a UserError that names the file and what the system says of it."""
    reason = explain_write_error(error) if is_no_room(error) else error.strerror or str(error)
    place = error.filename2 or error.filename
    return UserError(
        f"cannot read or write {place}: {reason}" if place else " ".join(reason.split())
    )


@contextmanager
def no_room_is_one_line(workdir: Path) -> Iterator[None]:
    """Turns a full disk under what is inside into a UserError; other errors pass.

    Raises:
      UserError: naming `workdir`.
    """
    try:
        yield
    except UserError:
        raise
    # TensorFlow's writers of logs raise exceptions of their own, which no OSError covers.
    except Exception as error:
        if not is_no_room(error):
            raise
        raise UserError(
            f"cannot write to {workdir}, its last checkpoint is whole: {explain_write_error(error)}"
        ) from error
