"""Trained networks as plain functions of uint8 pictures."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.generator import Generator
from faceshifter_jax.identity import IdentityNetwork
from faceshifter_jax.tasks import generator_from, identity_network_from
from faceshifter_jax.tasks.step import to_unit_range
from faceshifter_jax.training.checkpoint import LoadedWeights, read_weights
from faceshifter_jax.training.grid import to_uint8

_BATCH_PIXELS = 32 * 64 * 64


def in_batches(compiled: Callable[..., jax.Array], *arrays: np.ndarray) -> np.ndarray:
    """Applies a compiled function to rows of pictures, a batch at a time.

    A batch is as large as pictures of this size allow; the last one is padded, so that the
    function is compiled once.
    """
    size = max(1, _BATCH_PIXELS // (arrays[0].shape[1] * arrays[0].shape[2]))
    results = []
    for begin in range(0, len(arrays[0]), size):
        rows = [array[begin : begin + size] for array in arrays]
        count = len(rows[0])
        padded = [np.concatenate([r, np.repeat(r[-1:], size - count, 0)]) for r in rows]
        results.append(np.asarray(compiled(*padded))[:count])
    return np.concatenate(results)


def build_embed(network: IdentityNetwork) -> Callable[[np.ndarray], np.ndarray]:
    """Returns `embed(pictures)`: uint8 (B, S, S, 3) to unit-length float32 (B, E)."""
    compiled = jax.jit(lambda network, pictures: network.embed(to_unit_range(pictures)))
    return lambda pictures: in_batches(partial(compiled, network), pictures)


def load_identity(path: str) -> tuple[IdentityNetwork, LoadedWeights]:
    """Reads an identity network from a training's workdir or from a network file.

    Raises:
      UserError: there is none.
    """
    weights = read_weights(path)
    network = identity_network_from(weights)
    return network.replace(variables=jax.tree.map(jnp.asarray, network.variables)), weights


def load_swap(
    path: str, identity_path: str | None = None
) -> tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], LoadedWeights]:
    """Reads an AEI-Net and the identity network that belongs to it.

    Args:
      path: workdir of an `aei` training, one of its checkpoints, or a network file with a
        generator.
      identity_path: the identity network; None for the one of the training, where it was then.

    Returns:
      `swap(source, target)`: two uint8 (B, S, S, 3) to the swaps, the same; and the weights,
      whose `networks["generator"]` says S and whose `frozen["identity"]` says what z_id is of.

    Raises:
      UserError: not an AEI-Net's weights, no identity network, or another one than in training.
    """
    weights = read_weights(path)
    generator = generator_from(weights)
    needed = weights.networks["generator"].embedding_size
    identity, source = _load_identity_of(weights, identity_path)
    if source["embedding_size"] != needed:
        raise UserError(
            f"{path} needs an identity network with embeddings of {needed} "
            f"numbers; {source['path']} gives {source['embedding_size']}: name another --identity"
        )
    weights = dataclasses.replace(weights, frozen={"identity": source})
    return _build_swap(generator, identity), weights


def _load_identity_of(
    weights: LoadedWeights, identity_path: str | None
) -> tuple[IdentityNetwork, dict[str, Any]]:
    """Returns the identity network of a generator, and its path, sha256 and embedding size."""
    trained_with = weights.frozen.get("identity")
    if trained_with is None and identity_path is None:
        raise UserError(
            f"{weights.path} does not say which identity network it was trained with: name it "
            "with --identity"
        )
    identity_path = identity_path or trained_with["path"]
    if not Path(identity_path).exists():
        raise UserError(
            f"the identity network of {weights.path} is not at {identity_path}: say with "
            "--identity where it is"
        )
    identity, identity_weights = load_identity(identity_path)
    if trained_with is not None and identity_weights.sha256 != trained_with["sha256"]:
        raise UserError(
            f"{identity_weights.path} does not hold the identity network that {weights.path} was "
            "trained with: name the checkpoint that does with --identity"
        )
    return identity, {
        "path": identity_weights.directory,
        "sha256": identity_weights.sha256,
        "embedding_size": identity_weights.networks["identity"].embedding_size,
    }


def _build_swap(
    generator: Generator, identity: IdentityNetwork
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    generator = generator.replace(variables=jax.tree.map(jnp.asarray, generator.variables))

    @jax.jit
    def compiled(generator, identity, source, target):
        return generator.swap(to_unit_range(target), identity.embed(to_unit_range(source)))

    swap = partial(compiled, generator, identity)
    return lambda source, target: to_uint8(in_batches(swap, source, target))
