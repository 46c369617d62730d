"""Trained networks as plain functions of uint8 pictures."""

import dataclasses
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from faceshifter_jax.checkpoints.weights import read_weights, weights_exist
from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import check_alignment, resize_square
from faceshifter_jax.media.levels import to_uint8
from faceshifter_jax.networks.contract import Contract, View
from faceshifter_jax.networks.generator import (
    Generator,
    generator_from,
    second_stage_from,
)
from faceshifter_jax.networks.identity import IdentityNetwork, check_identity, identity_network_from
from faceshifter_jax.networks.network import Network, Weights
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.runtime.batches import apply_in_batches
from faceshifter_jax.swapping.assignment import Sources
from faceshifter_jax.swapping.stage_functions import (
    Networks,
    draw_masks_partly,
    find_errors,
    find_person,
    find_person_terms,
    run_stages_by_terms,
    run_stages_partly,
)

# Number of sources whose terms are kept, 100 kB each at paper scale: more than a film has people.
_logger = logging.getLogger(__name__)
_SOURCES = 64


class SourceMemory:
    """Caches what sources contribute to swaps, because frames of a film share a few sources.

    Attributes:
      find_terms: uint8 (K, S, S, 3), photos of one person, to the pytree of arrays, one row each,
        that is remembered.
      capacity: sources whose terms are kept, those that were asked for last.
    """

    def __init__(self, find_terms: Callable[[np.ndarray], Any], capacity: int = _SOURCES):
        self.find_terms = find_terms
        self.capacity = capacity
        self._known: OrderedDict[bytes, Any] = OrderedDict()

    def find(self, sources: Sources) -> Any:
        """The terms of B sources, see `Stages.run`: a pytree of numpy arrays with B rows."""
        rows = [self._find_one(source) for source in sources]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)

    def _find_one(self, source: np.ndarray) -> Any:
        key = hashlib.sha256(np.ascontiguousarray(source).data).digest()
        if key not in self._known:
            photos = source if source.ndim == 4 else source[None]
            self._known[key] = jax.device_get(self.find_terms(photos))
        self._known.move_to_end(key)
        terms = self._known[key]
        if len(self._known) > self.capacity:
            self._known.popitem(last=False)
        return terms


_BATCH_PIXELS = 32 * 64 * 64
_BATCH_ON_ACCELERATORS = 8


def default_batch_size() -> int:
    """Default number of faces that go through the networks together.

    One on a CPU: eight pictures of 256x256 together take a tenth longer there than one by one, as
    their maps no longer fit the cache.
    """
    return 1 if jax.default_backend() == "cpu" else _BATCH_ON_ACCELERATORS


