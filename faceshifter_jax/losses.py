"""Losses: arrays in, one float32 number per sample out.

Equation numbers refer to FaceShifter (arXiv 1912.13457) unless said otherwise.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def _mean_per_sample(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32).reshape(x.shape[0], -1).mean(1)


def cosine(a: jax.Array, b: jax.Array) -> jax.Array:
    """Cosine between rows of unit length, (B, E) and (B, E) to (B,)."""
    return jnp.sum(a * b, axis=-1)


def identity_loss(swap: jax.Array, source: jax.Array, enough: float = 1.0) -> jax.Array:
    """1 - cos(z_id(Y), z_id(Xs)), equation 6; embeddings (B, E) of unit length to (B,).

    With `enough` below 1 it is max(0, enough - cos): pictures of one person have no cosine of 1,
    and a gain beyond theirs only fools the identity network.
    """
    gap = enough - cosine(swap, source)
    return gap if enough >= 1 else jax.nn.relu(gap)


def attribute_loss(swap: Sequence[jax.Array], target: Sequence[jax.Array]) -> jax.Array:
    """Half the squared distance of the attributes, a mean in each level, summed, equation 7.

    Args:
      swap: attributes of the swap, one (B, H, W, C) map a level.
      target: attributes of the target, of the same shapes.
    """
    levels = [
        _mean_per_sample(jnp.square(a.astype(jnp.float32) - b.astype(jnp.float32)))
        for a, b in zip(swap, target, strict=True)
    ]
    total: Any = sum(levels)
    return 0.5 * total


def reconstruction_loss(swap: jax.Array, target: jax.Array) -> jax.Array:
    """Half the mean squared error of pictures (B, H, W, C), equation 8, without its case.

    The paper counts it only where source and target are the same picture: see
    `masked_mean_weights`.
    """
    return 0.5 * _mean_per_sample(jnp.square(swap - target))


DISTANCES = {"squared": lambda error: 0.5 * jnp.square(error), "absolute": jnp.abs}
"""Distances of two pictures' numbers, by the names that configs use."""


def answer_loss(
    swap: jax.Array,
    answer: jax.Array,
    target: jax.Array,
    *,
    distance: str = "squared",
    differ_weight: float = 1.0,
) -> jax.Array:
    """Mean distance (B,) of swaps to their right answers, pictures (B, H, W, 3) in [-1, 1].

    Not in the paper, which has no right answers. Most of an answer is the target, so that the
    places where both differ by more than 16 of 255 grey levels weigh `differ_weight` times as
    much as the others; the mean over the places of a picture is a weighted one.

    Args:
      swap: the generator's pictures.
      answer: what they should be: the source's identity with everything else of the target.
      target: the targets.
      distance: a key of `DISTANCES`.
      differ_weight: at least 1.
    """
    differs = jnp.max(jnp.abs(answer - target), -1) > 16 / 127.5
    weights = jnp.where(differs, differ_weight, 1.0)
    error = DISTANCES[distance](swap - answer).mean(-1)
    return jnp.sum(weights * error, (1, 2)) / jnp.sum(weights, (1, 2))


def feature_loss(swap: Sequence[jax.Array], answer: Sequence[jax.Array]) -> jax.Array:
    """Mean absolute distance (B,) of feature maps, averaged over the maps.

    Feature matching of pix2pixHD (arXiv 1711.11585, equation 4): squared errors make two outlines
    fade into each other, which a discriminator's features tell from either.

    Args:
      swap: one (B, H, W, C) map a layer, of the generator's pictures.
      answer: those of the right answers, of the same shapes.
    """
    distances = [_mean_per_sample(jnp.abs(a - b)) for a, b in zip(swap, answer, strict=True)]
    total: Any = sum(distances)
    return total / len(distances)


def change_loss(result: jax.Array, swap: jax.Array) -> jax.Array:
    """Mean |Y - Yst| of HEAR-Net's result and AEI-Net's swap, equation 12; (B, H, W, C) to (B,)."""
    return _mean_per_sample(jnp.abs(result - swap))


def occluder_loss(result: jax.Array, target: jax.Array, occluder: jax.Array) -> jax.Array:
    """Half the mean squared error of pictures (B, H, W, C), weighted by what covers the face.

    Not in the paper: where an occlusion was laid over the target, the right answer is known for
    any pair, so that it teaches more than the pairs of one picture that equation 8 counts.

    Args:
      result: HEAR-Net's result.
      target: the occluded target.
      occluder: (B, H, W) in [0, 1], the alpha of the occlusion.
    """
    return 0.5 * _mean_per_sample(occluder[..., None] * jnp.square(result - target))


def masked_mean_weights(mask: jax.Array, share: jax.Array) -> jax.Array:
    """Weights (B,) whose plain mean with some values is their mean where `mask` is 1.

    Args:
      mask: (B,) float32, 0 or 1.
      share: the mean of the mask over the whole batch, on all devices: a denominator of each
        device's own would weigh the samples differently on 1 and on 4 devices.
    """
    return mask / jnp.maximum(share, 1e-6)


def hinge_discriminator_loss(real: Sequence[jax.Array], fake: Sequence[jax.Array]) -> jax.Array:
    """mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)), averaged over the scales.

    Args:
      real: scores of real pictures, one (B, P, P, 1) map a scale.
      fake: scores of generated pictures, of the same shapes.
    """
    scales = [
        _mean_per_sample(jax.nn.relu(1 - r)) + _mean_per_sample(jax.nn.relu(1 + f))
        for r, f in zip(real, fake, strict=True)
    ]
    total: Any = sum(scales)
    return total / len(scales)


def hinge_generator_loss(fake: Sequence[jax.Array]) -> jax.Array:
    """-mean D(fake), averaged over the scales."""
    total: Any = sum(_mean_per_sample(f) for f in fake)
    return -total / len(fake)


def angular_margin_logits(
    cosines: jax.Array, labels: jax.Array, *, margin: float, scale: float
) -> jax.Array:
    """Adds an angular margin to the right class (ArcFace, arXiv 1801.07698, equation 3).

    The right class's cosine cos(t) becomes cos(t + margin); where t + margin would pass pi,
    cos(t) - margin * sin(margin) continues to fall in its place.

    Args:
      cosines: (B, N) between embeddings and class centres.
      labels: (B,) int32.
      margin: radians, in [0, pi/2].
      scale: factor of all logits.

    Returns:
      (B, N) float32 logits.
    """
    right = jnp.take_along_axis(cosines, labels[:, None], 1)
    # Rounding can push a cosine past 1, where the sine's gradient is not finite.
    clipped = jnp.clip(right, -1 + 1e-6, 1 - 1e-6)
    sine = jnp.sqrt(1 - jnp.square(clipped))
    turned = clipped * jnp.cos(margin) - sine * jnp.sin(margin)
    past = clipped <= -jnp.cos(margin)
    moved = jnp.where(past, clipped - margin * jnp.sin(margin), turned)
    is_right = jnp.arange(cosines.shape[1]) == labels[:, None]
    return scale * jnp.where(is_right, moved, cosines).astype(jnp.float32)


def code_loss(read: jax.Array, code: jax.Array) -> jax.Array:
    """Mean squared error (B,) of what was read off pictures, (B, N), to known codes (B, N)."""
    return _mean_per_sample(jnp.square(read - code))


def cross_entropy_loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log softmax(logits)[label]; (B, N) and (B,) int32 to (B,)."""
    log_likelihood = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.take_along_axis(log_likelihood, labels[:, None], 1)[:, 0]
