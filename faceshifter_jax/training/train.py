"""A training from its config to its last step: the same for every task."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from flax import traverse_util
from ml_collections import ConfigDict

from faceshifter_jax import data, tasks
from faceshifter_jax.checkpoints.compatibility import (
    build_meta,
    check_same_frozen,
    check_same_run,
    describe_changes,
)
from faceshifter_jax.checkpoints.manager import Checkpoints, read_weights
from faceshifter_jax.checkpoints.weights import hash_arrays
from faceshifter_jax.data import count_identities
from faceshifter_jax.errors import UserError
from faceshifter_jax.files import write_text
from faceshifter_jax.paths import local_path
from faceshifter_jax.runtime import distributed
from faceshifter_jax.runtime.compilation import use_compilation_cache
from faceshifter_jax.runtime.faults import no_room_is_one_line
from faceshifter_jax.runtime.parallel import Parallel, build_parallel
from faceshifter_jax.runtime.signals import catch_signals
from faceshifter_jax.training.config import check_config, make_paths_local
from faceshifter_jax.training.loop import Session
from faceshifter_jax.training.monitor import Monitor


def train(
    config: ConfigDict,
    workdir: str | Path,
    *,
    build_task: Callable[[ConfigDict], Any] | None = None,
    build_loader: Callable[..., Any] | None = None,
) -> Any:
    """Trains what `config` describes up to `config.num_steps`, from where `workdir` stands.

    The same call continues an interrupted training, bit for bit as if it had not been: every
    batch is a function of the seed and the step, and the state holds all the rest.

    Args:
      config: a complete config; it is not changed.
      workdir: receives config.json, checkpoints/, samples/, metrics.jsonl and TensorBoard files.
      build_task: `config -> Task`; `tasks.build_task` by default.
      build_loader: makes the loader; `data.build_loader` by default.

    Returns:
      The state after `config.num_steps` updates, or as it is in `workdir` if that is further.

    Raises:
      UserError: settings that cannot work, a workdir of another training, missing weights, a
        loss or a state that is not finite, no room on the disk.
      Interrupted: SIGINT or SIGTERM came, to one process at least; the state is saved.
    """
    config = config.copy_and_resolve_references()
    make_paths_local(config)
    workdir = Path(local_path(workdir)).absolute()
    parallel = _start_processes(config)
    with ExitStack() as stack:
        stack.enter_context(distributed.lost_process_is_one_line())
        stack.enter_context(no_room_is_one_line(workdir))
        checkpoints = stack.enter_context(_build_checkpoints(config, workdir))
        first_step = _find_first_step(checkpoints)
        with distributed.together():
            inputs = _read_inputs(
                config,
                checkpoints,
                first_step,
                build_task or tasks.build_task,
                build_loader or data.build_loader,
            )
            stack.enter_context(closing(inputs.loader))
        distributed.check_same_everywhere(_common_facts(inputs.meta, inputs.networks))
        frozen = parallel.replicate(inputs.frozen)
        state = _init_or_restore(
            inputs.task, config.seed, checkpoints, first_step, parallel, inputs.networks
        )
        if first_step >= config.num_steps:
            if distributed.is_first_process():
                print(_nothing_to_do(workdir, first_step, config.num_steps), flush=True)
            return state
        return _train_from(config, inputs, frozen, state, parallel, checkpoints, first_step)


def _start_processes(config: ConfigDict) -> Parallel:
    """Joins the other processes; returns how a step runs on the devices of all.

    Raises:
      UserError: settings that cannot work, alone or on these devices.
    """
    check_config(config)
    distributed.initialize(config.distributed)
    with distributed.together():
        use_compilation_cache(config.compilation_cache)
        parallel = build_parallel(config.parallel)
        parallel.check_batch_size(config.batch_size, config.get("accumulate_steps", 1))
    return parallel


def _build_checkpoints(config: ConfigDict, workdir: Path) -> Checkpoints:
    return Checkpoints(
        workdir,
        keep_newest=config.keep_checkpoints,
        keep_every_steps=config.keep_every_steps,
    )


def _find_first_step(checkpoints: Checkpoints) -> int:
    """Returns the step of the newest whole checkpoint, which one process reads for all, or 0."""
    with distributed.together():
        latest = checkpoints.latest_step()
        newest = checkpoints.newest_whole() if distributed.is_first_process() else None
    distributed.check_same_newest(checkpoints.workdir, latest)
    return distributed.from_first_process(newest) or 0


@dataclass(frozen=True)
class _Inputs:
    """What a training reads before it begins or goes on.

    Attributes:
      task: what is trained.
      loader: this process's, at the right step.
      frozen: the frozen networks.
      networks: see `_load_start`; empty for a training that goes on.
      start: lines that say where `networks` come from.
      samples: rows for the sample grids.
      meta: that of new checkpoints.
      changes: which settings are new in a training that goes on.
    """

    task: Any
    loader: Any
    frozen: Any
    networks: Mapping[str, Any]
    start: list[str]
    samples: Mapping[str, Any]
    meta: Mapping[str, Any]
    changes: str


def _read_inputs(
    config: ConfigDict,
    checkpoints: Checkpoints,
    first_step: int,
    build_task: Callable,
    build_loader: Callable,
) -> _Inputs:
    """Reads all that `config` names, after which no path in it is looked at again.

    Raises:
      UserError: something that is missing or does not fit, or a workdir of another training.
    """
    _fill_num_classes(config)
    task = build_task(config)
    loader = _build_loader_from(build_loader, config, task.batch_kind, first_step)
    with ExitStack() as stack:
        stack.enter_context(closing(loader))
        frozen, meta, changes = _continue_or_begin(
            config, task, checkpoints, first_step, loader.info.fingerprint
        )
        # A training that goes on needs them no more: they may be gone.
        networks, start = _load_start(task, "" if first_step else config.init_from)
        samples = _read_samples(config, task.batch_kind, build_loader)
        stack.pop_all()
    return _Inputs(task, loader, frozen, networks, start, samples, meta, changes)


def _train_from(
    config: ConfigDict,
    inputs: _Inputs,
    frozen: Any,
    state: Any,
    parallel: Parallel,
    checkpoints: Checkpoints,
    first_step: int,
) -> Any:
    """Trains on from `state`; returns the last one.

    From here on the training leaves something behind; a refused one has not.
    """
    with ExitStack() as stack:
        with distributed.together():
            monitor, moved = _open_workdir(config, inputs, checkpoints, first_step)
            stack.enter_context(closing(monitor))
        distributed.check_shared(checkpoints.workdir)
        _say_what_begins(config, inputs, state, parallel, monitor, moved)
        session = Session(
            config, inputs.task, parallel, inputs.loader, checkpoints, monitor, inputs.meta, frozen
        )
        session.stop = stack.enter_context(catch_signals())
        return session.run(state, first_step, inputs.samples)


def _open_workdir(
    config: ConfigDict, inputs: _Inputs, checkpoints: Checkpoints, first_step: int
) -> tuple[Monitor, list[str]]:
    """Makes the workdir ready to be written to; returns the monitor and what was moved in it."""
    workdir, moved = checkpoints.workdir, []
    if distributed.is_first_process():
        moved = checkpoints.create()
        write_text(workdir / "config.json", json.dumps(inputs.meta["config"], indent=2) + "\n")
    monitor = Monitor(
        workdir, first_step=first_step, num_steps=config.num_steps, health=inputs.task.health()
    )
    return monitor, moved


def _say_what_begins(
    config: ConfigDict,
    inputs: _Inputs,
    state: Any,
    parallel: Parallel,
    monitor: Monitor,
    moved: list[str],
) -> None:
    frozen = inputs.meta["frozen"]
    for line in (
        *_describe(config, inputs.loader.info, state, frozen, parallel, inputs.changes),
        *inputs.start,
        *moved,
    ):
        monitor.say(line)


def _continue_or_begin(
    config: ConfigDict,
    task: Any,
    checkpoints: Checkpoints,
    first_step: int,
    dataset: str,
) -> tuple[Any, dict[str, Any], str]:
    """Returns the frozen networks, the `meta` of new checkpoints, and what settings changed.

    Raises:
      UserError: the workdir holds another training.
    """
    workdir = checkpoints.workdir
    stored = checkpoints.read_meta(first_step) if first_step else None
    if stored:
        check_same_run(stored, build_meta(config, dataset=dataset, frozen={}), workdir)
    frozen, sources = _load_frozen(task)
    if stored:
        check_same_frozen(stored["frozen"], sources, workdir)
    meta = build_meta(config, dataset=dataset, frozen=sources)
    changes = describe_changes(stored["config"], meta["config"]) if stored else ""
    return frozen, meta, changes


_SAMPLE_ROWS = 8
# The sample grid shows rows of another seed, the same ones for the whole training.
_SAMPLE_SEED_OFFSET = 1_000_003
# Settings that the processes of one training may have each for itself.
_OF_ONE_PROCESS = (
    *("path", "subset", "occluders", "weights", "init_from", "compilation_cache"),
    *("coordinator", "process_id", "timeout_seconds"),
    *("num_threads", "prefetch_batches", "cache_megabytes"),
)


def _fill_num_classes(config: ConfigDict) -> None:
    """Sets `config.model.num_classes`, where a config has it and it is 0, from the dataset.

    Raises:
      UserError: there is no prepared dataset at `config.data.path`, or it has another number of
        identities than the config says.
    """
    num_classes = config.get("model", {}).get("num_classes")
    if num_classes is None:
        return
    num_identities = count_identities(config.data.path)
    if num_classes not in (0, num_identities):
        raise UserError(
            f"config.model.num_classes is {num_classes}, but the dataset in {config.data.path} "
            f"has {num_identities} identities: set it to 0 to take the dataset's number"
        )
    config.model.num_classes = num_identities


def _build_loader_from(
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


def _load_frozen(task: Any) -> tuple[Any, dict[str, dict[str, str]]]:
    """Returns the frozen networks, and where they came from.

    The second value is name -> {"path", "sha256"}, for the checkpoints.
    """
    weights = {name: read_weights(path) for name, path in task.frozen_sources().items()}
    sources = {name: {"path": w.directory, "sha256": w.sha256} for name, w in weights.items()}
    return task.load_frozen(weights), sources


def _common_facts(meta: Mapping[str, Any], networks: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what must be equal in all processes, by the name to be shown if it is not.

    Paths may differ, as the hashes of what they hold tell more.

    Args:
      meta: that of new checkpoints.
      networks: see `_load_start`.
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


def _load_start(task: Any, init_from: str) -> tuple[dict[str, Any], list[str]]:
    """Reads the networks that `config.init_from` names; returns them and what to say of them.

    Raises:
      UserError: weights that are missing or do not fit the config.
    """
    paths = [path.strip() for path in init_from.split(",") if path.strip()]
    if not paths:
        return {}, []
    return task.check_start([read_weights(path) for path in paths])


def _init_or_restore(
    task: Any,
    seed: int,
    checkpoints: Checkpoints,
    first_step: int,
    parallel: Parallel,
    networks: Mapping[str, Any],
) -> Any:
    """Returns the state of step `first_step` on the devices.

    It is a new one, with `networks` (see `_load_start`) in place of fresh ones, or a checkpoint's.
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


def _read_samples(config: ConfigDict, batch_kind: str, build_loader: Callable) -> Mapping[str, Any]:
    """Returns the rows that the sample grids show, whole and equal in every process."""
    loader = build_loader(
        batch_kind,
        config.data,
        seed=config.seed + _SAMPLE_SEED_OFFSET,
        batch_size=_SAMPLE_ROWS,
        image_size=config.image_size,
    )
    try:
        return next(loader)
    finally:
        loader.close()


def _describe(
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
    if len(info.datasets) > 1:
        for part in info.datasets:
            yield (
                f"data: {part.share:.4g} of the rows from {part.path}: {part.num_pictures} "
                f"pictures of {part.num_identities} identities"
            )
    for name, source in sources.items():
        yield f"frozen: {name} from {source['path']}, sha256 {source['sha256'][:12]}"
    if changes:
        yield f"continuing with other settings: {changes}"


def _nothing_to_do(workdir: Path, step: int, num_steps: int) -> str:
    """What to say of a training that is already where it should end."""
    return (
        f"{workdir} already holds step {step} of {num_steps}: nothing to do (a larger "
        "--config.num_steps trains on)"
    )
