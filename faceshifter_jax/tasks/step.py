"""What the steps of all tasks share."""

from typing import Any

import jax
import jax.numpy as jnp


def to_unit_range(pictures: jax.Array) -> jax.Array:
    """uint8 pictures to float32 in [-1, 1]."""
    return pictures.astype(jnp.float32) / 127.5 - 1.0


def mean_over_devices(tree: Any, axis_name: str | None) -> Any:
    """The mean over a pmapped axis; under jit, where a mean is global already, the tree itself."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def average_weights(average: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """One update of the exponential moving average of the parameters.

    While few steps are made the average forgets faster, (1 + step) / (10 + step), so that the
    random start leaves it soon.
    """
    step = step.astype(jnp.float32)
    decay = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, params)
