"""Overriding how the networks in a file were fed, which no file records.

A family has one answer for all its files, but other projects took over its keys and feed their
networks otherwise.
"""

import argparse
import dataclasses

from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.convert.families.family import Converted
from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.contract import (
    REGION_SIDE,
    REGIONS,
    Contract,
    View,
    WantedIdentity,
)
from faceshifter_jax.networks.network import InputFormat, Network

_OF_GENERATORS = (
    *("side", "embedding", "range", "identity"),
    *("identity_region", "identity_resize", "identity_channel_order"),
)
_LARGEST_SIDE = 4096


def override(converted: Converted, options: argparse.Namespace, path: str) -> Converted:
    """Returns the networks with what the options say in place of what the family does.

    Raises:
      UserError: an option without such a network, or one that is not possible.
    """
    given = [name for name in _OF_GENERATORS if getattr(options, name) is not None]
    if given and "generator" not in converted.networks:
        names = " ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"{names}: for generators, and {path} holds none")
    if options.alignment and not {"generator", "identity"} & set(converted.networks):
        raise UserError(f"--alignment: for generators and identity networks, and {path} holds none")
    networks = {
        role: _override(role, network, options, path)
        for role, network in converted.networks.items()
    }
    return dataclasses.replace(converted, networks=networks)


def _override(role: str, network: Network, options: argparse.Namespace, path: str) -> Network:
    if network.input is not None:
        return _override_identity(network, network.input, options)
    changes = {}
    if options.channel_order:
        changes["channel_order"] = options.channel_order
    if role == "generator":
        changes["contract"] = _override_contract(network.feeding, options, path)
        if options.range:
            changes["settings"] = {**network.settings, "input_range": options.range}
    return dataclasses.replace(network, **changes)


def _override_identity(
    network: Network, taken: InputFormat, options: argparse.Namespace
) -> Network:
    order = options.identity_channel_order or options.channel_order
    if order:
        taken = dataclasses.replace(taken, channel_order=order)
    if options.alignment and options.alignment != taken.alignment:
        view = dataclasses.replace(taken.view, region=REGIONS[options.alignment])
        taken = dataclasses.replace(taken, alignment=options.alignment, view=view)
    return dataclasses.replace(network, input=taken)


def _override_contract(contract: Contract, options: argparse.Namespace, path: str) -> Contract:
    if options.alignment:
        contract = contract.aligned_by(options.alignment)
    changes = {}
    if options.side is not None:
        if not 1 <= options.side <= _LARGEST_SIDE:
            raise UserError(f"--side is from 1 to {_LARGEST_SIDE} pixels, not {options.side}")
        changes["side"] = options.side
    if options.embedding:
        changes["embedding"] = options.embedding
    view = contract.view
    if options.identity_resize:
        view = dataclasses.replace(view, resize=options.identity_resize)
    if options.identity_region:
        view = dataclasses.replace(view, region=_parse_region(options.identity_region))
    identity = _override_wanted(contract.identity, options, path)
    return dataclasses.replace(contract, view=view, identity=identity, **changes)


def _override_wanted(
    wanted: WantedIdentity | None, options: argparse.Namespace, path: str
) -> WantedIdentity | None:
    if options.identity_channel_order:
        if wanted is None:
            raise UserError(
                f"--identity-channel-order: {path} does not say which identity network it was "
                "trained with; that network's own file says its order"
            )
        wanted = dataclasses.replace(wanted, channel_order=options.identity_channel_order)
    if options.identity:
        weights = read_weights(options.identity)
        if "identity" not in weights.networks:
            raise UserError(f"--identity: {options.identity} holds no identity network")
        wanted = wanted or WantedIdentity("the one that --identity named")
        wanted = dataclasses.replace(wanted, sha256=weights.sha256)
    return wanted


def _parse_region(text: str) -> tuple[int, int]:
    begin, _, end = text.partition(":")
    if begin.isdecimal() and end.isdecimal() and int(begin) < int(end) <= REGION_SIDE:
        return int(begin), int(end)
    raise UserError(
        f"--identity-region must look like 19:237, two numbers from 0 to {REGION_SIDE}, not {text}"
    )


def describe_feeding(network: Network) -> list[str]:
    """Says how a network is fed, a line for each fact that holds for its kind."""
    lines = []
    taken, contract = network.input, network.contract
    if taken is not None:
        lines.append(f"alignment {taken.alignment}: it sees {taken.view}")
    else:
        drawn = "" if network.architecture == "MultiscaleDiscriminator" else " in and out"
        numbers = "[0, 1]" if network.settings.get("input_range") == "unit" else "[-1, 1]"
        lines.append(f"pictures in {network.channel_order.upper()}{drawn}, {numbers}")
    if contract is None:
        return lines
    side = contract.side or network.image_size
    resized = f", resized to {network.image_size}" if side != network.image_size else ""
    lines.append(f"alignment {contract.alignment}, squares of {side} pixels{resized}")
    lines.append(f"its identity network sees {_shown(contract.view, contract.identity)}")
    lines.append(
        f"embeddings {'of unit length' if contract.embedding == 'unit' else 'as they are'}"
    )
    if contract.identity is not None:
        lines.append(f"trained with {contract.identity.name}: name that with --identity")
    return lines


def _shown(view: View, wanted: WantedIdentity | None) -> str:
    if wanted is None:
        return str(view)
    return f"{view} to {wanted.size} pixels, in {wanted.channel_order.upper()}"
