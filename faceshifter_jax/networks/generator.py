"""Trained AEI-Nets and HEAR-Nets as frozen functions of pictures."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import fold
from faceshifter_jax.models.aei_net import IdentityModulation
from faceshifter_jax.networks.build import build_network, check_fits
from faceshifter_jax.networks.channels import in_rgb
from faceshifter_jax.networks.identity import for_generator
from faceshifter_jax.networks.network import Weights, name_networks


@struct.dataclass
class Generator:
    """A trained AEI-Net in evaluation mode.

    Attributes:
      variables: parameters and running statistics; the only part that lives on devices.
      module: the linen module.
      embedding: what it takes of embeddings, see `Contract`; whoever calls gives them as the
        identity network does, of any length.
      size: S, pixels a side of the pictures that it was trained on; None for those it gets.
    """

    variables: Any
    module: Any = struct.field(pytree_node=False)
    embedding: str = struct.field(pytree_node=False, default="unit")
    size: int | None = struct.field(pytree_node=False, default=None)

    def swap(self, target: jax.Array, identity: jax.Array) -> jax.Array:
        """Swaps identities (B, E) into pictures (B, S, S, 3) in [-1, 1]."""
        identity = for_generator(identity, self.embedding)
        return self.module.apply(self.variables, target, identity).image

    def identity_terms(self, identity: jax.Array, size: int) -> IdentityModulation:
        """Computes what identities (B, E) contribute to swaps of `size` x `size`."""
        identity = for_generator(identity, self.embedding)
        return self.module.apply(
            self.variables, identity, size, size, method=self.module.identity_terms
        )

    def swap_by_terms(self, target: jax.Array, terms: IdentityModulation) -> jax.Array:
        """Like `swap`, from the result of `identity_terms`."""
        return self.module.apply(
            self.variables, target, terms, method=self.module.swap_by_terms
        ).image

    def folded(self) -> "Generator":
        """Returns the same function up to rounding, at lower cost; see `models.fold`."""
        module, variables = fold(self.module, self.variables)
        return Generator(variables, module, self.embedding, self.size)

    def masks(self, target: jax.Array, identity: jax.Array) -> dict[int, jax.Array]:
        """The masks of a swap, level by level; see `level_masks`."""
        return self.swap_with_masks(target, identity)[1]

    def swap_with_masks(
        self, target: jax.Array, identity: jax.Array
    ) -> tuple[jax.Array, dict[int, jax.Array]]:
        """`swap` and `masks` together."""
        identity = for_generator(identity, self.embedding)
        output = self.module.apply(self.variables, target, identity)
        return output.image, level_masks(output.masks)

    def heuristic_error(self, target: jax.Array, identity: jax.Array) -> jax.Array:
        """Computes what pictures lose when they get their own identity (arXiv 1912.13457, section
        3.2).

        Args:
          target: (B, S, S, 3) in [-1, 1].
          identity: (B, E), the targets' own embeddings.

        Returns:
          (B, S, S, 3) in [-2, 2]: target - AEI(target, target).
        """
        return target - self.swap(target, identity)


def level_masks(masks: Sequence[Sequence[jax.Array]]) -> dict[int, jax.Array]:
    """Averages AEI-Net's masks M (arXiv 1912.13457, figure 5) for each level.

    Args:
      masks: for each level those of its AAD layers, each (B, H, W, 1 or C) in [0, 1].

    Returns:
      H -> their mean over layers and channels, float32 (B, H, W, 1), coarse to fine; 1 where the
      identity dominates, 0 where the attributes do.
    """

    def mean(level: Sequence[jax.Array]) -> jax.Array:
        total: Any = sum(m.astype(jnp.float32).mean(-1, keepdims=True) for m in level)
        return total / len(level)

    return {level[0].shape[1]: mean(level) for level in masks}


@struct.dataclass
class SecondStage:
    """A trained HEAR-Net in evaluation mode; attributes as in `Generator`."""

    variables: Any
    module: Any = struct.field(pytree_node=False)

    def folded(self) -> "SecondStage":
        """As `Generator.folded`."""
        module, variables = fold(self.module, self.variables)
        return SecondStage(variables, module)

    def refine(self, swap: jax.Array, error: jax.Array, target: jax.Array) -> jax.Array:
        """Restores in swaps (B, S, S, 3) in [-1, 1] what heuristic errors, the same, show.

        Args:
          swap: AEI-Net's pictures.
          error: the heuristic errors of their targets, in [-2, 2].
          target: the targets; networks of the published layout do not read them.
        """
        return self.module.apply(self.variables, swap, error, target)


def generator_from(weights: Weights, dtype: Any = jnp.float32) -> Generator:
    """Turns a trained AEI-Net into a frozen function of pictures, computed in `dtype`.

    Raises:
      UserError: the weights hold no AEI-Net, or do not fit it.
    """
    network = weights.networks.get("generator")
    if network is None:
        raise UserError(
            f"{weights.path} holds {name_networks(weights)}, not an AEI-Net: name the workdir of a "
            "training run with configs/aei.py, or a file that `faceshifter convert` made "
            "of a generator"
        )
    if network.image_size is None:
        raise UserError(f"{weights.path} does not say for which size of pictures it was made")
    network = in_rgb(network)
    module = build_network(network, dtype=dtype)
    picture = jnp.zeros((1, network.image_size, network.image_size, 3))
    embedding = jnp.zeros((1, network.embedding_size))
    check_fits(module, network.variables, picture, embedding, path=weights.path)
    return Generator(network.variables, module, network.feeding.embedding, network.image_size)


def second_stage_from(weights: Weights, image_size: int) -> SecondStage:
    """Turns a trained HEAR-Net into a frozen function of pictures of `image_size` pixels.

    Raises:
      UserError: the weights hold no HEAR-Net, one of another size, or do not fit it.
    """
    network = weights.networks.get("hear")
    if network is None:
        raise UserError(
            f"{weights.path} holds {name_networks(weights)}, not a HEAR-Net: name the workdir of a "
            "training run with configs/hear.py, or a file that `faceshifter convert` made of one"
        )
    if network.image_size not in (None, image_size):
        raise UserError(
            f"the HEAR-Net in {weights.path} is for pictures of {network.image_size} pixels, the "
            f"AEI-Net makes {image_size}: name one that was trained on it"
        )
    network = in_rgb(network)
    module, picture = build_network(network), jnp.zeros((1, image_size, image_size, 3))
    check_fits(module, network.variables, picture, picture, picture, path=weights.path)
    return SecondStage(network.variables, module)
