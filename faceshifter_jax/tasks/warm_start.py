"""Starting a training run from trained networks (`config.init_from`)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.build import build_network, module_settings
from faceshifter_jax.networks.channels import in_rgb
from faceshifter_jax.networks.identity import check_identity
from faceshifter_jax.networks.network import Network, Part, Weights, name_networks, plain
from faceshifter_jax.tasks.growth import grow
from faceshifter_jax.tasks.task import Task, TrainState


def choose_networks(
    task: Task, sources: Sequence[Weights], identity: Weights | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Picks the networks that a training run can begin with.

    Args:
      task: what is to be trained.
      sources: what `config.init_from` names; where two have the same role, the first counts.
      identity: the identity network that the training run uses, if any.

    Returns:
      What `start_from` takes, and a line for each network saying where it comes from.

    Raises:
      UserError: a source holds no network of the task, or one that does not fit the config or the
        identity network; the message says how they differ.
    """
    parts = task.networks()
    found = _find_networks(sources, tuple(parts))
    wanted = jax.eval_shape(task.init, jax.random.key(0))
    lines = []
    for role, part in parts.items():
        if role not in found:
            lines.append(f"starting from: no {role} in config.init_from, so a fresh one")
            continue
        network, weights = found[role]
        path, needed = weights.path, part.take(wanted.params, wanted.batch_stats)
        network, fresh = grow(network, needed)
        found[role] = network, weights
        _check_same(network, path, part, needed, fresh)
        lines.append(f"starting from: {role} of {path}")
        if fresh:
            lines.append(f"the {role} grows to {network.image_size} pixels: {_name(fresh)} fresh")
        if part.inside:
            lines.append(f"the rest of the {part.player} is fresh")
        if role == "generator" and identity is not None:
            lines += _compare_identity(network, weights, identity)
    return {role: in_rgb(network).variables for role, (network, _) in found.items()}, lines


def start_from(
    state: TrainState, networks: Mapping[str, Any], parts: Mapping[str, Part]
) -> TrainState:
    """Returns the state with trained networks in place of fresh ones, their averages too.

    Args:
      state: the state before the first step; traceable.
      networks: role -> {"params", "batch_stats"}.
      parts: `Task.networks()`.
    """
    params, averages = dict(state.params), dict(state.ema_params)
    batch_stats = dict(state.batch_stats)
    for role, variables in networks.items():
        player, inside = parts[role].player, parts[role].inside
        for trees in (params, averages):
            if player in trees:
                new = variables["params"]
                trees[player] = _replace(trees[player], {inside: new} if inside else new)
        if player in batch_stats:
            batch_stats[player] = _replace(batch_stats[player], variables["batch_stats"])
    return dataclasses.replace(state, params=params, ema_params=averages, batch_stats=batch_stats)


def _replace(tree: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with copies of the trained leaves in place of its own; others stay as they are."""
    flat = traverse_util.flatten_dict(dict(tree))
    flat |= jax.tree.map(jnp.copy, traverse_util.flatten_dict(dict(trained)))
    return traverse_util.unflatten_dict(flat)


def _name(layers: Sequence[str]) -> str:
    verb = "is" if len(layers) == 1 else "are"
    return f"{', '.join(layers)} {verb}"


def _find_networks(
    sources: Sequence[Weights], roles: Sequence[str]
) -> dict[str, tuple[Network, Weights]]:
    found: dict[str, tuple[Network, Weights]] = {}
    for weights in sources:
        here = [role for role in roles if role in weights.networks]
        if not here:
            raise UserError(
                f"config.init_from: {weights.path} holds {name_networks(weights)}, "
                f"this training run starts from {' or '.join(roles) or 'none'}"
            )
        for role in here:
            found.setdefault(role, (weights.networks[role], weights))
    return found


def _compare_identity(network: Network, weights: Weights, identity: Weights) -> list[str]:
    """Lines about an identity network that is, or may be, another one than a generator's.

    Raises:
      UserError: it takes other pictures, or is not the one that the user said it was.
    """
    warnings = check_identity(network, weights.path, identity, setting="config.identity.weights")
    trained_with = weights.frozen.get("identity")
    if trained_with is not None and trained_with["sha256"] != identity.sha256:
        warnings.append(
            f"{weights.path} was trained with another identity network than the one in "
            f"{identity.path}, and learns its embeddings anew: for the same one set "
            f"config.identity.weights to {trained_with['path']}"
        )
    return [f"warning: {warning}" for warning in warnings]


def _check_same(
    network: Network, path: str, part: Part, needed: Network, fresh: Sequence[str] = ()
) -> None:
    """Checks that a trained network is the one that the config describes.

    Args:
      network: the trained network.
      path: where it was read from.
      part: the task's.
      needed: the task's network, with things that have a shape for weights.
      fresh: layers that `network` has no weights for, because it was grown.

    Raises:
      UserError: names the first differing keys with both shapes, and the settings to change.
    """
    if network.architecture != needed.architecture:
        raise UserError(
            f"config.init_from: {path} holds a {network.architecture}, this training run trains "
            f"{needed.architecture}"
        )
    given, wanted = (_shapes(tree) for tree in (network.variables, needed.variables))
    # Of a grown network, every array was compared when it was kept.
    all_keys = () if fresh else sorted(given.keys() | wanted)
    keys = [key for key in all_keys if given.get(key) != wanted.get(key)]
    flags = _differing_settings(network, part.settings)
    if keys or flags:
        shown = "; ".join(
            f"{key} is {given.get(key, 'missing')}, not {wanted.get(key, 'in the config')}"
            for key in keys[:3]
        )
        more = f"; and {len(keys) - 3} more" if len(keys) > 3 else ""
        advice = f": it needs {' '.join(flags)}" if flags else ""
        differs = f": {shown}{more}" if keys else ""
        raise UserError(
            f"the {network.architecture} in {path} is not the one of the config{differs}{advice}"
        )
    if network.input != needed.input:
        raise UserError(
            f"{path} takes other pictures ({network.input}) than this training run feeds: "
            f"{needed.input} (RGB of config.model.input_size pixels in [-1, 1], aligned by "
            "config.data.alignment)"
        )


def _shapes(tree: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    flat: dict[str, Any] = traverse_util.flatten_dict(dict(tree), sep="/")
    return {key: tuple(leaf.shape) for key, leaf in flat.items()}


def _differing_settings(network: Network, settings: Mapping[str, Any]) -> list[str]:
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
    # What a network of an earlier version does not say is what its module does by default.
    made_of = module_settings(build_network(network))
    trained = {**facts, **traverse_util.flatten_dict(plain(made_of), sep=".")}
    flags = []
    for key, value in traverse_util.flatten_dict(plain(settings), sep=".").items():
        # The network's own names have no section of the config before them.
        was = trained.get(key.partition(".")[2] or key)
        if was is not None and was != value:
            flags.append(f"--config.{key}={_as_flag(was)}")
    return flags


def _as_flag(value: Any) -> str:
    return "'" + str(value).replace(" ", "") + "'" if isinstance(value, tuple) else str(value)
