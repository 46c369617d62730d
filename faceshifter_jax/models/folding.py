"""Networks for evaluation alone: batch normalisations as part of the convolutions before them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import linen as nn

from faceshifter_jax.models.aei_net import AEINet
from faceshifter_jax.models.hear_net import HEARNet
from faceshifter_jax.models.layers import NORM_EPSILON

Tree = Mapping[str, Any]


def fold(module: nn.Module, variables: Tree) -> tuple[nn.Module, dict[str, Any]]:
    """Folds the batch normalisations that follow a convolution into its kernel and bias.

    Evaluated, both networks compute the same but for rounding; the folded one cannot be trained.
    Those of an AAD layer stay, as what comes before them is also added to the skip path.

    Args:
      module: an AEI-Net or a HEAR-Net.
      variables: its parameters and running statistics, float32.

    Returns:
      the module to apply, and its variables, numpy arrays where they are others than before.
    """
    params, stats = dict(variables["params"]), dict(variables.get("batch_stats", {}))
    if isinstance(module, AEINet):
        params["encoder"] = _fold_stage(params["encoder"], stats.pop("encoder", {}))
    elif isinstance(module, HEARNet):
        params, stats = _fold_stage(params, stats), {}
    else:
        return module, dict(variables)
    return module.clone(folded=True), {
        "params": params,
        **({"batch_stats": stats} if stats else {}),
    }


def _fold_stage(params: Tree, stats: Tree) -> dict[str, Any]:
    """Folds what an attribute encoder or a HEAR-Net normalises; elsewhere nothing changes."""
    folded = {name: layer for name, layer in params.items() if name not in stats}
    for name, running in stats.items():
        # `down_norm_0` follows `down_0`.
        conv = name.replace("_norm", "")
        folded[conv] = _fold_conv(folded[conv], params[name]["norm"], running["norm"])
    return folded


def _fold_conv(conv: Tree, norm: Tree, running: Tree) -> dict[str, np.ndarray]:
    conv, norm, running = (
        {name: np.asarray(leaf, np.float32) for name, leaf in tree.items()}
        for tree in (conv, norm, running)
    )
    factor = norm["scale"] / np.sqrt(running["var"] + NORM_EPSILON)
    bias = (conv.get("bias", 0) - running["mean"]) * factor + norm["bias"]
    return {"kernel": conv["kernel"] * factor, "bias": bias}
