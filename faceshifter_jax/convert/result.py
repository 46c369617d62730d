"""What a converter hands over."""

import dataclasses
from collections.abc import Mapping

from faceshifter_jax.network import Network


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
