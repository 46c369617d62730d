"""Shared parts of the steps of all tasks."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from faceshifter_jax.errors import UserError
from faceshifter_jax.tasks.task import TrainState


def weigh_losses(
    losses: Mapping[str, jax.Array], weights: Mapping[str, Any]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum of the means of losses (B,), and the means as metrics, `NAME_loss`."""
    means = {name: jnp.mean(loss) for name, loss in losses.items()}
    total: Any = sum(weights[name] * mean for name, mean in means.items())
    return total, {f"{name}_loss": mean for name, mean in means.items()}


def mean_over_devices(tree: Any, axis_name: str | None) -> Any:
    """The mean over a pmapped axis; under jit, where a mean is global already, the tree itself."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def mean_over_micro_batches(
    compute: Callable[[Any], Any], batch: Mapping[str, jax.Array], number: int
) -> Any:
    """The mean of `compute` over a batch's micro-batches, in the memory of one (accumulation).

    Row r belongs to micro-batch r modulo `number`, so that every device has a part of each.
    A mean over rows comes out as without splitting, up to rounding. Batch
    normalisation does not: it normalises by the statistics of a micro-batch on all devices, as a
    training run with that batch size would; the running statistics that it gives are averaged here
    and so move once a step.

    Args:
      compute: batch -> a tree of float arrays that do not depend on the number of rows.
      batch: arrays whose first axis are the rows; this device's under pmap, all under jit.
      number: of micro-batches.

    Raises:
      UserError: the rows cannot be divided.
    """
    if number == 1:
        return compute(batch)
    rows = jax.tree.leaves(batch)[0].shape[0]
    if rows % number:
        raise UserError(
            f"{rows} rows cannot be divided into config.accumulate_steps={number} micro-batches: "
            "make config.batch_size a multiple of that times the number of devices"
        )
    # Not reshape(number, ...): that would put whole micro-batches on single devices.
    parts = jax.tree.map(lambda x: x.reshape(-1, number, *x.shape[1:]).swapaxes(0, 1), batch)

    def add(total, part):
        return jax.tree.map(jnp.add, total, compute(part)), None

    shapes = jax.eval_shape(compute, jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = jax.lax.scan(add, zeros, parts)
    return jax.tree.map(lambda x: x / number, total)


def gradient_norms(grads: Mapping[str, Any]) -> dict[str, jax.Array]:
    """`PLAYER_gradient_norm`, the Euclidean norm of all of a player's gradients together."""
    return {f"{player}_gradient_norm": optax.tree.norm(tree) for player, tree in grads.items()}


def apply_gradients(
    state: TrainState,
    grads: Mapping[str, Any],
    batch_stats: Mapping[str, Any],
    optimizers: Mapping[str, optax.GradientTransformation],
    ema_decay: float,
) -> TrainState:
    """The state after one update of the players that have gradients.

    Args:
      state: the state before.
      grads: player -> gradients; a player without any stays as it is.
      batch_stats: player -> its new running statistics.
      optimizers: player -> its optimiser.
      ema_decay: see `average_weights`; of the players whose weights are averaged.
    """
    params, opt_state = dict(state.params), dict(state.opt_state)
    for player, gradients in grads.items():
        updates, opt_state[player] = optimizers[player].update(
            gradients, opt_state[player], params[player]
        )
        params[player] = optax.apply_updates(params[player], updates)
    averages = {
        player: average_weights(average, params[player], state.step, ema_decay)
        for player, average in state.ema_params.items()
    }
    return TrainState(
        step=state.step + 1,
        params=params,
        batch_stats={**state.batch_stats, **batch_stats},
        opt_state=opt_state,
        ema_params=averages,
    )


def average_weights(average: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """One update of the exponential moving average of the parameters.

    While few steps are made the average forgets faster, (1 + step) / (10 + step), so that the
    random start leaves it soon. With `decay` 0 it is the parameters.
    """
    step = step.astype(jnp.float32)
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, p: kept * a + (1 - kept) * p, average, params)


def accumulate_steps(config: Mapping[str, Any]) -> int:
    """The micro-batches of a step; UserError if there is none or the batch does not divide."""
    number, batch_size = config["accumulate_steps"], config["batch_size"]
    if number < 1 or batch_size % number:
        raise UserError(
            f"config.accumulate_steps is {number}: it must divide config.batch_size={batch_size}"
        )
    return number