def in_batches(
    compiled: Callable[..., jax.Array],
    pictures: np.ndarray,
    *others: Any,
    batch_size: int | None = None,
) -> np.ndarray:
    """Applies a compiled function to rows of pictures, a batch at a time.

    Args:
      compiled: takes the arguments' rows.
      pictures: uint8 (B, S, S, 3).
      others: pytrees of arrays with B rows.
      batch_size: rows at a time; None for as many as pictures of this size allow.
    """
    size = batch_size or max(1, _BATCH_PIXELS // (pictures.shape[1] * pictures.shape[2]))
    return apply_in_batches(compiled, (pictures, *others), size)


def build_embed(
    network: IdentityNetwork, batch_size: int | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns `embed(pictures)`: uint8 (B, S, S, 3) to unit-length float32 (B, E)."""
    compiled = jax.jit(lambda network, pictures: network.embed(to_unit_range(pictures)))
    return partial(in_batches, partial(compiled, network), batch_size=batch_size)


def load_identity(path: str, view: View | None = None) -> tuple[IdentityNetwork, Weights]:
    """Reads an identity network from a run's workdir or from a network file, and folds it.

    Args:
      path: the workdir or file.
      view: what it is to see of pictures; None for what it was trained on.

    Raises:
      UserError: there is none.
    """
    weights = read_weights(path)
    network = identity_network_from(weights, view=view).folded()
    return jax.tree.map(jnp.asarray, network), weights


@dataclass(frozen=True)
class Stages:
    """AEI-Net and, where there is one, HEAR-Net, ready to swap.

    Attributes:
      generator: weights with the AEI-Net; `frozen["identity"]` says what z_id is of.
      hear: weights with the HEAR-Net, None without a second stage.
      image_size: S in pixels. Squares of another size, as `contract` may want them from
        photographs, are taken, too: the targets are resized as the AEI-Net's authors do.
      contract: how the AEI-Net is fed; alignment and side are for whoever cuts the squares.
      networks: the AEI-Net, its identity network and HEAR-Net or None; the first argument of
        `run_stages`, `draw_masks` and `find_errors`, of which the following are compiled.
      run: `run(sources, target, strength=1.0)`: B sources, uint8 (S, S, 3) or several photos of one
        person, (K, S, S, 3), and uint8 (B, S, S, 3) to float32 (B, 1 or 3, S, S, 3): AEI-Net's
        swaps in [-1, 1]; with a second stage also the heuristic errors in [-2, 2] and HEAR-Net's
        results. What a source contributes is computed once and cached. `strength`: see
        `blend_embeddings`.
      masks: `masks(sources, target, strength=1.0)`: the same to AEI-Net's masks, float32
        (B, L, S, S) in [0, 1], a mean for each of the L levels, coarse to fine, enlarged to S; 1
        where the identity dominates.
      errors: `errors(target)`: uint8 (B, S, S, 3) to the heuristic errors, float32 (B, S, S, 3) in
        [-2, 2]; for networks without a second stage, for which `run` does not return them.
      embed: `embed(pictures)`: uint8 (B, S, S, 3) to the identity network's embeddings, float32
        (B, E) of unit length.
    """

    generator: Weights
    hear: Weights | None
    image_size: int
    contract: Contract
    networks: Networks
    run: Callable[..., np.ndarray]
    masks: Callable[..., np.ndarray]
    errors: Callable[[np.ndarray], np.ndarray]
    embed: Callable[[np.ndarray], np.ndarray]

    @property
    def square_size(self) -> int:
        """Side in pixels of the squares that are cut from photographs."""
        return self.contract.side or self.image_size

    def swap(self, sources: Sources, target: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """Swaps by all stages: see `run`; returns uint8 (B, S, S, 3)."""
        return to_uint8(self.run(sources, target, strength)[:, -1], -1, 1)


def load_stages(
    path: str,
    identity_path: str | None = None,
    hear_path: str | None = None,
    *,
    batch_size: int | None = None,
    alignment: str | None = None,
) -> Stages:
    """Reads the networks that swap faces: an AEI-Net, its identity network and, if any, HEAR-Net.

    Args:
      path: workdir of an `aei` training run, one of its checkpoints, a network file with a
        generator, or workdir of a `hear` training run, which records its AEI-Net.
      identity_path: the identity network; None for that of the training run, at its path then.
      hear_path: workdir or network file of a second stage; None for none but that of `path`.
      batch_size: pictures that go through the networks together; None for as many as pictures of
        this size allow. Each function is compiled when it is first called, and only then.
      alignment: of the squares; None for the one that the AEI-Net was trained on.

    Raises:
      UserError: not such networks, no identity network, or another one than in training.
    """
    weights = read_weights(path)
    hear = read_weights(hear_path) if hear_path else None
    if "hear" in weights.networks and "generator" not in weights.networks:
        hear, weights = hear or weights, _read_first_stage(weights)
    generator, identity, weights = first_stage_from(weights, identity_path, alignment)
    image_size = generator.size
    assert image_size is not None  # `generator_from` sets it.
    if hear is not None:
        _warn_of_other_first_stage(hear, weights)
    second = None if hear is None else second_stage_from(hear, image_size).folded()
    networks = jax.tree.map(jnp.asarray, (generator, identity, second))
    errors = _batched(find_errors, networks, batch_size)
    run, masks = build_run(networks, batch_size), build_masks(networks, batch_size)
    return Stages(
        weights,
        hear,
        image_size,
        weights.networks["generator"].feeding,
        networks,
        run=run,
        masks=masks,
        errors=lambda target: errors(_resized(target, image_size)),
        embed=build_embed(identity, batch_size),
    )


def _resized(squares: np.ndarray, size: int | None) -> np.ndarray:
    """Squares, uint8 (B, S, S, 3), in the size that an AEI-Net was trained on."""
    if size in (None, squares.shape[1]):
        return squares
    return np.stack([resize_square(square, size) for square in squares])


def first_stage_from(
    weights: Weights, identity_path: str | None = None, alignment: str | None = None
) -> tuple[Generator, IdentityNetwork, Weights]:
    """Combines an AEI-Net with the identity network that belongs to it.

    Args:
      weights: what `read_weights` gives.
      identity_path: the identity network; None for that of the training run, at its path then.
      alignment: see `load_stages`.

    Returns:
      both, and the weights with the identity network's path and hash in `frozen["identity"]`.

    Raises:
      UserError: not an AEI-Net's weights, no identity network, or another one than in training.
    """
    generator = generator_from(weights)
    weights = _aligned_by(weights, alignment)
    needed = weights.networks["generator"].embedding_size
    identity, source = _load_identity_of(weights, identity_path)
    if source["embedding_size"] != needed:
        raise UserError(
            f"{weights.path} needs an identity network with embeddings of {needed} numbers; "
            f"{source['path']} gives {source['embedding_size']}: name another --identity"
        )
    return generator.folded(), identity, dataclasses.replace(weights, frozen={"identity": source})


def _aligned_by(weights: Weights, alignment: str | None) -> Weights:
    """The weights as if their generator had been trained on another alignment."""
    network = weights.networks["generator"]
    if alignment is None or alignment == network.feeding.alignment:
        return weights
    check_alignment(alignment)
    network = dataclasses.replace(network, contract=network.feeding.aligned_by(alignment))
    return dataclasses.replace(weights, networks={**weights.networks, "generator": network})


def _warn_of_other_first_stage(hear: Weights, weights: Weights) -> None:
    trained_on = hear.frozen.get("aei")
    if trained_on is not None and trained_on["sha256"] != weights.sha256:
        print(
            f"warning: {hear.path} was trained on another AEI-Net than {weights.path}, whose "
            "errors it does not know"
        )


def _read_first_stage(hear: Weights) -> Weights:
    """The AEI-Net that a HEAR-Net was trained on."""
    source = hear.frozen.get("aei")
    if source is None:
        raise UserError(
            f"{hear.path} holds the second stage alone: name an AEI-Net as the checkpoint and "
            "this with --hear"
        )
    if not weights_exist(source["path"]):
        raise UserError(
            f"the AEI-Net that {hear.path} was trained on is no longer at {source['path']}: name "
            f"it as the checkpoint, and {hear.path} with --hear"
        )
    weights = read_weights(source["path"])
    if weights.sha256 != source["sha256"]:
        raise UserError(
            f"{source['path']} no longer holds the AEI-Net that {hear.path} was trained on: name "
            f"it as the checkpoint, and {hear.path} with --hear"
        )
    return weights


def _load_identity_of(
    weights: Weights, identity_path: str | None
) -> tuple[IdentityNetwork, dict[str, Any]]:
    """Returns the identity network of a generator, and its path, sha256 and embedding size."""
    trained_with = weights.frozen.get("identity")
    network = weights.networks["generator"]
    if not identity_path and trained_with is not None:
        identity_path = str(trained_with["path"])
    elif identity_path is None and "identity" in weights.networks:
        identity_path = weights.path
    if identity_path is None:
        raise UserError(
            f"{weights.path} does not say which identity network it was trained with: name it "
            f"with --identity{_which(network)}"
        )
    if not weights_exist(identity_path):
        raise UserError(
            f"the identity network of {weights.path} is not at {identity_path}: say with "
            "--identity where it is"
        )
    identity, identity_weights = load_identity(identity_path, network.feeding.view)
    for warning in check_identity(network, weights.path, identity_weights):
        _logger.warning(warning)
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


def _which(generator: Network) -> str:
    wanted = generator.feeding.identity
    return "" if wanted is None else f", converted from {wanted.name}"


def _batched(
    function: Callable[..., jax.Array], networks: Networks, batch_size: int | None
) -> Callable[..., np.ndarray]:
    return partial(in_batches, partial(jax.jit(function), networks), batch_size=batch_size)


def build_run(networks: Networks, batch_size: int | None) -> Callable[..., np.ndarray]:
    """Returns `Stages.run` of these networks; arguments as there and in `load_stages`."""
    memory = SourceMemory(partial(jax.jit(find_person_terms), networks))
    embeddings = _remember_embeddings(networks)
    swap = partial(jax.jit(run_stages_by_terms), networks)
    swap_partly = partial(jax.jit(run_stages_partly), networks)

    def run(sources: Sources, target: np.ndarray, strength: float = 1.0) -> np.ndarray:
        target = _resized(target, networks[0].size)
        if strength == 1:
            terms = memory.find(sources)
            return in_batches(lambda t, s: swap(s, t), target, terms, batch_size=batch_size)
        return in_batches(
            lambda t, e: swap_partly(e, t, strength),
            target,
            embeddings.find(sources),
            batch_size=batch_size,
        )

    return run


def build_masks(networks: Networks, batch_size: int | None) -> Callable[..., np.ndarray]:
    """Returns `Stages.masks` of these networks; arguments as there and in `load_stages`."""
    embeddings = _remember_embeddings(networks)
    draw = partial(jax.jit(draw_masks_partly), networks)

    def masks(sources: Sources, target: np.ndarray, strength: float = 1.0) -> np.ndarray:
        target = _resized(target, networks[0].size)
        found = embeddings.find(sources)
        return in_batches(lambda t, e: draw(e, t, strength), target, found, batch_size=batch_size)

    return masks


def _remember_embeddings(networks: Networks) -> SourceMemory:
    return SourceMemory(partial(jax.jit(find_person), networks))
