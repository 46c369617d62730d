"""A checkpoint's record of the run that wrote it, and checks that another run can continue it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from flax import traverse_util

from faceshifter_jax.errors import UserError

FORMAT_VERSION = 1
_ADVICE = "use what that run used, or another --workdir"


def config_to_json(config: Any) -> dict[str, Any]:
    """Returns the config as it is after a round trip through JSON: tuples become lists.

    Raises:
      TypeError: a value that JSON cannot hold, such as a numpy scalar.
    """
    return json.loads(json.dumps(config.to_dict()))


def build_meta(
    config: Any,
    *,
    dataset: str,
    frozen: Mapping[str, Mapping[str, str]],
    networks: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the `meta` part of a checkpoint.

    Args:
      config: the complete config of the training run.
      dataset: the fingerprint of the dataset.
      frozen: name of a frozen network -> {"path": ..., "sha256": ...}.
      networks: what `describe_parts` says of the task's networks; None leaves it out, as
        checkpoints did before they said it.
    """
    described = {} if networks is None else {"networks": dict(networks)}
    return {
        "format_version": FORMAT_VERSION,
        "task": config.task,
        "config": config_to_json(config),
        "dataset": dataset,
        "frozen": {name: dict(source) for name, source in frozen.items()},
        **described,
    }


def check_format(meta: dict[str, Any], path: Path) -> dict[str, Any]:
    """Returns `meta` if this version can read it, raises UserError otherwise."""
    version = meta.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has checkpoint format {version}, this version reads format "
            f"{FORMAT_VERSION}: use the version that wrote it"
        )
    return meta


def check_same_arrays(stored: Any, expected: Any, path: Path) -> None:
    """Compares two nested dicts of things with a shape and a dtype.

    Orbax would silently cast or ignore whatever does not fit.

    Raises:
      UserError: names the first differences.
    """
    stored, expected = _describe(stored), _describe(expected)
    # Parameters first: they tell more than the optimisers' copies of the same shapes.
    keys = sorted(stored.keys() | expected.keys(), key=lambda key: (key[:7] != "params/", key))
    differences = [
        f"{key} is {stored.get(key, 'missing')}, not {expected.get(key, 'in the model')}"
        for key in keys
        if stored.get(key) != expected.get(key)
    ]
    if differences:
        shown = "; ".join(differences[:3])
        more = f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise UserError(f"the checkpoint {path} does not fit the config: {shown}{more}: {_ADVICE}")


def check_same_run(stored: Mapping[str, Any], current: Mapping[str, Any], workdir: Path) -> None:
    """Compares the `meta` of a checkpoint with that of the training run that would continue it.

    Task, dataset, seed, picture size and the model's settings must be equal; everything else,
    such as the number of steps or a learning rate, may change from one start to the next.

    Raises:
      UserError: names the first difference.
    """
    if stored["task"] != current["task"]:
        raise UserError(
            f"{workdir} belongs to a run of the task {stored['task']!r}, not "
            f"{current['task']!r}: use another --workdir"
        )
    if stored.get("dataset", current["dataset"]) != current["dataset"]:
        raise UserError(
            f"{workdir} was started with another dataset (fingerprint {stored['dataset'][:12]}) "
            f"than config.data.path names now ({current['dataset'][:12]}), or with other shares of "
            f"several or another list of targets (config.data.subset): {_ADVICE}"
        )
    before, now = _fixed_settings(stored["config"]), _fixed_settings(current["config"])
    for key in sorted(before.keys() & now.keys()):
        if before[key] != now[key]:
            raise UserError(
                f"{workdir} was started with config.{key} = {before[key]!r}, not {now[key]!r}: "
                f"{_ADVICE}"
            )


def describe_changes(stored: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Returns how two configs differ, such as `batch_size 8 -> 16`; "" if they are equal."""
    before, now = (traverse_util.flatten_dict(config, sep=".") for config in (stored, current))
    return ", ".join(
        f"{key} {before.get(key, 'unset')} -> {now.get(key, 'unset')}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    )


def check_same_frozen(
    stored: Mapping[str, Mapping[str, str]], current: Mapping[str, Mapping[str, str]], workdir: Path
) -> None:
    """Checks by their hashes that the frozen networks read now are the checkpoint's.

    Raises:
      UserError: one of them has different weights now.
    """
    for name, source in current.items():
        before = stored.get(name, source)
        if before["sha256"] != source["sha256"]:
            raise UserError(
                f"{workdir} was started with other {name} weights (sha256 "
                f"{before['sha256'][:12]}, from {before['path']}) than {source['path']} holds "
                f"now ({source['sha256'][:12]}): {_ADVICE}"
            )


def _fixed_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that must stay the same within a training run, dotted key -> value."""
    fixed = {key: config[key] for key in ("image_size", "model", "seed") if key in config}
    return traverse_util.flatten_dict(fixed, sep=".")


def _describe(tree: Any) -> dict[str, str]:
    flat: dict[str, Any] = traverse_util.flatten_dict(tree, sep="/")
    return {
        key: f"{jax.numpy.dtype(leaf.dtype).name}{list(leaf.shape)}" for key, leaf in flat.items()
    }
