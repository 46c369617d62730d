"""A part of a trained swap as a StableHLO program with its weights."""

import contextlib
from typing import Any

import jax
from jax import export

from faceshifter_jax.models.layers import plain_lowering
from faceshifter_jax.swapping.export_command import PLATFORMS
from faceshifter_jax.swapping.export_parts import Part


def export_stablehlo(part: Part, batch: int | None) -> tuple[bytes, dict[str, Any]]:
    """Exports a part.

    Args:
      part: of `load_part`.
      batch: rows that the program takes at once, and no other number; None for any number, with
        plain convolutions, which a CPU computes more slowly than those of one for it.

    Returns:
      what `jax.export.deserialize` reads, a program with the part's inputs as its arguments and a
      tuple of its outputs, an output alone without the tuple; and facts on this format.
    """

    def function(*arrays: jax.Array) -> Any:
        results = part.function(*arrays)
        return results[0] if len(results) == 1 else results

    rows = export.symbolic_shape("B")[0] if batch is None else batch
    arguments = [
        jax.ShapeDtypeStruct((rows, *one["shape"]), one["dtype"]) for one in part.inputs.values()
    ]
    with plain_lowering() if batch is None else contextlib.nullcontext():
        exported = export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
    facts = {
        "format": "StableHLO, as jax.export.serialize writes it",
        "jax": jax.__version__,
        "platforms": list(PLATFORMS),
    }
    return bytes(exported.serialize()), facts
