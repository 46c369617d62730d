"""Signs that the loop needs from every step, computed inside the compiled step.

Every process then gets the same signs at the same step, without a second round of communication: a
signal that reached one process stops all, and so does a state that is not finite.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from faceshifter_jax.errors import UserError

REQUEST = "request"
"""Name of an int32 array in the batch, one number for each device: 0, or why to stop."""

FAILED = 1_000
"""The request of a process that cannot continue; above the number of any signal."""


def guard_step(step: Callable, axis_name: str | None) -> Callable:
    """Returns a step that also reports whether training can continue.

    Args:
      step: a task's `step(state, frozen, batch) -> (state, metrics)`.
      axis_name: as for `task.make_step`.

    Returns:
      `guarded(state, frozen, batch) -> (state, (metrics, signs))`. Its batch also holds
      `REQUEST`; `signs` are `finite`, bool: every number of the new state and of the metrics is,
      and `request`, int32: the largest request of all devices. A gradient that is not finite shows
      up in the optimiser's state; the averages are sums of parameters that are checked.
    """

    def guarded(state: Any, frozen: Any, batch: Mapping[str, Any]):
        batch = dict(batch)
        request = jnp.max(batch.pop(REQUEST))
        state, metrics = step(state, frozen, batch)
        if axis_name is not None:
            request = jax.lax.pmax(request, axis_name)
        checked = (state.params, state.batch_stats, state.opt_state, metrics)
        return state, (metrics, {"finite": _all_finite(checked), "request": request})

    return guarded


def _all_finite(tree: Any) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def make_request(number: int, num_local_devices: int) -> dict[str, np.ndarray]:
    """Returns this process's part of `REQUEST`, to be placed like a batch."""
    return {REQUEST: np.full(num_local_devices, number, np.int32)}


def not_finite(step: int, metrics: Mapping[str, Any]) -> UserError:
    """Returns the error message for a step whose `finite` is false.

    Args:
      step: its number.
      metrics: its metrics, on the host.
    """
    broken = {name: value for name, value in metrics.items() if not np.isfinite(value)}
    shown = broken or {name: value for name, value in metrics.items() if name.endswith("loss")}
    values = ", ".join(f"{name} = {value:.6g}" for name, value in shown.items())
    what = f"gave {values}" if broken else f"gave gradients that are not finite, with {values}"
    return UserError(
        f"step {step} {what}: training stops, the last checkpoint is kept; try a smaller "
        "learning rate or float32"
    )
