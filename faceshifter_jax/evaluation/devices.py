"""Networks applied to many pictures, each device computing its share of every batch."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from faceshifter_jax.runtime.batches import apply_in_batches
from faceshifter_jax.runtime.parallel import AXIS, Parallel, build_parallel

_PIXELS_A_DEVICE = 32 * 64 * 64


@functools.cache
def _parallel() -> Parallel:
    return build_parallel("jit")


@functools.cache
def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    # Every process of a pod gets all results: it cannot read other processes' devices.
    return jax.jit(function, out_shardings=_parallel().replicated)


def build_row_function(
    function: Callable[..., Any],
    networks: Any,
    finish: Callable[[Any], Any] = lambda results: results,
) -> Callable[..., Any]:
    """Returns `apply(*arrays)`: `function(networks, *rows)` batch by batch over all devices.

    All batches have one size; the last one is padded with copies of its last row, whose results
    are dropped: every row counts once. Another call with the same function, like networks and
    pictures of the same size compiles nothing.

    Args:
      function: pure; takes the networks and arrays with a common leading axis, gives a pytree of
        arrays with that axis. It must be the same object each time, so no lambda.
      networks: pytree of arrays; they are put on all devices.
      finish: applied to each batch's results, numpy arrays with the padding, to keep less.

    Returns:
      takes numpy arrays (B, S, S, 3), gives the pytree of numpy arrays with B rows.
    """
    parallel = _parallel()
    placed = parallel.replicate(networks)
    sharding = NamedSharding(parallel.mesh, PartitionSpec(AXIS))

    def apply(*arrays: np.ndarray) -> Any:
        pixels = arrays[0].shape[1] * arrays[0].shape[2]
        size = parallel.num_devices * max(1, _PIXELS_A_DEVICE // pixels)

        def on_devices(*rows: np.ndarray) -> Any:
            batch = [jax.make_array_from_callback(r.shape, sharding, r.__getitem__) for r in rows]
            # Waiting for each batch keeps the queue of collectives at one; see Parallel.
            return finish(jax.device_get(_compile(function)(placed, *batch)))

        return apply_in_batches(on_devices, arrays, size)

    return apply
