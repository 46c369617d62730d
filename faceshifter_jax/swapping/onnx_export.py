"""A part of a trained swap as an ONNX file, by way of jax2onnx."""

import contextlib
import importlib
import importlib.metadata
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jax import export

from faceshifter_jax.errors import UserError
from faceshifter_jax.models.layers import plain_lowering
from faceshifter_jax.swapping.export_parts import Part

METADATA_KEY = "faceshifter_jax"
"""Under it, a file's metadata hold the facts as JSON."""
OPSET = 20
_LARGEST = 2**31  # bytes of a protocol buffer, weights included


def export_onnx(
    part: Part, batch: int | None, facts: Mapping[str, Any]
) -> tuple[bytes, dict[str, Any]]:
    """Converts a part.

    Args:
      part: of `load_part`.
      batch: rows that the graph takes at once, and no other number; None for any number.
      facts: what its metadata are to say.

    Returns:
      the file, whose inputs and outputs have the part's names, and facts on this format.

    Raises:
      UserError: jax2onnx is missing, does not fit the other packages or cannot convert the part, or
        the weights are more than such a file can hold.
    """
    if part.weight_bytes >= _LARGEST:
        raise UserError(
            f"an ONNX file holds less than 2 GB, these weights are {part.weight_bytes / 1e9:.1f}: "
            "write single networks with --part, or --format stablehlo"
        )
    convert = _import_converter()
    version = importlib.metadata.version("jax2onnx")
    rows = export.symbolic_shape("B")[0] if batch is None else batch
    inputs = [
        jax.ShapeDtypeStruct((rows, *one["shape"]), one["dtype"]) for one in part.inputs.values()
    ]
    with plain_lowering(), _only_errors("onnx_ir"):
        try:
            model = convert(
                part.function,
                inputs,
                model_name="faceshifter_jax",
                opset=OPSET,
                input_names=list(part.inputs),
                output_names=list(part.outputs),
            )
        except NotImplementedError as error:
            raise UserError(f"jax2onnx {version} cannot convert this network: {error}") from error
    told = {"format": f"ONNX, opset {OPSET}", "jax": jax.__version__, "jax2onnx": version}
    model.producer_name = METADATA_KEY
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps({**told, **facts}))
    return model.SerializeToString(), told


def check_converter() -> None:
    """Raises UserError where jax2onnx is missing or does not fit the other packages."""
    _import_converter()


def _import_converter() -> Callable[..., Any]:
    needed = "--format onnx needs the package jax2onnx: pip install 'faceshifter-jax[onnx]'"
    try:
        return importlib.import_module("jax2onnx").to_onnx
    except ModuleNotFoundError as error:
        if error.name == "jax2onnx":
            raise UserError(f"{needed}, in an environment of its own") from error
        raise UserError(f"{needed}; the one installed misses {error.name}") from error
    except (ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{needed}, in an environment of its own; the one installed does not fit the other "
            f"packages ({reason})"
        ) from error


@contextlib.contextmanager
def _only_errors(name: str) -> Iterator[None]:
    """Within it, a library's warnings are not logged: one for each shape that it leaves open."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
