"""Filling our modules with the tensors of a published network."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.convert.layouts import Layout, Shape, default_layout
from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.network import check_finite

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "slope": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_SHOWN_PROBLEMS = 3


def fill(
    module: nn.Module,
    input_shapes: tuple[Shape, ...],
    state: StateDict,
    module_key: Callable[..., str],
    *,
    family: str,
    layouts: Mapping[str, Layout] | None = None,
) -> dict[str, dict[str, Any]]:
    """Returns the variables of `module`, every array from the tensor that it is published as.

    Args:
      module: the network to fill.
      input_shapes: the shapes of what it takes.
      state: the published tensors; all of them must be needed.
      module_key: called with the names of a module and of those around it, from the outside in;
        returns the module's key in `state`.
      family: what to call the published network in messages.
      layouts: name of a module -> layout of its kernel, where that is not the default.

    Returns:
      {"params": ..., "batch_stats": ...}, nested dicts of float32 arrays of their own.

    Raises:
      UserError: a tensor is missing, superfluous or of another shape, or is not made of finite
        numbers.
    """
    wanted = jax.eval_shape(
        lambda: module.init(jax.random.key(0), *[jnp.zeros(shape) for shape in input_shapes])
    )
    leaves = cast(Mapping[tuple[str, ...], Any], traverse_util.flatten_dict(wanted))
    sources = {
        path: _source(path, leaf.shape, module_key, layouts or {}) for path, leaf in leaves.items()
    }
    _check_complete(state, {key: published for key, _, published, _ in sources.values()}, family)
    filled = {
        path: _read(state, key, layout, shape) for path, (key, layout, _, shape) in sources.items()
    }
    tree = traverse_util.unflatten_dict(filled)
    return {"params": tree["params"], "batch_stats": tree.get("batch_stats", {})}


def keys_by_stage(outer: Mapping[str, str], inner: Mapping[str, str]) -> Callable[..., str]:
    """Returns the `module_key` of networks whose blocks are called `layerSTAGE.BLOCK`.

    Args:
      outer: name of a module outside of the blocks -> its key.
      inner: name of a module inside of a block, which is `stage_0_block_1` or so -> its key.
    """

    def module_key(name: str, *inside: str) -> str:
        if not inside:
            return outer[name]
        _, stage, _, block = name.split("_")
        return f"layer{int(stage) + 1}.{block}.{inner[inside[0]]}"

    return module_key


def _source(
    path: tuple[str, ...],
    shape: Shape,
    module_key: Callable[..., str],
    layouts: Mapping[str, Layout],
) -> tuple[str, Layout, Shape, Shape]:
    """Returns the key of the tensor for our array, its layout, its shape, and ours."""
    # Our BatchNorm wraps Flax's; the bias of the generator's first map is next to its kernel.
    modules = [name for name in path[1:-1] if name != "norm"]
    leaf = path[-1]
    if leaf == "start_bias":
        modules, leaf = [*modules, "start"], "bias"
    layout = default_layout(len(shape))
    if leaf == "kernel":
        layout = layouts.get(modules[-1], layout)
    key = f"{module_key(*modules)}.{_LEAVES[leaf]}"
    return key, layout, layout.published_shape(shape), shape


def _check_complete(state: StateDict, wanted: Mapping[str, Shape], family: str) -> None:
    problems = [f"{key} {shape} is missing" for key, shape in wanted.items() if key not in state]
    for key, tensor in state.items():
        shape = tuple(tensor.shape)
        if key not in wanted:
            problems.append(f"{key} {shape} belongs to nothing")
        elif shape != wanted[key]:
            problems.append(f"{key} has shape {shape}, needed is {wanted[key]}")
    if problems:
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        hidden = len(problems) - _SHOWN_PROBLEMS
        more = f"; and {hidden} more" if hidden > 0 else ""
        raise UserError(f"{state.path} looks like {family}, but {shown}{more}")


def _read(state: StateDict, key: str, layout: Layout, shape: Shape) -> np.ndarray:
    tensor = state[key]
    if tensor.dtype.kind in "biuc":
        raise UserError(
            f"{state.path}: {key} holds {tensor.dtype} numbers: only weights in floating point "
            "are understood"
        )
    array = np.array(layout.to_ours(tensor, shape), np.float32, order="C")
    return check_finite(
        array, f"{state.path}: {key} holds numbers that are not finite: it is damaged"
    )
