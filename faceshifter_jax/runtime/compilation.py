"""How the programs of a training are compiled, and where compiled ones are kept."""

import os
from pathlib import Path

import jax

from faceshifter_jax.errors import UserError


def use_compilation_cache(directory: str) -> None:
    """Lets XLA look up in a directory, and leave there, what took more than a second to compile.

    Args:
      directory: made if need be; "" for none but what JAX_COMPILATION_CACHE_DIR names.

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

    A step that is kept in a directory is read back on a CPU by a thread with 2 MB of stack, which
    calls itself once for each piece of code (jaxlib 0.10.2). The usual emitters make one of each
    fusion, 2,700 for AEI-Net's step at paper scale, and the process dies of a segmentation fault;
    the older ones make 900 and a step that takes up to a fifth longer on small maps.
    """
    if jax.default_backend() != "cpu" or not jax.config.jax_compilation_cache_dir:
        return None
    return {"xla_cpu_use_fusion_emitters": False}
