"""A trained network as plain data: its architecture, its input, and its weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from faceshifter_jax.networks.contract import CHANNEL_ORDERS, REGIONS, USUAL_VIEW, Contract, View


@dataclasses.dataclass(frozen=True)
class InputFormat:
    """The pictures that an identity network takes.

    Attributes:
      size: side in pixels.
      channel_order: `rgb` or `bgr`.
      mean, scale: a grey level g in [0, 255] enters the network as (g - mean) / scale.
      alignment: of the squares that it is fed from where nothing else is said.
      view: what it sees of them.
    """

    size: int
    channel_order: str = "rgb"
    mean: float = 127.5
    scale: float = 127.5
    alignment: str = "arcface"
    view: View = USUAL_VIEW

    def __post_init__(self):
        known = self.channel_order in CHANNEL_ORDERS and self.alignment in REGIONS
        if not known or self.size < 1 or not self.scale:
            raise ValueError(f"impossible pictures: {self}")


@dataclasses.dataclass(frozen=True)
class Network:
    """One trained network.

    Attributes:
      architecture: class name of the linen module: `IResNet`, `MobileFaceNet`, `ResNet`, `AEINet`,
        `HEARNet` or `MultiscaleDiscriminator`.
      settings: the module's keyword arguments, except dtype and axis name; plain values, with
        lists for tuples and nested dicts.
      variables: {"params": ..., "batch_stats": ...}, nested dicts of float32 numpy arrays as
        the module's `init` has them.
      embedding_size: length of the embedding that it gives (identity networks) or takes
        (generators), None for the others.
      input: what an identity network takes, None for the others.
      image_size: side in pixels of the pictures that any other network was trained on, None
        if it is not known.
      channel_order: of the pictures that any other network takes and draws, `rgb` or `bgr`.
      contract: how a generator is fed; None for the others.
    """

    architecture: str
    settings: Mapping[str, Any]
    variables: Mapping[str, Any]
    embedding_size: int | None = None
    input: InputFormat | None = None
    image_size: int | None = None
    channel_order: str = "rgb"
    contract: Contract | None = None

    def __post_init__(self):
        if self.channel_order not in CHANNEL_ORDERS:
            raise ValueError(f"impossible channel order: {self.channel_order!r}")

    @property
    def feeding(self) -> Contract:
        """The contract; files and checkpoints from before there were any follow the usual one."""
        return self.contract or Contract()


class Weights(Protocol):
    """Trained networks, as a reader of checkpoints and network files hands them to a task.

    Attributes:
      networks: role (`identity`, `generator`, `discriminator` or `hear`) -> network.
      path: the path that was asked for.
      sha256: hash of the weights.
      frozen: the frozen networks that they were trained with, name -> {"path", "sha256"}; empty
        where that is not known.
    """

    networks: Mapping[str, Network]
    path: str
    sha256: str
    frozen: Mapping[str, Mapping[str, str]]


def name_networks(weights: Weights) -> str:
    """Names the networks in weights, for an error message: `an identity network`."""
    articles = (("an " if role[0] in "aeiou" else "a ") + role for role in weights.networks)
    return " and ".join(f"{role} network" for role in articles) or "no known network"
