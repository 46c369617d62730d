"""Embedding the identity of aligned pictures, differentiably and in one place."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import fold
from faceshifter_jax.networks.build import build_network, check_fits
from faceshifter_jax.networks.network import InputFormat, Weights, name_networks
from faceshifter_jax.networks.views import CROP_START, CROP_STOP, PICTURE_SIZE, random_views


def crop_for_identity(pictures: jax.Array, size: int) -> jax.Array:
    """Cuts the ArcFace crop out of aligned pictures.

    Args:
      pictures: (B, S, S, 3) in [-1, 1], aligned by the template widened by 1 / 0.85.
      size: the identity network's input size in pixels.

    Returns:
      (B, size, size, 3) in [-1, 1], resized bilinearly with antialiasing.
    """
    scale = pictures.shape[1] / PICTURE_SIZE
    start, stop = round(CROP_START * scale), round(CROP_STOP * scale)
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
        """Returns the same function up to rounding, at lower cost; see `models.fold`."""
        module, variables = fold(self.module, self.variables)
        return IdentityNetwork(variables, module, self.input)

    def embed(self, pictures: jax.Array) -> jax.Array:
        """Maps aligned pictures (B, S, S, 3) in [-1, 1] to embeddings (B, E) of unit length."""
        return self._embed_crops(crop_for_identity(pictures, self.input.size))

    def embed_views(self, pictures: jax.Array, seeds: jax.Array) -> jax.Array:
        """Like `embed`, of a random view of each picture, by its seed (B,) uint32."""
        return self._embed_crops(random_views(pictures, seeds, self.input.size))

    def _embed_crops(self, crops: jax.Array) -> jax.Array:
        return unit_length(self.module.apply(self.variables, to_input_format(crops, self.input)))


def identity_network_from(weights: Weights, dtype: Any = jnp.float32) -> IdentityNetwork:
    """Turns trained or converted weights into a network that embeds pictures.

    Args:
      weights: the result of a reader of checkpoints or network files.
      dtype: of the computation between the normalisations, which are always float32, like the
        embeddings.

    Raises:
      UserError: the weights are another network's, or do not fit it.
    """
    network = weights.networks.get("identity")
    if network is None:
        raise UserError(
            f"{weights.path} holds {name_networks(weights)}, not an identity network: name the "
            "workdir of a training run with configs/arcface.py, or a file that "
            "`faceshifter convert` made of one"
        )
    module, size = build_network(network, dtype=dtype), network.input.size
    check_fits(module, network.variables, jnp.zeros((1, size, size, 3)), path=weights.path)
    return IdentityNetwork(network.variables, module, network.input)
