"""The rows of a batch as an AEI-Net step needs them: embeddings, answers and pseudo targets."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from faceshifter_jax import losses
from faceshifter_jax.networks.identity import IdentityNetwork, for_generator, unit_length
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.tasks.step import mean_over_devices
from faceshifter_jax.tasks.task import Batch, Frozen

Swap = Callable[[jax.Array, jax.Array], jax.Array]
"""(targets (B, S, S, 3), identities (B, E)) -> swaps (B, S, S, 3) that no gradient goes through."""


def row_weights(batch: Batch, axis_name: str | None) -> tuple[dict[str, jax.Array], jax.Array]:
    """Weights (B,) of the terms that do not count in every row, and the share of swaps.

    All of them share one denominator over all devices, see `losses.masked_mean_weights`.

    Returns:
      `same_weights` for reconstruction, `swap_weights` for metrics of swaps and, where the batch
      knows right answers, `answer_weights`; and the share of rows that are swaps.
    """
    masks: dict[str, Any] = {"same_weights": batch["same"], "swap_weights": 1 - batch["same"]}
    if "answered" in batch or "pseudo" in batch:
        masks["answer_weights"] = batch.get("answered", 0) + batch.get("pseudo", 0)
    shares = {name: mean_over_devices(jnp.mean(mask), axis_name) for name, mask in masks.items()}
    weights = {name: losses.masked_mean_weights(masks[name], shares[name]) for name in masks}
    return weights, shares["swap_weights"]


def prepare_rows(
    frozen: Frozen, rows: Batch, swap: Swap, embedding: str = "unit"
) -> dict[str, jax.Array]:
    """Adds what the losses compare with.

    Args:
      frozen: `identity`, which gives z_id, and perhaps `identity_loss`, another network for the
        loss.
      rows: of `data.build_loader`.
      swap: the averaged generator, for pseudo targets.
      embedding: what the generator takes of embeddings, see `Contract`.

    Returns:
      The rows with `target` and `answer` in [-1, 1]; `real`, the photographs that the
      discriminator learns from; `identity`, the source's z_id (B, E) as the generator takes it;
      `wanted` and `unwanted`, the source's and the target's embeddings by the loss's network, of
      unit length. In a row with `pseudo` 1 the
      averaged generator's swap is the target, the photograph is the answer, and the photograph's
      own identity is the source (arXiv 2306.05356, section 3; arXiv 2601.15288).
    """
    source, target = to_unit_range(rows["source"]), to_unit_range(rows["target"])
    features = _features_of_both(frozen["identity"], source, target)
    identity, own_identity = (for_generator(feature, embedding) for feature in features)
    wanted, unwanted = map(unit_length, features)
    if "identity_loss" in frozen:
        # The targets' are for metrics alone: at paper scale 4 % of the step's operations with
        # IR-SE50, 7 % with IResNet-100.
        features = _features_of_both(frozen["identity_loss"], source, target)
        wanted, unwanted = map(unit_length, features)
    answer = to_unit_range(rows["answer"]) if "answer" in rows else target
    prepared = {
        "target": target,
        "answer": answer,
        "real": target,
        "identity": identity,
        "wanted": wanted,
        "unwanted": unwanted,
    }
    if "pseudo" in rows:
        turned = {
            "target": jax.lax.stop_gradient(swap(target, identity)),
            "answer": target,
            "identity": own_identity,
            "wanted": unwanted,
            "unwanted": wanted,
        }
        prepared |= _where(rows["pseudo"], turned, prepared)
    return {**rows, **prepared}


def _features_of_both(
    network: IdentityNetwork, source: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    # One pass for both, interleaved so that every device keeps its rows.
    both = jnp.stack([source, target], 1).reshape(-1, *source.shape[1:])
    features = network.features(both).reshape(len(source), 2, -1)
    return features[:, 0], features[:, 1]


def _where(
    mask: jax.Array, yes: Mapping[str, jax.Array], no: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """The arrays of `yes` in the rows where the mask (B,) is 1, those of `no` elsewhere."""
    return {
        name: jnp.where(mask.reshape(-1, *[1] * (value.ndim - 1)) > 0, value, no[name])
        for name, value in yes.items()
    }
