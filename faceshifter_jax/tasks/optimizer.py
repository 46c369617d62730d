"""Optimisers from the `optimizer` section of a config."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from faceshifter_jax.errors import UserError


def build_schedule(optimizer: Mapping[str, Any], num_steps: int) -> optax.Schedule:
    """The learning rate by step: a linear warm-up, then `constant` or a `cosine` down to 0.

    Raises:
      UserError: an unknown schedule.
    """
    peak, warmup = optimizer["learning_rate"], optimizer["warmup_steps"]
    if optimizer["schedule"] == "constant":
        after = optax.constant_schedule(peak)
    elif optimizer["schedule"] == "cosine":
        after = optax.cosine_decay_schedule(peak, max(1, num_steps - warmup))
    else:
        raise UserError(
            f"optimizer.schedule must be 'constant' or 'cosine', not {optimizer['schedule']!r}"
        )
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def _without_reading_the_mean(adam: optax.GradientTransformation) -> optax.GradientTransformation:
    """Adam for b1 = 0, whose mean of the gradients is the last one: it is written and not read.

    XLA cannot know that 0 times the mean is 0, and would move an array as large as the parameters
    once more through memory; the state has the same form as with any other b1.
    """

    def update(updates, state, params=None):
        forgotten = jax.tree.map(jnp.zeros_like, optax.tree.get(state, "mu"))
        return adam.update(updates, optax.tree.set(state, mu=forgotten), params)

    return optax.GradientTransformation(adam.init, update)


def build_optimizer(optimizer: Mapping[str, Any], num_steps: int) -> optax.GradientTransformation:
    """The optimiser of an `optimizer` section.

    `adam` is AdamW (arXiv 1711.05101), with `weight_decay` 0 plain Adam; `sgd` is stochastic
    gradient descent with Nesterov momentum `b1` and L2 decay (`b2` is Adam's alone).

    Raises:
      UserError: an unknown name or schedule.
    """
    schedule = build_schedule(optimizer, num_steps)
    b1, decay = optimizer["b1"], optimizer["weight_decay"]
    if optimizer["name"] == "adam":
        adam = optax.adamw(schedule, b1=b1, b2=optimizer["b2"], weight_decay=decay)
        return adam if b1 else _without_reading_the_mean(adam)
    if optimizer["name"] == "sgd":
        sgd = optax.sgd(schedule, b1, nesterov=True)
        return optax.chain(optax.add_decayed_weights(decay), sgd)
    raise UserError(f"optimizer.name must be 'adam' or 'sgd', not {optimizer['name']!r}")
