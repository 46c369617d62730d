"""A training from its config to its last step: the same for every task."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from faceshifter_jax import data, tasks
from faceshifter_jax.files import write_text
from faceshifter_jax.training import distributed, setup
from faceshifter_jax.training.checkpoint import Checkpoints
from faceshifter_jax.training.compatibility import (
    build_meta,
    check_same_frozen,
    check_same_run,
    describe_changes,
)
from faceshifter_jax.training.compilation import use_compilation_cache
from faceshifter_jax.training.faults import no_room_is_one_line
from faceshifter_jax.training.interrupt import catch_signals
from faceshifter_jax.training.monitor import Monitor
from faceshifter_jax.training.parallel import Parallel, build_parallel
from faceshifter_jax.training.session import Session


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
    parallel = _start_processes(config)
    workdir = Path(workdir).absolute()
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
        distributed.check_same_everywhere(setup.common_facts(inputs.meta, inputs.networks))
        frozen = parallel.replicate(inputs.frozen)
        state = setup.init_or_restore(
            inputs.task, config.seed, checkpoints, first_step, parallel, inputs.networks
        )
        if first_step >= config.num_steps:
            if distributed.is_first_process():
                print(setup.nothing_to_do(workdir, first_step, config.num_steps), flush=True)
            return state
        return _train_from(config, inputs, frozen, state, parallel, checkpoints, first_step)


def _start_processes(config: ConfigDict) -> Parallel:
    """Joins the other processes; returns how a step runs on the devices of all.

    Raises:
      UserError: settings that cannot work, alone or on these devices.
    """
    setup.check_config(config)
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
      networks: see `setup.load_start`; empty for a training that goes on.
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
    setup.fill_num_classes(config)
    task = build_task(config)
    loader = setup.build_loader_from(build_loader, config, task.batch_kind, first_step)
    with ExitStack() as stack:
        stack.enter_context(closing(loader))
        frozen, meta, changes = _continue_or_begin(
            config, task, checkpoints, first_step, loader.info.fingerprint
        )
        # A training that goes on needs them no more: they may be gone.
        networks, start = setup.load_start(task, "" if first_step else config.init_from)
        samples = setup.read_samples(config, task.batch_kind, build_loader)
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
        *setup.describe(config, inputs.loader.info, state, frozen, parallel, inputs.changes),
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
    frozen, sources = setup.load_frozen(task)
    if stored:
        check_same_frozen(stored["frozen"], sources, workdir)
    meta = build_meta(config, dataset=dataset, frozen=sources)
    changes = describe_changes(stored["config"], meta["config"]) if stored else ""
    return frozen, meta, changes
