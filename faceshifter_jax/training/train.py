"""A training run from its config to its last step, in the order in which things happen."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
from flax import traverse_util

from faceshifter_jax import data, tasks
from faceshifter_jax.checkpoints.compatibility import (
    build_meta,
    check_same_frozen,
    check_same_run,
    describe_changes,
)
from faceshifter_jax.checkpoints.manager import Checkpoints
from faceshifter_jax.checkpoints.weights import hash_arrays, read_weights
from faceshifter_jax.files import write_text
from faceshifter_jax.networks.network import Weights
from faceshifter_jax.networks.trained import describe_parts
from faceshifter_jax.paths import check_text, local_path
from faceshifter_jax.runtime import distributed
from faceshifter_jax.runtime.compilation import use_compilation_cache
from faceshifter_jax.runtime.faults import no_room_is_one_line
from faceshifter_jax.runtime.parallel import Parallel, build_parallel, describe_state
from faceshifter_jax.runtime.signals import catch_signals
from faceshifter_jax.tasks.task import Task
from faceshifter_jax.tasks.warm_start import choose_networks, start_from
from faceshifter_jax.training.config import Config, check_config, fill_num_classes, make_paths_local
from faceshifter_jax.training.loop import Session
from faceshifter_jax.training.monitor import Monitor

_SAMPLE_ROWS = 8
# The sample grid shows rows of another seed, the same ones for the whole run.
_SAMPLE_SEED_OFFSET = 1_000_003
# Settings that each process of one training run may have for itself.
_OF_ONE_PROCESS = (
    *("path", "subset", "occluders", "weights", "init_from", "compilation_cache"),
    *("coordinator", "process_id", "timeout_seconds"),
    *("num_threads", "prefetch_batches", "cache_megabytes"),
)


def train(
    config: Config,
    workdir: str | Path,
    *,
    build_task: Callable[[Any], Task] = tasks.build_task,
    build_loader: Callable[..., Any] | None = None,
) -> Any:
    """Trains what `config` describes up to `config.num_steps`, from the state in `workdir` on.

    The same call continues an interrupted run, bit for bit as if it had not been interrupted: each
    batch is a function of the seed and the step, and the state holds everything else.

    Args:
      config: a complete config; it is not changed.
      workdir: receives config.json, checkpoints/, samples/, metrics.jsonl and TensorBoard files.
      build_task: `config -> Task`.
      build_loader: builds the loader; `data.build_loader` by default.

    Returns:
      The state after `config.num_steps` updates, or the state in `workdir` if that is further.

    Raises:
      UserError: settings that cannot work, a workdir of another training run, missing weights, a
        loss or a state that is not finite, a full disk.
      Interrupted: at least one process received SIGINT or SIGTERM; the state is saved.
    """
    config = config.copy_and_resolve_references()
    make_paths_local(config)
    check_config(config)
    workdir = Path(local_path(workdir)).absolute()
    check_text(workdir)
    parallel = _join_processes(config)
    with ExitStack() as stack:
        stack.enter_context(distributed.lost_process_is_one_line())
        stack.enter_context(no_room_is_one_line(workdir))
        kept = {"keep_newest": config.keep_checkpoints, "keep_every_steps": config.keep_every_steps}
        checkpoints = stack.enter_context(Checkpoints(workdir, **kept))
        first_step = _find_first_step(checkpoints)
        with distributed.together():
            inputs = _read_inputs(
                config, checkpoints, first_step, build_task, build_loader or data.build_loader
            )
            stack.enter_context(closing(inputs.loader))
        distributed.check_same_everywhere(_common_facts(inputs))
        frozen = parallel.replicate(inputs.frozen)
        state = _build_state(config, inputs, checkpoints, first_step, parallel)
        if first_step >= config.num_steps:
            _say_nothing_to_do(workdir, first_step, config.num_steps)
            return state
        # From here on the run writes to its workdir; a refused one has not.
        with distributed.together():
            monitor, moved = _open_workdir(config, inputs, checkpoints, first_step)
            stack.enter_context(closing(monitor))
        distributed.check_shared(workdir)
        for line in (*_describe(config, inputs, state, parallel), *inputs.start, *moved):
            monitor.say(line)
        session = Session(
            config, inputs.task, parallel, inputs.loader, checkpoints, monitor, inputs.meta, frozen
        )
        session.stop = stack.enter_context(catch_signals())
        return session.run(state, first_step, inputs.samples)


def _say_nothing_to_do(workdir: Path, step: int, num_steps: int) -> None:
    if distributed.is_first_process():
        print(
            f"{workdir} already holds step {step} of {num_steps}: nothing to do (a larger "
            "--config.num_steps continues training)",
            flush=True,
        )


def _join_processes(config: Config) -> Parallel:
    """Connects to the other processes; returns how a step runs on all devices.

    Raises:
      UserError: settings that cannot work on these devices.
    """
    distributed.initialize(config.distributed)
    with distributed.together():
        use_compilation_cache(config.compilation_cache)
        parallel = build_parallel(config.parallel, sharding=config.get("sharding", "replicated"))
        parallel.check_batch_size(config.batch_size, config.get("accumulate_steps", 1))
    return parallel


def _find_first_step(checkpoints: Checkpoints) -> int:
    """Returns the step of the newest undamaged checkpoint, or 0; one process reads it for all."""
    with distributed.together():
        latest = checkpoints.latest_step()
        newest = checkpoints.newest_whole() if distributed.is_first_process() else None
    distributed.check_same_newest(checkpoints.workdir, latest)
    return distributed.from_first_process(newest) or 0


@dataclass(frozen=True)
class _Inputs:
    """Inputs that a training run reads before it starts or continues.

    Attributes:
      task: what is trained.
      loader: this process's loader, at the right step.
      frozen: the frozen networks.
      networks: what `start_from` takes; empty for a continued run.
      start: lines that name the origin of `networks`.
      samples: rows for the sample grids.
      meta: the `meta` part of new checkpoints.
      changes: the settings that differ in a continued run.
    """

    task: Task
    loader: Any
    frozen: Any
    networks: Mapping[str, Any]
    start: list[str]
    samples: Mapping[str, Any]
    meta: Mapping[str, Any]
    changes: str


def _read_inputs(
    config: Config,
    checkpoints: Checkpoints,
    first_step: int,
    build_task: Callable[[Config], Task],
    build_loader: Callable[..., Any],
) -> _Inputs:
    """Reads everything that `config` names; no path in it is used after that.

    Raises:
      UserError: something is missing or does not fit, or the workdir belongs to another run.
    """
    fill_num_classes(config)
    task = build_task(config)
    build_loader = partial(build_loader, task.batch_kind, config.data, image_size=config.image_size)
    with ExitStack() as stack:
        loader = build_loader(
            seed=config.seed,
            batch_size=config.batch_size,
            first_step=first_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        stack.enter_context(closing(loader))
        frozen, sources, meta, changes = _start_or_continue(
            config, task, checkpoints, first_step, loader.info.fingerprint
        )
        # A continued run no longer needs them: they may be gone.
        paths = "" if first_step else config.init_from
        found = [read_weights(path.strip()) for path in paths.split(",") if path.strip()]
        networks, start = {}, []
        if found:
            networks, start = choose_networks(task, found, sources.get("identity"))
        # Complete and equal in every process.
        seed = config.seed + _SAMPLE_SEED_OFFSET
        with closing(build_loader(seed=seed, batch_size=_SAMPLE_ROWS)) as sample_loader:
            samples = next(sample_loader)
        stack.pop_all()
    return _Inputs(task, loader, frozen, networks, start, samples, meta, changes)


def _start_or_continue(
    config: Config, task: Task, checkpoints: Checkpoints, first_step: int, dataset: str
) -> tuple[Any, dict[str, Weights], dict[str, Any], str]:
    """Returns the frozen networks, the weights that they were read from, the `meta` of new
    checkpoints, and the changed settings.

    Raises:
      UserError: the workdir holds another training run.
    """
    workdir, networks = checkpoints.workdir, describe_parts(task.networks())
    stored = checkpoints.read_meta(first_step) if first_step else None
    if stored:
        now = build_meta(config, dataset=dataset, frozen={}, networks=networks)
        check_same_run(stored, now, workdir)
    weights = {name: read_weights(path) for name, path in task.frozen_sources().items()}
    sources = {name: {"path": w.directory, "sha256": w.sha256} for name, w in weights.items()}
    frozen = task.load_frozen(weights)
    if stored:
        check_same_frozen(stored["frozen"], sources, workdir)
    meta = build_meta(config, dataset=dataset, frozen=sources, networks=networks)
    changes = describe_changes(stored["config"], meta["config"]) if stored else ""
    return frozen, weights, meta, changes


def _common_facts(inputs: _Inputs) -> dict[str, Any]:
    """Returns the facts that must be equal in all processes, by the name shown if they differ.

    Paths may differ, because the hashes of their content are compared instead.
    """
    meta = inputs.meta
    config = {
        f"config.{key}": value
        for key, value in traverse_util.flatten_dict(dict(meta["config"]), sep=".").items()
        if key.rpartition(".")[2] not in _OF_ONE_PROCESS
    }
    start = {role: hash_arrays(tree) for role, tree in inputs.networks.items()}
    return {
        **config,
        "the data": meta["dataset"],
        "the frozen networks": {name: source["sha256"] for name, source in meta["frozen"].items()},
        "the initial networks": start,
    }


def _build_state(
    config: Config,
    inputs: _Inputs,
    checkpoints: Checkpoints,
    first_step: int,
    parallel: Parallel,
) -> Any:
    """Returns the state of step `first_step` on the devices.

    It is a checkpoint's, or a new one with `inputs.networks` in place of fresh networks.
    """
    task, key = inputs.task, jax.random.key(config.seed)
    if first_step:
        return checkpoints.restore(first_step, parallel.place_state(jax.eval_shape(task.init, key)))
    state = parallel.compile_init(task.init)(key)
    if not inputs.networks:
        return state
    # Compiled, so that parameters and their average get separate memory: both are donated.
    start = parallel.compile_to_state(partial(start_from, parts=task.networks()))
    return start(state, parallel.replicate(inputs.networks))


def _open_workdir(
    config: Config, inputs: _Inputs, checkpoints: Checkpoints, first_step: int
) -> tuple[Monitor, list[str]]:
    """Prepares the workdir for writing; returns the monitor and lines about moved checkpoints."""
    workdir, moved = checkpoints.workdir, []
    if distributed.is_first_process():
        moved = checkpoints.create()
        write_text(workdir / "config.json", json.dumps(inputs.meta["config"], indent=2) + "\n")
    monitor = Monitor(
        workdir,
        first_step=first_step,
        num_steps=config.num_steps,
        health=inputs.task.health(),
        wandb=config.get("wandb", ""),
        config=inputs.meta["config"],
    )
    return monitor, moved


def _describe(config: Config, inputs: _Inputs, state: Any, parallel: Parallel) -> Iterator[str]:
    """Yields the lines that are printed at the start of a training run."""
    info, kind = inputs.loader.info, jax.devices()[0].device_kind
    yield f"task {config.task}: {config.num_steps} steps of {config.batch_size} pictures"
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    yield f"devices: {parallel.num_devices} x {kind}{processes}, compiled by {config.parallel}"
    if divided := describe_state(parallel, state):
        yield divided
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
    alignment = config.data.get("alignment", "arcface")
    for part in info.datasets:
        # Nearly everything is aligned by that.
        if part.alignment is None and alignment != "arcface":
            yield (
                f"warning: nobody said how the faces in {part.path} are aligned, and this training "
                f"run wants {alignment}: `faceshifter prepare --alignment` records it"
            )
    for name, source in inputs.meta["frozen"].items():
        yield f"frozen: {name} from {source['path']}, sha256 {source['sha256'][:12]}"
    if inputs.changes:
        yield f"continuing with other settings: {inputs.changes}"
