"""A trained network as plain data: its architecture, its input, and its weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
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


@dataclasses.dataclass(frozen=True)
class Part:
    """A network as a part of what a task trains.

    Attributes:
      network: what it is; it has no `variables`.
      player: the player that it belongs to, a key of the state's `params`.
      inside: the part of the player's parameters that it is, "" for all of them.
      settings: key of the config, such as `model.output` -> the value; those on which it depends.
    """

    network: Network
    player: str
    inside: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def take(self, params: Mapping[str, Any], batch_stats: Mapping[str, Any]) -> Network:
        """Returns the network with its weights, from those of all players."""
        own = params[self.player]
        variables = {
            "params": own[self.inside] if self.inside else own,
            "batch_stats": batch_stats.get(self.player, {}),
        }
        return dataclasses.replace(self.network, variables=variables)


@dataclasses.dataclass(frozen=True)
class Weights:
    """Trained networks as they were read from a checkpoint or a network file.

    Attributes:
      networks: role (`identity`, `generator`, `discriminator` or `hear`) -> network.
      path: the path that was asked for.
      sha256: hash of the weights.
      frozen: the frozen networks that they were trained with, name -> {"path", "sha256"}; empty
        where that is not known.
      directory: the absolute path of what was read, `workdir`/checkpoints/STEP or a file.
      step: the number of updates behind them, 0 for a network file.
      config: the complete config of the training run; its sequences are tuples. Empty, as are
        the following, for a network file.
      params: player -> parameters as numpy arrays: their average over the steps where the
        training run kept one, else the parameters themselves.
      batch_stats: player -> running statistics as numpy arrays.
    """

    networks: Mapping[str, Network]
    path: str
    sha256: str = ""
    frozen: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    directory: str = ""
    step: int = 0
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    batch_stats: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def plain(value: Any) -> Any:
    """Returns settings as plain dicts, with tuples for sequences; a ConfigDict is no Mapping."""
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def name_networks(weights: Weights) -> str:
    """Names the networks in weights, for an error message: `an identity network`."""
    articles = (("an " if role[0] in "aeiou" else "a ") + role for role in weights.networks)
    return " and ".join(f"{role} network" for role in articles) or "no known network"


def check_finite(numbers: np.ndarray, complaint: str) -> np.ndarray:
    """Returns the numbers as they are; UserError with the complaint if one is not finite."""
    if not np.isfinite(numbers).all():
        raise UserError(complaint)
    return numbers
