"""Between uint8 pictures and the numbers that networks compute with."""

import jax
import jax.numpy as jnp


def to_unit_range(pictures: jax.Array) -> jax.Array:
    """uint8 pictures to float32 in [-1, 1]."""
    return pictures.astype(jnp.float32) / 127.5 - 1.0
