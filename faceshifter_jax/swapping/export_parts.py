"""What can be exported of a trained swap: all of it as one function, or one of its networks."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.errors import UserError
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.networks.file import describe_network
from faceshifter_jax.networks.generator import generator_from
from faceshifter_jax.networks.identity import for_generator, identity_network_from
from faceshifter_jax.networks.network import Weights
from faceshifter_jax.swapping.stage_functions import run_stages
from faceshifter_jax.swapping.stages import Stages, load_stages

_UINT8 = {"dtype": "uint8", "range": [0, 255], "channel_order": "rgb"}
_SIGNED = {"dtype": "float32", "range": [-1, 1], "channel_order": "rgb"}
_ERROR = {**_SIGNED, "range": [-2, 2]}


@dataclasses.dataclass(frozen=True)
class Part:
    """One function of a trained swap.

    Attributes:
      function: of arrays as `inputs` says, in that order, to a tuple of arrays as `outputs` says.
      inputs, outputs: name -> `shape`, without the batch, `dtype`, and what the numbers are.
      facts: the networks behind it, how squares are aligned, and the statement of provenance for
        pictures that it makes; plain values.
      weight_bytes: of the arrays that the function holds.
    """

    function: Callable[..., tuple[jax.Array, ...]]
    inputs: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, Any]
    weight_bytes: int


def load_part(
    name: str,
    checkpoint: str,
    identity: str | None = None,
    hear: str | None = None,
    *,
    masks: bool = False,
) -> Part:
    """Reads the networks of a part.

    Args:
      name: a key of `export_command.PARTS`.
      checkpoint, identity, hear: as in `load_stages`; of a single network, it may also be that
        network's own workdir or file.
      masks: whether `aei` also gives its masks.

    Raises:
      UserError: the networks cannot be read, or have no such part.
    """
    if name == "swap":
        return _whole(load_stages(checkpoint, identity, hear))
    if name == "hear":
        return _second_stage(load_stages(checkpoint, identity, hear), checkpoint)
    weights = read_weights(checkpoint)
    if name == "identity" and "identity" in weights.networks:
        return _identity_alone(weights)
    if name == "aei" and "generator" in weights.networks:
        return _first_stage(weights, masks)
    stages = load_stages(checkpoint, identity, hear)
    if name == "aei":
        return _first_stage(stages.generator, masks)
    return _identity_of(stages)


def _whole(stages: Stages) -> Part:
    networks = stages.networks

    def swap(source: jax.Array, target: jax.Array) -> tuple[jax.Array, ...]:
        result = run_stages(networks, source, target)[:, -1].astype(jnp.float32)
        return (jnp.round((jnp.clip(result, -1, 1) + 1) * 127.5).astype(jnp.uint8),)

    size, square = (_square(side) for side in (stages.image_size, stages.square_size))
    return Part(
        swap,
        {"source": {"shape": square, **_UINT8}, "target": {"shape": size, **_UINT8}},
        {"swap": {"shape": size, **_UINT8}},
        _facts(stages.generator, stages.hear),
        _weight_bytes(networks),
    )


def _first_stage(weights: Weights, masks: bool) -> Part:
    generator = generator_from(weights).folded()
    network = weights.networks["generator"]

    def swap(target: jax.Array, embedding: jax.Array) -> tuple[jax.Array, ...]:
        image, levels = generator.swap_with_masks(target, embedding)
        return (image.astype(jnp.float32), *(levels.values() if masks else ()))

    assert generator.size is not None  # `generator_from` sets it.
    size = _square(generator.size)
    embedding = {"shape": [network.embedding_size], **_embedding(network.feeding.embedding)}
    inputs = {"target": {"shape": size, **_SIGNED}, "embedding": embedding}
    outputs = {"swap": {"shape": size, **_SIGNED}}
    if masks:
        shown = [jax.ShapeDtypeStruct((1, *one["shape"]), jnp.float32) for one in inputs.values()]
        for mask in jax.eval_shape(swap, *shown)[1:]:
            name = f"mask_{mask.shape[1]}"
            outputs[name] = {"shape": list(mask.shape[1:]), "dtype": "float32", "range": [0, 1]}
    return Part(swap, inputs, outputs, _facts(weights), _weight_bytes(generator))


def _second_stage(stages: Stages, path: str) -> Part:
    if stages.networks[2] is None:
        raise UserError(f"{path} has no second stage: name a HEAR-Net with --hear")
    network = stages.networks[2]

    def refine(swap: jax.Array, error: jax.Array, target: jax.Array) -> tuple[jax.Array, ...]:
        return (network.refine(swap, error, target).astype(jnp.float32),)

    size = _square(stages.image_size)
    picture = {"shape": size, **_SIGNED}
    return Part(
        refine,
        {"swap": picture, "error": {"shape": size, **_ERROR}, "target": picture},
        {"result": picture},
        _facts(stages.generator, stages.hear),
        _weight_bytes(network),
    )


def _identity_of(stages: Stages) -> Part:
    """The identity network as a generator uses it: what it sees, and the embeddings it gives."""
    length = stages.contract.embedding
    facts = {
        "alignment": stages.contract.alignment,
        "identity_sha256": stages.generator.frozen["identity"]["sha256"],
    }
    return _identity(stages.networks[1], length, stages.square_size, facts)


def _identity_alone(weights: Weights) -> Part:
    """An identity network for itself: embeddings of unit length of squares as it was trained on."""
    network = weights.networks["identity"]
    identity = identity_network_from(weights).folded()
    assert network.input is not None  # `identity_network_from` has seen it.
    begin, end = network.input.view.region
    side = round(network.input.size * 256 / (end - begin))
    facts = {
        "alignment": network.input.alignment,
        "networks": {"identity": describe_network(network)},
        "identity_sha256": weights.sha256,
    }
    return _identity(identity, "unit", side, facts)


def _identity(network: Any, length: str, side: int, facts: dict[str, Any]) -> Part:
    def embed(picture: jax.Array) -> tuple[jax.Array, ...]:
        return (for_generator(network.features(picture), length).astype(jnp.float32),)

    square = _square(side)
    shown = jax.ShapeDtypeStruct((1, *square), jnp.float32)
    numbers = jax.eval_shape(embed, shown)[0].shape[1:]
    return Part(
        embed,
        {"picture": {"shape": square, **_SIGNED}},
        {"embedding": {"shape": list(numbers), **_embedding(length)}},
        facts,
        _weight_bytes(network),
    )


def _embedding(length: str) -> dict[str, str]:
    return {"dtype": "float32", "length": length}


def _square(side: int) -> list[int]:
    return [side, side, 3]


def _facts(weights: Weights, hear: Weights | None = None) -> dict[str, Any]:
    """What is told of a function that makes pictures."""
    networks = {"generator": weights.networks["generator"]}
    if hear is not None:
        networks["hear"] = hear.networks["hear"]
    provenance = Provenance(
        checkpoint_sha256=weights.sha256,
        hear_sha256=hear.sha256 if hear else None,
        identity_sha256=weights.frozen.get("identity", {}).get("sha256"),
    )
    return {
        "alignment": networks["generator"].feeding.alignment,
        "networks": {role: describe_network(network) for role, network in networks.items()},
        "provenance": provenance.to_pairs(),
    }


def _weight_bytes(networks: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(networks))
