"""Metrics of whether training swaps faces, and signs that it does not."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from faceshifter_jax import losses
from faceshifter_jax.errors import UserError
from faceshifter_jax.tasks.health import Health, HealthCheck


def swap_metrics(
    result: jax.Array, source: jax.Array, target: jax.Array, weights: jax.Array
) -> dict[str, jax.Array]:
    """Measures whose face the results show, over the pairs that are swaps.

    Args:
      result, source, target: embeddings (B, E) of unit length.
      weights: (B,), see `swap_rows.row_weights`.

    Returns:
      `source_cosine` and `target_cosine`, the results' mean cosines to either, and
      `nearer_source`, the share of results nearer to their source. All are 0 for a batch without
      swaps, which must not count in an average over steps: `swap_health` sees to it.
    """
    to_source, to_target = losses.cosine(result, source), losses.cosine(result, target)
    nearer = (to_source > to_target).astype(jnp.float32)
    values = {"source_cosine": to_source, "target_cosine": to_target, "nearer_source": nearer}
    return {name: jnp.mean(weights * value) for name, value in values.items()}


def swap_health(config: Mapping[str, Any], *checks: HealthCheck) -> Health:
    """Builds the health checks of a task that swaps faces from the section `health` of a config.

    Args:
      config: the complete config.
      checks: the signs to look for.

    Raises:
      UserError: a setting out of range.
    """
    settings = config["health"]
    for key, least in (("warn_after_steps", 0), ("window_steps", 1)):
        if settings[key] < least:
            raise UserError(f"config.health.{key} is {settings[key]}: it must be at least {least}")
    for key in ("nearer_source", "discriminator_accuracy"):
        if key in settings and not 0 <= settings[key] <= 1:
            raise UserError(f"config.health.{key} is {settings[key]}: it must be from 0 to 1")
    metrics = ("source_cosine", "target_cosine", "nearer_source")
    return Health(
        weights=dict.fromkeys(metrics, "swap_share"),
        shown={"nearer_source": "nearer"},
        checks=checks,
        warn_after_steps=settings["warn_after_steps"],
        window_steps=settings["window_steps"],
    )


def check_of_copying(config: Mapping[str, Any], *advice: str) -> HealthCheck:
    """The sign that results repeat the targets; `advice` says what people change, a key each."""
    return HealthCheck(
        "{nearer_source:.0%} of the swaps are nearer to their source than to their target, so "
        f"the training copies its targets: people {'; '.join(advice)}",
        below={"nearer_source": config["health"]["nearer_source"]},
    )


def check_of_discriminator(config: Mapping[str, Any]) -> HealthCheck:
    """The sign that the discriminator is so much better that it teaches the generator little."""
    limit = config["health"]["discriminator_accuracy"]
    rate = config["optimizer"]["discriminator"]["learning_rate"]
    return HealthCheck(
        "the discriminator wins outright: it is right about {real_accuracy:.1%} of the real and "
        "{fake_accuracy:.1%} of the generated patches: people lower "
        f"config.optimizer.discriminator.learning_rate (now {rate:g}) or "
        f"config.discriminator.width ({config['discriminator']['width']}), or raise "
        f"config.loss.adversarial ({config['loss']['adversarial']:g})",
        above={"real_accuracy": limit, "fake_accuracy": limit},
    )
