"""A trained swap, source and target to result, as a StableHLO program with its weights."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.networks.file import describe_network
from faceshifter_jax.swapping.export_command import PLATFORMS
from faceshifter_jax.swapping.stage_functions import run_stages
from faceshifter_jax.swapping.stages import load_stages


def export_swap(
    checkpoint: str, identity: str | None, hear: str | None, batch: int
) -> tuple[bytes, dict[str, Any]]:
    """Exports all stages of a swap.

    Args:
      checkpoint, identity, hear: as in `load_stages`.
      batch: pictures that the program takes at once; it takes no other number.

    Returns:
      what `jax.export.deserialize` reads: a program of two arguments, source and target, uint8
      (batch, S, S, 3), RGB, aligned, with the swap as its result, the same; S of the source may be
      another. And plain facts: shapes, how the squares are aligned, the networks, and the
      statement of provenance for pictures.

    Raises:
      UserError: the networks cannot be read, or `batch` is below 1.
    """
    if batch < 1:
        raise UserError(f"--batch must be at least 1, not {batch}")
    stages = load_stages(checkpoint, identity, hear)

    def swap(source: jax.Array, target: jax.Array) -> jax.Array:
        result = run_stages(stages.networks, source, target)[:, -1]
        return jnp.round((jnp.clip(result, -1, 1) + 1) * 127.5).astype(jnp.uint8)

    shapes = {
        name: (batch, size, size, 3)
        for name, size in (("source", stages.square_size), ("target", stages.image_size))
    }
    arguments = [jax.ShapeDtypeStruct(shape, jnp.uint8) for shape in shapes.values()]
    exported = export.export(jax.jit(swap), platforms=PLATFORMS)(*arguments)
    pictures = {
        name: {"shape": list(shape), "dtype": "uint8", "range": [0, 255], "channel_order": "rgb"}
        for name, shape in shapes.items()
    }
    networks = {"generator": stages.generator.networks["generator"]}
    if stages.hear is not None:
        networks["hear"] = stages.hear.networks["hear"]
    provenance = Provenance(
        checkpoint_sha256=stages.generator.sha256,
        hear_sha256=stages.hear.sha256 if stages.hear else None,
        identity_sha256=stages.generator.frozen["identity"]["sha256"],
    )
    facts = {
        "format": "StableHLO, as jax.export.serialize writes it",
        "jax": jax.__version__,
        "platforms": list(PLATFORMS),
        "inputs": pictures,
        "outputs": {"swap": pictures["target"]},
        "alignment": stages.contract.alignment,
        "networks": {role: describe_network(network) for role, network in networks.items()},
        "provenance": provenance.to_pairs(),
    }
    return bytes(exported.serialize()), facts
