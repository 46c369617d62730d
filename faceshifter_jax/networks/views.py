"""Random views of aligned faces: the inputs of an identity network in place of the exact crop.

An identity network that always sees the same crop can be fooled by a pattern of single pixels.
A pattern that survives shifts, scales, colours, blur, noise and cut-outs has to look like a face
(as augmentation ends overfitting of a GAN's discriminator, arXiv 2006.06676, section 2).
"""

import jax
import jax.numpy as jnp

from faceshifter_jax.networks.contract import ARCFACE_CROP, REGION_SIDE

_SHIFT = 0.05  # of the crop's side, to each side
_SCALE = 0.10  # of the crop's side, larger or smaller
_GAIN = 0.25  # brightness and each channel's own, as factors
_NOISE = 0.06  # standard deviation at most, pictures being in [-1, 1]
_BLUR_CHANCE = 0.5
_CUT_CHANCE = 0.3
_CUT_SIZE = 0.35  # of the crop's side at most


def random_views(
    pictures: jax.Array, seeds: jax.Array, size: int, region: tuple[int, int] = ARCFACE_CROP
) -> jax.Array:
    """Cuts a random view of the face out of each aligned picture.

    Args:
      pictures: (B, S, S, 3) in [-1, 1].
      seeds: (B,) uint32; a view is a function of its seed and its picture alone.
      size: of the views, in pixels.
      region: what is seen of the pictures but for chance, see `View`; by default the ArcFace crop
        of pictures that are aligned by the template widened by 1 / 0.85.

    Returns:
      (B, size, size, 3) in [-1, 1].
    """
    return jax.vmap(lambda picture, seed: _view(picture, seed, size, region))(pictures, seeds)


def split_seeds(seeds: jax.Array, number: int) -> jax.Array:
    """Seeds (number, B) uint32 of several views of each picture, made of one seed (B,) each."""
    keys = jax.vmap(lambda seed: jax.random.bits(jax.random.key(seed), (number,)))(seeds)
    return keys.T


def _view(picture: jax.Array, seed: jax.Array, size: int, region: tuple[int, int]) -> jax.Array:
    geometry, colour, blur, noise, cut = jax.random.split(jax.random.key(seed), 5)
    crop = _recolour(_random_crop(picture, geometry, size, region), colour)
    blurred = jnp.where(jax.random.uniform(blur) < _BLUR_CHANCE, _blur(crop), crop)
    kept = _cut_out(blurred, cut)
    strength, pixels = jax.random.split(noise)
    sigma = _NOISE * jax.random.uniform(strength)
    return jnp.clip(kept + sigma * jax.random.normal(pixels, kept.shape), -1, 1)


def _random_crop(
    picture: jax.Array, key: jax.Array, size: int, region: tuple[int, int]
) -> jax.Array:
    begin, end = (edge * picture.shape[0] / REGION_SIDE for edge in region)
    side, middle = end - begin, (begin + end) / 2
    zoom, *shift = jax.random.uniform(key, (3,), minval=-1, maxval=1)
    side = side * (1 + _SCALE * zoom)
    scale = jnp.full((2,), size / side)
    first = middle + _SHIFT * side * jnp.stack(shift) - side / 2
    return jax.image.scale_and_translate(
        picture, (size, size, 3), (0, 1), scale, -first * scale, "linear"
    )


def _recolour(crop: jax.Array, key: jax.Array) -> jax.Array:
    common, own, shift = jax.random.split(key, 3)
    gain = 1 + _GAIN * jax.random.uniform(common, minval=-1, maxval=1)
    gains = gain * (1 + _GAIN / 2 * jax.random.uniform(own, (3,), minval=-1, maxval=1))
    return crop * gains + _GAIN * jax.random.uniform(shift, minval=-1, maxval=1)


def _blur(crop: jax.Array) -> jax.Array:
    """Binomial weights 1/4, 1/2, 1/4 over rows and columns."""
    height, width, _ = crop.shape
    padded = jnp.pad(crop, ((1, 1), (1, 1), (0, 0)), "edge")
    rows = 0.5 * padded[1:-1] + 0.25 * (padded[:height] + padded[2:])
    return 0.5 * rows[:, 1:-1] + 0.25 * (rows[:, :width] + rows[:, 2:])


def _cut_out(crop: jax.Array, key: jax.Array) -> jax.Array:
    """A random rectangle in one random grey, or none."""
    chance, where, extent, grey = jax.random.split(key, 4)
    size = crop.shape[0]
    middle = size * jax.random.uniform(where, (2,))
    half = size * _CUT_SIZE / 2 * jax.random.uniform(extent, (2,))
    half = jnp.where(jax.random.uniform(chance) < _CUT_CHANCE, half, 0)
    inside = jnp.abs(jnp.arange(size)[None] + 0.5 - middle[:, None]) < half[:, None]
    hidden = (inside[0][:, None] & inside[1][None, :])[..., None]
    return jnp.where(hidden, jax.random.uniform(grey, minval=-1, maxval=1), crop)
