"""Starting a training run from trained networks (`config.init_from`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.network import Network, Weights, name_networks
from faceshifter_jax.tasks.task import TrainState


def find_networks(
    sources: Sequence[Weights], roles: Sequence[str]
) -> tuple[dict[str, tuple[Network, str]], list[str]]:
    """Picks the networks that a training run can start from.

    Args:
      sources: what `config.init_from` names; where two have the same role, the first counts.
      roles: the roles in the training run.

    Returns:
      role -> (network, path), and a line for each role that names its origin.

    Raises:
      UserError: a source holds no network of these roles.
    """
    found: dict[str, tuple[Network, str]] = {}
    for weights in sources:
        here = [role for role in roles if role in weights.networks]
        if not here:
            raise UserError(
                f"config.init_from: {weights.path} holds {name_networks(weights)}, "
                f"this training run starts from {' or '.join(roles)}"
            )
        for role in here:
            found.setdefault(role, (weights.networks[role], weights.path))
    lines = [
        f"starting from: {role} of {found[role][1]}"
        if role in found
        else f"starting from: no {role} in config.init_from, so a fresh one"
        for role in roles
    ]
    return found, lines


def check_same_network(
    network: Network,
    path: str,
    wanted: Any,
    architecture: str,
    settings: Mapping[str, Mapping[str, Any]],
) -> None:
    """Checks that a trained network is the one that the config describes.

    Args:
      network: the trained network.
      path: where it was read from.
      wanted: the variables that the config's network has, {"params", "batch_stats"} of things
        with a shape.
      architecture: what the run trains, such as `AEINet`.
      settings: a config's section, such as `model`, or "" for the top -> the settings in it on
        which the network depends.

    Raises:
      UserError: names the first differing keys with both shapes, and the settings to change.
    """
    if network.architecture != architecture:
        raise UserError(
            f"config.init_from: {path} holds a {network.architecture}, this training trains "
            f"{architecture}"
        )
    given, needed = (_shapes(tree) for tree in (network.variables, wanted))
    keys = [key for key in sorted(given.keys() | needed) if given.get(key) != needed.get(key)]
    flags = _differing_settings(network, settings)
    if not keys and not flags:
        return
    shown = "; ".join(
        f"{key} is {given.get(key, 'missing')}, not {needed.get(key, 'in the config')}"
        for key in keys[:3]
    )
    more = f"; and {len(keys) - 3} more" if len(keys) > 3 else ""
    advice = f": it needs {' '.join(flags)}" if flags else ""
    differs = f": {shown}{more}" if keys else ""
    raise UserError(
        f"the {network.architecture} in {path} is not the one of the config{differs}{advice}"
    )


def _shapes(tree: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    flat = traverse_util.flatten_dict(dict(tree), sep="/")
    return {key: tuple(leaf.shape) for key, leaf in flat.items()}


def adopt(state: TrainState, player: str, variables: Any, inside: str | None = None) -> TrainState:
    """Returns the state with a player's weights replaced by trained ones, the average too.

    Args:
      state: the state before the first step; traceable.
      player: the player whose weights are replaced.
      variables: {"params", "batch_stats"}.
      inside: the part of the player's parameters that they are, None for all of them.
    """

    def replace(params):
        new = jax.tree.map(jnp.copy, variables["params"])
        return {**params, player: {**params[player], inside: new} if inside else new}

    batch_stats = dict(state.batch_stats)
    if player in batch_stats:
        batch_stats[player] = jax.tree.map(jnp.copy, variables["batch_stats"])
    average = replace(state.ema_params) if player in state.ema_params else state.ema_params
    return state.replace(params=replace(state.params), ema_params=average, batch_stats=batch_stats)


def _differing_settings(network: Network, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The flags that turn the config's settings into those of a trained network."""
    feeding = network.feeding
    facts = {
        "embedding_size": network.embedding_size,
        "image_size": network.image_size,
        "alignment": feeding.alignment,
        "embedding": feeding.embedding,
        "region": feeding.view.region,
        "resize": feeding.view.resize,
    }
    trained = {**facts, **traverse_util.flatten_dict(_plain(network.settings), sep=".")}
    flags = []
    for section, values in settings.items():
        prefix = f"--config.{section}." if section else "--config."
        for key, value in traverse_util.flatten_dict(_plain(values), sep=".").items():
            if trained.get(key) is not None and trained[key] != value:
                flags.append(f"{prefix}{key}={_as_flag(trained[key])}")
    return flags


def _plain(value: Any) -> Any:
    # A ConfigDict is not a Mapping.
    if hasattr(value, "items"):
        return {key: _plain(item) for key, item in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _as_flag(value: Any) -> str:
    return "'" + str(value).replace(" ", "") + "'" if isinstance(value, tuple) else str(value)
