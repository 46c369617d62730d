"""Starting AEI-Net for larger pictures from one for smaller ones: what fits is kept."""

import dataclasses
import re
from typing import Any

from flax import traverse_util

from faceshifter_jax.models import AEINet
from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.network import Network

_CHANNELS = ("encoder_channels", "generator_channels")


def grow(network: Network, needed: Network) -> tuple[Network, list[str]]:
    """Gives a trained AEI-Net the outer levels that one for larger pictures has in addition.

    The levels inside see the same sizes as before: the attribute encoder's levels are counted from
    the picture inwards and move on by the number of new ones, the generator's are counted from the
    first map and keep their numbers. Layers whose shapes differ, at the seam, are left out.

    Args:
      network: the trained network.
      needed: the one that is to start, with things that have a shape for weights.

    Returns:
      The network with the channels and the size of `needed` and with the weights that are kept,
      and the names of the layers that stay fresh; the network itself and no names if `needed` has
      not the same levels and more outer ones.
    """
    if not _has_more_levels(network, needed):
        return network, []
    levels = len(_encoder_channels(needed)) - len(_encoder_channels(network))
    given, wanted = _flatten(network.variables), _flatten(needed.variables)
    moved = {_move_outwards(path, levels): leaf for path, leaf in given.items()}
    kept = {
        path: moved[path]
        for path, leaf in wanted.items()
        if path in moved and moved[path].shape == leaf.shape
    }
    fresh = sorted({_layer(path) for path in wanted.keys() - kept.keys()})
    grown = dataclasses.replace(
        network,
        settings={**network.settings, **{name: needed.settings[name] for name in _CHANNELS}},
        image_size=needed.image_size,
        variables=traverse_util.unflatten_dict(kept, sep="/"),
    )
    return grown, fresh


def _has_more_levels(network: Network, needed: Network) -> bool:
    if (network.architecture, needed.architecture) != ("AEINet", "AEINet"):
        return False
    old, new = _encoder_channels(network), _encoder_channels(needed)
    levels = len(new) - len(old)
    return (
        levels > 0
        and new[levels:] == old
        and _module(needed).generator_channels[:-levels] == _module(network).generator_channels
    )


def _encoder_channels(network: Network) -> tuple[int, ...]:
    return tuple(_module(network).encoder_channels)


def _module(network: Network) -> AEINet:
    module: Any = build_network(network)
    return module


def _flatten(tree: Any) -> dict[str, Any]:
    return traverse_util.flatten_dict(dict(tree), sep="/")


def _move_outwards(path: str, levels: int) -> str:
    return re.sub(
        r"(encoder/down(?:_norm)?_)(\d+)",
        lambda match: f"{match[1]}{int(match[2]) + levels}",
        path,
    )


def _layer(path: str) -> str:
    """The name of a layer, or of a block of layers: params/encoder/down_0/kernel -> down_0."""
    return path.split("/")[2]
