"""Embedding the identity of aligned pictures, differentiably and in one place."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import fold
from faceshifter_jax.networks.build import build_network, check_fits
from faceshifter_jax.networks.contract import REGION_SIDE, USUAL_VIEW, View
from faceshifter_jax.networks.network import InputFormat, Network, Weights, name_networks
from faceshifter_jax.networks.views import random_views


def crop_for_identity(pictures: jax.Array, size: int, view: View = USUAL_VIEW) -> jax.Array:
    """Cuts out what an identity network sees of aligned pictures.

    Args:
      pictures: (B, S, S, 3) in [-1, 1].
      size: the identity network's input size in pixels.
      view: which part of them, and how it is resized; by default the ArcFace crop of pictures
        that are aligned by the template widened by 1 / 0.85.

    Returns:
      (B, size, size, 3) in [-1, 1].
    """
    scale = pictures.shape[1] / REGION_SIDE
    start, stop = (round(edge * scale) for edge in view.region)
    crop = pictures[:, start:stop, start:stop]
    weights = _resize_weights(crop.shape[1], size, view.resize)
    return jnp.einsum(
        "yi,bijc,xj->byxc", weights, crop, weights, precision=jax.lax.Precision.HIGHEST
    )


def _resize_weights(old: int, new: int, resize: str) -> np.ndarray:
    """(new, old) float32: the shares of old pixels in each new one, by linear interpolation.

    A constant, unlike what `jax.image.resize` computes: programs for other runtimes can hold it.

    Args:
      old, new: sizes in pixels.
      resize: one of `RESIZES`. `antialiased` spreads over as many old pixels as a new one covers.
    """
    if resize == "corners":
        place = np.linspace(0.0, old - 1.0, new)
    else:
        place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    width = max(1.0, old / new) if resize == "antialiased" else 1.0
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(old)) / width)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


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


def for_generator(features: jax.Array, embedding: str) -> jax.Array:
    """What a generator gets of embeddings (B, E) of any length; `embedding` as in `Contract`."""
    return unit_length(features) if embedding == "unit" else features.astype(jnp.float32)


def mean_embedding(features: jax.Array, embedding: str) -> jax.Array:
    """Averages the embeddings of several photos of one person.

    Args:
      features: (K, E) of any length, as an identity network gives them.
      embedding: as in `Contract`. For `unit` the mean is of unit-length embeddings and set to unit
        length; for `raw` it is the plain mean.

    Returns:
      (1, E) float32; of a single photo its embedding, unchanged.
    """
    if len(features) == 1:
        return features
    return for_generator(for_generator(features, embedding).mean(0, keepdims=True), embedding)


def blend_embeddings(
    own: jax.Array, other: jax.Array, strength: jax.Array | float, embedding: str
) -> jax.Array:
    """Goes from targets' own identities part of the way to the sources' ones.

    Args:
      own, other: (B, E) of any length: the targets' own embeddings, and those of the sources.
      strength: how far on the straight line between both: 0 gives `own`, 1 gives `other`.
      embedding: as in `Contract`. For `unit` both ends and the result have unit length.

    Returns:
      (B, E) float32.
    """
    own, other = for_generator(own, embedding), for_generator(other, embedding)
    return for_generator((1 - strength) * own + strength * other, embedding)


@struct.dataclass
class IdentityNetwork:
    """A trained identity network, ready to embed aligned pictures.

    Attributes:
      variables: parameters and running statistics; the only part that lives on devices.
      module: the linen module, in evaluation mode by default.
      input: the crops that it takes.
      view: what it sees of the pictures; None for what `input` says.
    """

    variables: Any
    module: Any = struct.field(pytree_node=False)
    input: InputFormat = struct.field(pytree_node=False)
    view: View | None = struct.field(pytree_node=False, default=None)

    def folded(self) -> "IdentityNetwork":
        """Returns the same function up to rounding, at lower cost; see `models.fold`."""
        module, variables = fold(self.module, self.variables)
        return IdentityNetwork(variables, module, self.input, self.view)

    def features(self, pictures: jax.Array) -> jax.Array:
        """Maps aligned pictures (B, S, S, 3) in [-1, 1] to embeddings (B, E) as they are.

        Generators take these; for cosines and losses there is `embed`.
        """
        crops = crop_for_identity(pictures, self.input.size, self.view or self.input.view)
        return self._apply(crops)

    def embed(self, pictures: jax.Array) -> jax.Array:
        """Maps aligned pictures (B, S, S, 3) in [-1, 1] to embeddings (B, E) of unit length."""
        return unit_length(self.features(pictures))

    def embed_views(self, pictures: jax.Array, seeds: jax.Array) -> jax.Array:
        """Like `embed`, of a random view of each picture, by its seed (B,) uint32."""
        region = (self.view or self.input.view).region
        crops = random_views(pictures, seeds, self.input.size, region)
        return unit_length(self._apply(crops))

    def _apply(self, crops: jax.Array) -> jax.Array:
        return self.module.apply(self.variables, to_input_format(crops, self.input))


def identity_network_from(
    weights: Weights, dtype: Any = jnp.float32, view: View | None = None
) -> IdentityNetwork:
    """Turns trained or converted weights into a network that embeds pictures.

    Args:
      weights: the result of a reader of checkpoints or network files.
      dtype: of the computation between the normalisations, which are float32 always, as the
        embeddings are.
      view: what it is to see of the pictures: what a generator was trained with; None for what
        its file says.

    Raises:
      UserError: the weights are another network's, or do not fit it.
    """
    network = weights.networks.get("identity")
    if network is None or network.input is None:
        raise UserError(
            f"{weights.path} holds {name_networks(weights)}, not an identity network: name the "
            "workdir of a training run with configs/arcface.py, or a file that "
            "`faceshifter convert` made of one"
        )
    module, size = build_network(network, dtype=dtype), network.input.size
    check_fits(module, network.variables, jnp.zeros((1, size, size, 3)), path=weights.path)
    return IdentityNetwork(network.variables, module, network.input, view)


def check_identity(
    generator: Network, path: str, identity: Weights, setting: str = "--identity"
) -> list[str]:
    """Compares an identity network with the one that a published generator was trained with.

    Args:
      generator: the generator; of one whose training is known nothing is asked.
      path: where it was read, for messages.
      identity: weights with an identity network.
      setting: what names that network, for messages.

    Returns:
      warnings, for it cannot be known whether another network's embeddings will do.

    Raises:
      UserError: it is the right kind of network and takes other pictures, or it is not the one
        that the user said it was.
    """
    wanted, given = generator.feeding.identity, identity.networks["identity"]
    if wanted is None or wanted.sha256 == identity.sha256:
        return []
    if wanted.sha256 is not None:
        raise UserError(
            f"{path} was converted with `--identity` for another identity network than the one in "
            f"{identity.path}: name that one, which is {wanted.name}"
        )
    facts = {"architecture": given.architecture, **given.settings}
    if any(facts.get(name) != value for name, value in wanted.settings):
        depth = f" of {facts['depth']} layers" if "depth" in facts else ""
        return [
            f"{path} was trained with {wanted.name}; {identity.path} holds another network, "
            f"{given.architecture}{depth}, and swaps will not show the source: convert that file "
            f"and name it with {setting}"
        ]
    if given.input is not None and given.input.channel_order != wanted.channel_order:
        order = wanted.channel_order
        raise UserError(
            f"{path} was trained on an identity network that was fed {order.upper()} pictures, "
            f"{identity.path} says {given.input.channel_order.upper()}: convert that network again "
            f"with --channel-order {order}, or, if the generator is of a project that feeds it "
            f"otherwise, the generator with --identity-channel-order {given.input.channel_order}"
        )
    if not wanted.is_one_of_many:
        return []
    return [
        f"{path} was trained with {wanted.name}, of whose kind there are several with other "
        f"weights: if {identity.path} was not converted from that file, swaps will not show the "
        f"source. To say that it was, once: `faceshifter convert FILE OUT --identity "
        f"{identity.path}`"
    ]
