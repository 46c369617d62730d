"""Disk, file and memory faults as errors of one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import MAKE_ROOM, NO_ROOM


def explain_write_error(error: Exception) -> str:
    """Explains in one line why something could not be written, and what helps.

    Args:
      error: an OSError, or what TensorStore or TensorFlow raise with its text inside.
    """
    text = " ".join(str(error).split())
    for number, words in NO_ROOM.items():
        if getattr(error, "errno", None) == number or words.lower() in text.lower():
            return f"no space is left on the disk ({words}): {MAKE_ROOM}"
    return text[:300]


def is_no_room(error: Exception) -> bool:
    """Whether an error means that the disk is full."""
    return explain_write_error(error).endswith(MAKE_ROOM)


def in_one_line(error: OSError) -> UserError:
    """Returns a UserError that names the file and the system's reason."""
    reason = explain_write_error(error) if is_no_room(error) else error.strerror or str(error)
    place = error.filename2 or error.filename
    return UserError(
        f"cannot read or write {place}: {reason}" if place else " ".join(reason.split())
    )


@contextmanager
def no_room_is_one_line(workdir: Path) -> Iterator[None]:
    """Turns a full disk inside the context into a UserError; other errors pass.

    Raises:
      UserError: naming `workdir`.
    """
    try:
        yield
    except UserError:
        raise
    # TensorFlow's log writers raise their own exceptions, which are not OSErrors.
    except Exception as error:
        if not is_no_room(error):
            raise
        raise UserError(
            f"cannot write to {workdir}, its last checkpoint is whole: {explain_write_error(error)}"
        ) from error


class OutOfMemory(UserError):
    """A device's memory is full in this process; other processes may still wait for it."""


def remedies(config: Any) -> list[str]:
    """Returns the settings of `config` that would reduce the memory its step needs."""
    less = ["--config.remat=aad"] if config.get("remat") == "none" else []
    if "accumulate_steps" in config:
        less.append(f"--config.accumulate_steps={2 * config.accumulate_steps}")
    return less


@contextmanager
def out_of_memory_is_one_line(config: Any) -> Iterator[None]:
    """Turns jax's error for a full device memory into one line; other errors pass.

    Raises:
      OutOfMemory: naming the settings of `config` that help.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        ways = [f"a --config.batch_size below {config.batch_size}", *remedies(config)]
        if config.get("compute_dtype") == "float32":
            ways.append("--config.compute_dtype=bfloat16")
        raise OutOfMemory(
            f"the step does not fit into the memory of the devices "
            f"({' '.join(str(error).split())[:200]}): try {' or '.join(ways)}"
        ) from error
