"""The description of one kind of published PyTorch network."""

import dataclasses
from collections.abc import Callable, Mapping

from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.networks.network import Network


@dataclasses.dataclass(frozen=True)
class Converted:
    """The networks found in a file.

    Attributes:
      networks: role (`identity`, `generator`, `discriminator` or `hear`) -> network.
      family: what the file was recognised as, such as `arcface_torch IResNet-50`.
      notes: a line each on what was left out of the conversion, and why.
    """

    networks: Mapping[str, Network]
    family: str
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks that share their keys.

    Attributes:
      known: one line that says which networks these are.
      claims: whether a state dict is of this kind, whole or not; two families never claim one.
      convert: converts it; UserError where it is damaged or unsupported.
    """

    known: str
    claims: Callable[[StateDict], bool]
    convert: Callable[[StateDict], Converted]
