"""Trained networks as plain functions of uint8 pictures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.identity import IdentityNetwork
from faceshifter_jax.tasks import identity_network_from
from faceshifter_jax.tasks.networks import build_aei_net, check_fits
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
    """Reads an identity network from a training's workdir; UserError if there is none."""
    weights = read_weights(path)
    network = identity_network_from(weights)
    return network.replace(variables=jax.tree.map(jnp.asarray, network.variables)), weights


def load_swap(
    path: str, identity_path: str | None = None
) -> tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], LoadedWeights]:
    """Reads an AEI-Net, with the identity network that it was trained with.

    Args:
      path: workdir of an `aei` training, or one of its checkpoints.
      identity_path: where the identity network lies now, if it was moved.

    Returns:
      `swap(source, target)`: two uint8 (B, S, S, 3) to the swaps, the same; and the weights.

    Raises:
      UserError: not an AEI-Net's weights, or another identity network than in training.
    """
    weights = read_weights(path)
    if weights.config.get("task") != "aei":
        raise UserError(
            f"{path} holds a training of task {weights.config.get('task')!r}, not an AEI-Net: "
            "name the workdir of a training with configs/aei.py"
        )
    trained_with = weights.frozen["identity"]
    identity_path = identity_path or trained_with["path"]
    if not Path(identity_path).is_dir():
        raise UserError(
            f"the identity network that {path} was trained with is no longer at {identity_path}: "
            "say with --identity where it is"
        )
    identity, identity_weights = load_identity(identity_path)
    if identity_weights.sha256 != trained_with["sha256"]:
        raise UserError(
            f"{identity_weights.path} no longer holds the identity network that {path} was "
            "trained with: name the checkpoint that does with --identity"
        )
    return _build_swap(weights, identity), weights


def _build_swap(
    weights: LoadedWeights, identity: IdentityNetwork
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    aei_net = build_aei_net(weights.config["model"])
    variables = {
        "params": weights.params["generator"],
        "batch_stats": weights.batch_stats["generator"],
    }
    picture = jnp.zeros((1, *[weights.config["image_size"]] * 2, 3))
    embedding = jnp.zeros((1, weights.config["identity"]["embedding_size"]))
    check_fits(aei_net, variables, picture, embedding, path=weights.path)
    variables = jax.tree.map(jnp.asarray, variables)

    @jax.jit
    def compiled(variables, identity, source, target):
        embedding = identity.embed(to_unit_range(source))
        return aei_net.apply(variables, to_unit_range(target), embedding).image

    swap = partial(compiled, variables, identity)
    return lambda source, target: to_uint8(in_batches(swap, source, target))
