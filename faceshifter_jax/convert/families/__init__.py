"""Published PyTorch networks, recognised by the keys and shapes of their state dicts."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from faceshifter_jax.convert.families import (
    discriminator,
    ghost,
    hear,
    ir,
    iresnet,
    maum,
    resnet,
    taotaonice,
)
from faceshifter_jax.convert.families.family import Converted, Family
from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.errors import UserError

_FAMILIES = tuple(
    module.FAMILY for module in (iresnet, ir, resnet, ghost, taotaonice, maum, hear, discriminator)
)
KNOWN: tuple[str, ...] = tuple(family.known for family in _FAMILIES)


def convert_state_dict(tensors: Mapping[str, np.ndarray], path: str) -> Converted:
    """Converts the state dict of a published network.

    Args:
      tensors: the tensors by key; a prefix that all keys share is left out of account.
      path: where they come from, for messages.

    Raises:
      UserError: not a network that is known, one that is known but not supported, or one with
        tensors that are missing, superfluous, of another shape or not finite.
    """
    state, prefix = StateDict(tensors, path), ""
    family = _find_family(state)
    while family is None and (first := state.common_prefix()):
        state, prefix = state.within(first), prefix + first
        family = _find_family(state)
    if family is None:
        raise _several(StateDict(tensors, path)) or _unknown(StateDict(tensors, path))
    converted = family.convert(state)
    if not prefix:
        return converted
    note = f"all keys start with {prefix}, which was left out"
    return dataclasses.replace(converted, notes=(*converted.notes, note))


def _find_family(state: StateDict) -> Family | None:
    claiming = [family for family in _FAMILIES if family.claims(state)]
    if len(claiming) > 1:
        raise UserError(
            f"{state.path} holds tensors of more than one network: save each to a file of its own "
            f"({'; '.join(family.known for family in claiming)})"
        )
    return claiming[0] if claiming else None


def _several(state: StateDict) -> UserError | None:
    """Describes several networks in one file, each under its own name."""
    found = {}
    for first in sorted({key.partition(".")[0] for key in state if "." in key}):
        if family := _find_family(state.within(f"{first}.")):
            found[first] = family.known
    if not found:
        return None
    listed = "; ".join(f"{first}: {known}" for first, known in found.items())
    return UserError(
        f"{state.path} holds tensors of more than one network: save the state_dict of one of "
        f"them to a file of its own ({listed})"
    )


def _unknown(state: StateDict) -> UserError:
    advice = "`faceshifter convert --list` shows what is understood"
    if not state:
        return UserError(f"{state.path} holds no weights: {advice}")
    shown = ", ".join(f"{key} {tuple(state[key].shape)}" for key in list(state)[:3])
    more = f" and {len(state) - 3} more" if len(state) > 3 else ""
    return UserError(f"{state.path} holds no network that is known, but {shown}{more}: {advice}")
