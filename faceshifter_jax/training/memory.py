"""A step that needs more memory than the devices have, said in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
from ml_collections import ConfigDict

from faceshifter_jax.errors import UserError


class OutOfMemory(UserError):
    """A device's memory is full in this process; others may still wait for it."""


def remedies(config: ConfigDict) -> list[str]:
    """Returns the settings of `config` that would let its step do with less memory."""
    less = ["--config.remat=aad"] if config.get("remat") == "none" else []
    if "accumulate_steps" in config:
        less.append(f"--config.accumulate_steps={2 * config.accumulate_steps}")
    return less


@contextmanager
def out_of_memory_is_one_line(config: ConfigDict) -> Iterator[None]:
    """Turns what jax raises where a device's memory is full into one line; other errors pass.

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
