"""Networks for evaluation alone: batch normalisations as part of the convolutions before them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import linen as nn

from faceshifter_jax.models.aei_net import AEINet
from faceshifter_jax.models.arcface import IResNet
from faceshifter_jax.models.hear_net import HEARNet
from faceshifter_jax.models.layers import NORM_EPSILON

Tree = Mapping[str, Any]

# Elsewhere the names show it: `down_norm_0` follows `down_0`.
_CONV_BEFORE = {"norm_2": "conv_1", "norm_3": "conv_2"}


def fold(module: nn.Module, variables: Tree) -> tuple[nn.Module, dict[str, Any]]:
    """Folds the batch normalisations around a convolution or dense layer into its kernel and bias.

    In evaluation both networks compute the same up to rounding; the folded one cannot be trained.
    Those of an AAD layer stay, because their input is also added to the skip path; so do those that
    begin a block of an IResNet.

    Args:
      module: an AEI-Net, a HEAR-Net or an IResNet; any other network stays as it is.
      variables: its parameters and running statistics, float32.

    Returns:
      the module to apply, and its variables, numpy arrays where they changed.
    """
    params, stats = dict(variables["params"]), dict(variables.get("batch_stats", {}))
    if isinstance(module, AEINet):
        params["encoder"] = _fold_stage(params["encoder"], stats.pop("encoder", {}))
    elif isinstance(module, HEARNet):
        params, stats = _fold_stage(params, stats), {}
    elif isinstance(module, IResNet):
        params, stats = _fold_iresnet(params, stats)
    else:
        return module, dict(variables)
    return module.clone(folded=True), {
        "params": params,
        **({"batch_stats": stats} if stats else {}),
    }


def _fold_iresnet(params: Tree, stats: Tree) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the parameters, and the statistics that are still needed."""
    last = stats["out_norm"]["norm"]
    blocks = {name: running for name, running in stats.items() if "_block_" in name}
    folded = _fold_stage(params, _without(stats, "out_norm", *blocks))
    norm = folded.pop("out_norm")["norm"]
    folded["embedding"] = _fold_dense_after(folded["embedding"], norm, last)
    for name, running in blocks.items():
        # The convolution after `norm_1` is padded with zeros, which the shift does not move.
        folded[name] = _fold_stage(params[name], _without(running, "norm_1"))
    return folded, {name: {"norm_1": running["norm_1"]} for name, running in blocks.items()}


def _without(tree: Tree, *names: str) -> dict[str, Any]:
    return {name: part for name, part in tree.items() if name not in names}


def _fold_stage(params: Tree, stats: Tree) -> dict[str, Any]:
    """Folds the normalisations of `stats`, each of which follows a convolution or dense layer."""
    folded = _without(params, *stats)
    for name, running in stats.items():
        conv = _CONV_BEFORE.get(name, name.replace("_norm", ""))
        folded[conv] = _fold_conv(folded[conv], params[name]["norm"], running["norm"])
    return folded


def _fold_conv(conv: Tree, norm: Tree, running: Tree) -> dict[str, np.ndarray]:
    """The layer with the normalisation of its output."""
    conv, (factor, shift) = _to_numpy(conv), _affine(norm, running)
    return {"kernel": conv["kernel"] * factor, "bias": conv.get("bias", 0) * factor + shift}


def _fold_dense_after(dense: Tree, norm: Tree, running: Tree) -> dict[str, np.ndarray]:
    """The layer with the normalisation of the map (H, W, C) whose numbers it takes in a row."""
    dense, (factor, shift) = _to_numpy(dense), _affine(norm, running)
    kernel = dense["kernel"].reshape(-1, len(factor), dense["kernel"].shape[-1])
    bias = dense["bias"] + np.einsum("pce,c->e", kernel, shift)
    return {"kernel": (kernel * factor[:, None]).reshape(dense["kernel"].shape), "bias": bias}


def _affine(norm: Tree, running: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Factor and shift of each channel, as which a normalisation is evaluated."""
    norm, running = _to_numpy(norm), _to_numpy(running)
    factor = norm.get("scale", 1) / np.sqrt(running["var"] + NORM_EPSILON)
    return factor, norm["bias"] - running["mean"] * factor


def _to_numpy(tree: Tree) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf, np.float32) for name, leaf in tree.items()}
