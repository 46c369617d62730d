"""What the package knows of one kind of published PyTorch network."""

import dataclasses
from collections.abc import Callable

from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.convert.result import Converted


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks that share their keys.

    Attributes:
      known: one line that says which networks these are.
      claims: whether a state dict is of this kind, whole or not; two families never claim one.
      convert: turns it into networks of ours; UserError where it is damaged or unsupported.
    """

    known: str
    claims: Callable[[StateDict], bool]
    convert: Callable[[StateDict], Converted]
