"""Networks that were trained on BGR pictures, as networks for RGB pictures."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from faceshifter_jax.networks.network import Network

Tree = Mapping[str, Any]


def in_rgb(network: Network) -> Network:
    """The same function of RGB pictures, in and out, whichever order the network was trained on.

    The order of a picture's channels is that of the weights that read or draw them, so it is those
    that are turned round: exact, and nothing that works with the network needs to know.

    Args:
      network: an AEI-Net, HEAR-Net or discriminator. An identity network stays as it is: its
        `input` says its order.
    """
    turn = _TURNS.get(network.architecture)
    if network.channel_order == "rgb" or turn is None:
        return network
    variables = {**network.variables, "params": turn(network.variables["params"])}
    return dataclasses.replace(network, variables=variables, channel_order="rgb")


def _turn_aei_net(params: Tree) -> Tree:
    encoder = {**params["encoder"], "down_0": _reading(params["encoder"]["down_0"])}
    generator = params["generator"]
    last = max((name for name in generator if name.startswith("block_")), key=_number)
    drawing = {
        name: _drawing(layer)
        for name, layer in generator[last].items()
        if name.startswith("conv_") and layer["kernel"].shape[-1] == 3
    }
    return {
        **params,
        "encoder": encoder,
        "generator": {**generator, last: {**generator[last], **drawing}},
    }


def _turn_hear_net(params: Tree) -> Tree:
    return {
        **params,
        "down_0": _reading(params["down_0"]),
        "picture": _drawing(params["picture"]),
    }


def _turn_discriminator(params: Tree) -> Tree:
    return {name: {**scale, "conv_0": _reading(scale["conv_0"])} for name, scale in params.items()}


_TURNS = {
    "AEINet": _turn_aei_net,
    "HEARNet": _turn_hear_net,
    "MultiscaleDiscriminator": _turn_discriminator,
}


def _reading(conv: Tree) -> Tree:
    """A convolution of pictures, or of several whose channels are one after the other."""
    kernel = np.asarray(conv["kernel"])
    pictures = kernel.reshape(*kernel.shape[:2], -1, 3, kernel.shape[3])
    return {**conv, "kernel": np.ascontiguousarray(pictures[:, :, :, ::-1]).reshape(kernel.shape)}


def _drawing(conv: Tree) -> Tree:
    return {name: np.ascontiguousarray(np.asarray(leaf)[..., ::-1]) for name, leaf in conv.items()}


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])
