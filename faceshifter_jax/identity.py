"""From an aligned picture to an identity embedding, differentiably and in one place."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.models import fold
from faceshifter_jax.network import InputFormat

# Rows and columns 19 to 237 of an aligned 256x256 picture are the ArcFace crop.
_CROP_START, _CROP_STOP, _PICTURE_SIZE = 19, 237, 256


def crop_for_identity(pictures: jax.Array, size: int) -> jax.Array:
    """Cuts the ArcFace crop out of aligned pictures.

    Args:
      pictures: (B, S, S, 3) in [-1, 1], aligned by the template widened by 1 / 0.85.
      size: the identity network's input size in pixels.

    Returns:
      (B, size, size, 3) in [-1, 1], resized bilinearly with antialiasing.
    """
    scale = pictures.shape[1] / _PICTURE_SIZE
    start, stop = round(_CROP_START * scale), round(_CROP_STOP * scale)
    crop = pictures[:, start:stop, start:stop]
    return jax.image.resize(crop, (crop.shape[0], size, size, crop.shape[3]), "linear")


def to_input_format(crops: jax.Array, wanted: InputFormat) -> jax.Array:
    """Turns RGB crops (B, S, S, 3) in [-1, 1] into the numbers that a network was trained on."""
    if wanted.channel_order == "bgr":
        crops = crops[..., ::-1]
    if (wanted.mean, wanted.scale) == (127.5, 127.5):
        return crops
    return (127.5 * crops + (127.5 - wanted.mean)) / wanted.scale


def unit_length(x: jax.Array) -> jax.Array:
    """Scales rows (..., E) to unit length; a row of zeros stays finite, as does its gradient."""
    wide = x.astype(jnp.float32)
    return wide * jax.lax.rsqrt(jnp.sum(jnp.square(wide), -1, keepdims=True) + 1e-12)


@flax.struct.dataclass
class IdentityNetwork:
    """A trained identity network, ready to embed aligned pictures.

    Attributes:
      variables: parameters and running statistics; the only part that lives on devices.
      module: the linen module, in evaluation mode by default.
      input: the crops that it takes.
    """

    variables: Any
    module: nn.Module = flax.struct.field(pytree_node=False)
    input: InputFormat = flax.struct.field(pytree_node=False)

    def folded(self) -> "IdentityNetwork":
        """The same function but for rounding, computed with less; see `models.fold`."""
        module, variables = fold(self.module, self.variables)
        return IdentityNetwork(variables, module, self.input)

    def embed(self, pictures: jax.Array) -> jax.Array:
        """Maps aligned pictures (B, S, S, 3) in [-1, 1] to embeddings (B, E) of unit length."""
        crops = crop_for_identity(pictures, self.input.size)
        return unit_length(self.module.apply(self.variables, to_input_format(crops, self.input)))
