"""What a training needs before its first step."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from flax import traverse_util
from ml_collections import ConfigDict

from faceshifter_jax.data import PreparedDataset
from faceshifter_jax.errors import UserError
from faceshifter_jax.training.checkpoint import Checkpoints, read_weights
from faceshifter_jax.training.parallel import Parallel
from faceshifter_jax.training.weights import hash_arrays

SAMPLE_ROWS = 8
# The sample grid shows rows of another seed, the same ones for the whole training.
SAMPLE_SEED_OFFSET = 1_000_003

_NEEDED = ("task", "parallel", "data", "init_from", "distributed", "compilation_cache")
# Settings that the processes of one training may have each for itself.
_OF_ONE_PROCESS = (
    *("path", "subset", "occluders", "weights", "init_from", "compilation_cache"),
    *("coordinator", "process_id", "timeout_seconds"),
    *("num_threads", "prefetch_batches", "cache_megabytes"),
)
_AT_LEAST_ONE = ("num_steps", "batch_size", "log_every_steps", "keep_checkpoints", "image_size")
_AT_LEAST_ZERO = ("seed", "save_every_steps", "sample_every_steps", "keep_every_steps")
# Name of a setting, in whatever section -> whether its value can work, and what it must be.
_RANGES = {
    **dict.fromkeys(_AT_LEAST_ONE, (lambda value: value >= 1, "at least 1")),
    **dict.fromkeys((*_AT_LEAST_ZERO, "warmup_steps"), (lambda value: value >= 0, "at least 0")),
    "learning_rate": (lambda value: value > 0, "above 0"),
    "ema_decay": (lambda value: 0 <= value < 1, "at least 0 and less than 1"),
}


def check_config(config: ConfigDict) -> None:
    """Checks the settings that the loop itself uses, and rates and steps of the optimisers.

    Raises:
      UserError: one is missing or out of range.
    """
    for key in (*_NEEDED, *_AT_LEAST_ONE, *_AT_LEAST_ZERO):
        if key not in config:
            raise UserError(f"the config lacks the key {key!r}")
    for key, value in traverse_util.flatten_dict(config.to_dict(), sep=".").items():
        is_possible, what = _RANGES.get(key.rpartition(".")[2], (None, ""))
        if is_possible and not is_possible(value):
            raise UserError(f"config.{key} is {value}: it must be {what}")


def fill_num_classes(config: ConfigDict) -> None:
    """Sets `config.model.num_classes`, where a config has it and it is 0, from the dataset.

    Raises:
      UserError: there is no prepared dataset at `config.data.path`, or it has another number of
        identities than the config says.
    """
    num_classes = config.get("model", {}).get("num_classes")
    if num_classes is None:
        return
    num_identities = PreparedDataset(config.data.path).num_identities
    if num_classes not in (0, num_identities):
        raise UserError(
            f"config.model.num_classes is {num_classes}, but the dataset in {config.data.path} "
            f"has {num_identities} identities: set it to 0 to take the dataset's number"
        )
    config.model.num_classes = num_identities


def build_loader_from(
    build_loader: Callable, config: ConfigDict, batch_kind: str, first_step: int
) -> Any:
    """Returns this process's loader, which begins at `first_step`."""
    return build_loader(
        batch_kind,
        config.data,
        seed=config.seed,
        batch_size=config.batch_size,
        image_size=config.image_size,
        first_step=first_step,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def load_frozen(task: Any) -> tuple[Any, dict[str, dict[str, str]]]:
    """Returns the frozen networks, and where they came from.

    The second value is name -> {"path", "sha256"}, for the checkpoints.
    """
    weights = {name: read_weights(path) for name, path in task.frozen_sources().items()}
    sources = {name: {"path": w.directory, "sha256": w.sha256} for name, w in weights.items()}
    return task.load_frozen(weights), sources


def common_facts(meta: Mapping[str, Any], networks: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what must be equal in all processes, by the name to be shown if it is not.

    Paths may differ, as the hashes of what they hold tell more.

    Args:
      meta: that of new checkpoints.
      networks: see `load_start`.
    """
    config = {
        f"config.{key}": value
        for key, value in traverse_util.flatten_dict(dict(meta["config"]), sep=".").items()
        if key.rpartition(".")[2] not in _OF_ONE_PROCESS
    }
    return {
        **config,
        "the data": meta["dataset"],
        "the frozen networks": {name: source["sha256"] for name, source in meta["frozen"].items()},
        "the networks to begin with": {role: hash_arrays(tree) for role, tree in networks.items()},
    }


def load_start(task: Any, init_from: str) -> tuple[dict[str, Any], list[str]]:
    """Reads the networks that `config.init_from` names; returns them and what to say of them.

    Raises:
      UserError: weights that are missing or do not fit the config.
    """
    paths = [path.strip() for path in init_from.split(",") if path.strip()]
    if not paths:
        return {}, []
    return task.check_start([read_weights(path) for path in paths])


def init_or_restore(
    task: Any,
    seed: int,
    checkpoints: Checkpoints,
    first_step: int,
    parallel: Parallel,
    networks: Mapping[str, Any],
) -> Any:
    """Returns the state of step `first_step` on the devices.

    It is a new one, with `networks` (see `load_start`) in place of fresh ones, or a checkpoint's.
    """
    key = jax.random.key(seed)
    if first_step:
        return checkpoints.restore(first_step, jax.eval_shape(task.init, key), parallel.replicated)
    state = parallel.compile_init(task.init)(key)
    if not networks:
        return state
    # Compiled, so that parameters and their average get memory of their own: both are donated.
    start_from = jax.jit(task.start_from, out_shardings=parallel.replicated)
    return start_from(state, parallel.replicate(networks))


def read_samples(config: ConfigDict, batch_kind: str, build_loader: Callable) -> Mapping[str, Any]:
    """Returns the rows that the sample grids show, whole and equal in every process."""
    loader = build_loader(
        batch_kind,
        config.data,
        seed=config.seed + SAMPLE_SEED_OFFSET,
        batch_size=SAMPLE_ROWS,
        image_size=config.image_size,
    )
    try:
        return next(loader)
    finally:
        loader.close()


def describe(
    config: ConfigDict,
    info: Any,
    state: Any,
    sources: Mapping[str, Mapping[str, str]],
    parallel: Parallel,
    changes: str,
) -> Iterator[str]:
    """Yields the lines that a training begins with; `changes` are settings that are new."""
    kind = jax.devices()[0].device_kind
    yield f"task {config.task}: {config.num_steps} steps of {config.batch_size} pictures"
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    yield f"devices: {parallel.num_devices} x {kind}{processes}, compiled by {config.parallel}"
    counts = {
        player: sum(leaf.size for leaf in jax.tree.leaves(params))
        for player, params in state.params.items()
    }
    millions = (f"{player} {count / 1e6:.2f} M" for player, count in counts.items())
    yield f"parameters: {', '.join(millions)}"
    yield (
        f"data: {info.num_pictures} pictures of {info.num_identities} identities, "
        f"{info.image_size} pixels"
    )
    for name, source in sources.items():
        yield f"frozen: {name} from {source['path']}, sha256 {source['sha256'][:12]}"
    if changes:
        yield f"continuing with other settings: {changes}"


def nothing_to_do(workdir: Path, step: int, num_steps: int) -> str:
    """What to say of a training that is already where it should end."""
    return (
        f"{workdir} already holds step {step} of {num_steps}: nothing to do (a larger "
        "--config.num_steps trains on)"
    )
