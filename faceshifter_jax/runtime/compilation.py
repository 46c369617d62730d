"""Compiler options for training programs, and the directory that caches compiled ones."""

import os
from pathlib import Path
from typing import Any

import jax

from faceshifter_jax.errors import UserError

_OLDER_EMITTERS = "xla_cpu_use_fusion_emitters"


def use_compilation_cache(directory: str) -> None:
    """Makes XLA cache in a directory whatever took more than a second to compile.

    Args:
      directory: created if missing; "" for none but what JAX_COMPILATION_CACHE_DIR names.

    Raises:
      UserError: it cannot be made or written to.
    """
    if not directory:
        return
    path = Path(directory).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make config.compilation_cache {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise UserError(f"cannot write to config.compilation_cache {path}")
    jax.config.update("jax_compilation_cache_dir", str(path))


def compiler_options() -> dict[str, bool] | None:
    """Returns XLA's options for a training step; None for the usual ones.

    On a CPU, a cached step is read back by a thread with 2 MB of stack, which recurses once for
    each piece of code (jaxlib 0.10.2). The usual emitters make one piece for each fusion,
    2,700 for AEI-Net's step at paper scale, and the process dies with a segmentation fault; the
    older emitters make 900, and a step that takes up to a fifth longer on small maps. jaxlib 0.12
    has no older ones, and whether it dies so has not been tried.
    """
    settings: Any = jax.config
    if jax.default_backend() != "cpu" or not settings.jax_compilation_cache_dir:
        return None
    options = {_OLDER_EMITTERS: False}
    return options if _are_known(options) else None


def _are_known(options: Any) -> bool:
    """Whether this jaxlib takes options: it refuses a whole program for one that it does not."""
    try:
        jax.jit(lambda: 0).lower().compile(options)
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True
