"""Compiler options for training programs, and the directory that caches compiled ones."""

import os
from pathlib import Path
from typing import Any

import jax

from faceshifter_jax.errors import UserError


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
    older emitters make 900, and a step that takes up to a fifth longer on small maps.
    """
    settings: Any = jax.config
    if jax.default_backend() != "cpu" or not settings.jax_compilation_cache_dir:
        return None
    return {"xla_cpu_use_fusion_emitters": False}
