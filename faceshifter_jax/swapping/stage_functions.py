"""What the networks of a swap compute of uint8 pictures; whoever calls compiles it."""

import jax
import jax.numpy as jnp

from faceshifter_jax.models.aei_net import IdentityModulation
from faceshifter_jax.networks.generator import Generator, SecondStage
from faceshifter_jax.networks.identity import IdentityNetwork, blend_embeddings, mean_embedding
from faceshifter_jax.networks.pixels import to_unit_range

Networks = tuple[Generator, IdentityNetwork, SecondStage | None]
"""AEI-Net, its identity network, and HEAR-Net where there is one."""


def find_person(networks: Networks, photos: jax.Array) -> jax.Array:
    """Embeds one person, of photos uint8 (K, S, S, 3): (1, E), see `mean_embedding`."""
    generator, identity, _ = networks
    return mean_embedding(identity.features(to_unit_range(photos)), generator.embedding)


def find_person_terms(networks: Networks, photos: jax.Array) -> IdentityModulation:
    """Computes what one person, of photos uint8 (K, S, S, 3), contributes to swaps: one row."""
    generator = networks[0]
    embedding = find_person(networks, photos)
    return generator.identity_terms(embedding, generator.size or photos.shape[1])


def find_terms(networks: Networks, source: jax.Array) -> IdentityModulation:
    """Computes what sources, uint8 (B, S, S, 3), contribute to swaps."""
    generator, identity, _ = networks
    embedding = identity.features(to_unit_range(source))
    return generator.identity_terms(embedding, generator.size or source.shape[1])


def run_stages(networks: Networks, source: jax.Array, target: jax.Array) -> jax.Array:
    """Computes `Stages.run` from sources, without caching them."""
    return run_stages_by_terms(networks, find_terms(networks, source), target)


def run_stages_by_terms(
    networks: Networks, terms: IdentityModulation, target: jax.Array
) -> jax.Array:
    """Computes `Stages.run` from the sources' terms."""
    generator, identity, second = networks
    target = to_unit_range(target)
    swap = generator.swap_by_terms(target, terms)
    if second is None:
        return swap[:, None]
    error = generator.heuristic_error(target, identity.features(target))
    return jnp.stack([swap, error, second.refine(swap, error, target)], 1)


def run_stages_partly(
    networks: Networks, embedding: jax.Array, target: jax.Array, strength: jax.Array
) -> jax.Array:
    """Computes `Stages.run` from the sources' embeddings (B, E), at a strength."""
    generator = networks[0]
    embedding = _blend_with_own(networks, embedding, target, strength)
    terms = generator.identity_terms(embedding, generator.size or target.shape[1])
    return run_stages_by_terms(networks, terms, target)


def _blend_with_own(
    networks: Networks, embedding: jax.Array, target: jax.Array, strength: jax.Array
) -> jax.Array:
    own = networks[1].features(to_unit_range(target))
    return blend_embeddings(own, embedding, strength, networks[0].embedding)


def find_errors(networks: Networks, target: jax.Array) -> jax.Array:
    """Computes `Stages.errors`; compiled there."""
    generator, identity, _ = networks
    target = to_unit_range(target)
    return generator.heuristic_error(target, identity.features(target))


def draw_masks(networks: Networks, source: jax.Array, target: jax.Array) -> jax.Array:
    """Computes `Stages.masks` of sources uint8 (B, S, S, 3) at full strength."""
    return _masks_by(networks, networks[1].features(to_unit_range(source)), target)


def draw_masks_partly(
    networks: Networks, embedding: jax.Array, target: jax.Array, strength: jax.Array
) -> jax.Array:
    """Computes `Stages.masks` from the sources' embeddings (B, E)."""
    return _masks_by(networks, _blend_with_own(networks, embedding, target, strength), target)


def _masks_by(networks: Networks, embedding: jax.Array, target: jax.Array) -> jax.Array:
    masks = networks[0].masks(to_unit_range(target), embedding)
    levels = [
        jax.image.resize(mask[..., 0], target.shape[:3], "nearest") for mask in masks.values()
    ]
    return jnp.stack(levels, 1)
