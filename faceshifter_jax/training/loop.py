"""The training loop: the same for every task."""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from faceshifter_jax import data, tasks
from faceshifter_jax.data.progress import format_duration
from faceshifter_jax.files import write_text
from faceshifter_jax.training import setup
from faceshifter_jax.training.checkpoint import Checkpoints
from faceshifter_jax.training.compatibility import (
    build_meta,
    check_same_frozen,
    check_same_run,
    describe_changes,
)
from faceshifter_jax.training.interrupt import Interrupted, StopRequest, catch_signals
from faceshifter_jax.training.monitor import Monitor
from faceshifter_jax.training.parallel import Parallel, build_parallel


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
        loss that is not finite.
      Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    config = config.copy_and_resolve_references()
    setup.check_config(config)
    build_task = build_task or tasks.build_task
    build_loader = build_loader or data.build_loader
    parallel = build_parallel(config.parallel)
    parallel.check_batch_size(config.batch_size)
    workdir = Path(workdir).absolute()
    with ExitStack() as stack:
        checkpoints = stack.enter_context(
            Checkpoints(
                workdir,
                keep_newest=config.keep_checkpoints,
                keep_every_steps=config.keep_every_steps,
            )
        )
        first_step = checkpoints.latest_step() or 0
        setup.fill_num_classes(config)
        task = build_task(config)
        loader = setup.build_loader_from(build_loader, config, task.batch_kind, first_step)
        stack.enter_context(closing(loader))
        frozen, meta, changes = _continue_or_begin(
            config, workdir, task, checkpoints, parallel, loader.info.fingerprint
        )
        # A training that goes on needs them no more: they may be gone.
        networks, start = setup.load_start(task, "" if first_step else config.init_from)
        state = setup.init_or_restore(
            task, config.seed, checkpoints, first_step, parallel, networks
        )
        if first_step >= config.num_steps:
            print(setup.nothing_to_do(workdir, first_step, config.num_steps), flush=True)
            return state
        samples = setup.read_samples(config, task.batch_kind, build_loader)
        # From here on the training leaves something behind; a refused one has not.
        checkpoints.create()
        if jax.process_index() == 0:
            write_text(workdir / "config.json", json.dumps(meta["config"], indent=2) + "\n")
        monitor = Monitor(workdir, first_step=first_step, num_steps=config.num_steps)
        stack.enter_context(closing(monitor))
        for line in setup.describe(config, loader.info, state, meta["frozen"], parallel, changes):
            monitor.say(line)
        for line in start:
            monitor.say(line)
        session = _Session(config, task, parallel, loader, checkpoints, monitor, meta, frozen)
        stop = stack.enter_context(catch_signals())
        return session.run(state, first_step, samples, stop)


def _continue_or_begin(
    config: ConfigDict,
    workdir: Path,
    task: Any,
    checkpoints: Checkpoints,
    parallel: Parallel,
    dataset: str,
) -> tuple[Any, dict[str, Any], str]:
    """Returns the frozen networks, the `meta` of new checkpoints, and what settings changed.

    Raises:
      UserError: `workdir` holds another training.
    """
    step = checkpoints.latest_step()
    stored = None if step is None else checkpoints.read_meta(step)
    if stored:
        check_same_run(stored, build_meta(config, dataset=dataset, frozen={}), workdir)
    frozen, sources = setup.load_frozen(task, parallel)
    if stored:
        check_same_frozen(stored["frozen"], sources, workdir)
    meta = build_meta(config, dataset=dataset, frozen=sources)
    changes = describe_changes(stored["config"], meta["config"]) if stored else ""
    return frozen, meta, changes


@dataclass
class _Session:
    """One start of a training, with all that it needs ready."""

    config: ConfigDict
    task: Any
    parallel: Parallel
    loader: Any
    checkpoints: Checkpoints
    monitor: Monitor
    meta: Mapping[str, Any]
    frozen: Any

    def run(self, state: Any, first_step: int, samples: Mapping[str, Any], stop: StopRequest):
        """Makes the steps after `first_step`; returns the last state."""
        predict = self.parallel.compile_predict(self.task.predict)
        batch = self._next_batch()
        train_step = self._compile_step(state, batch)
        self.monitor.start(first_step, self.loader.wait_seconds)
        in_flight = deque()
        for step in range(first_step + 1, self.config.num_steps + 1):
            state, metrics = train_step(state, self.frozen, batch)
            self.monitor.add(step, metrics)
            if step < self.config.num_steps:
                batch = self._next_batch()
            in_flight.append(metrics)
            while len(in_flight) >= self.parallel.max_in_flight:
                jax.block_until_ready(in_flight.popleft())
            if self._due(step, self.config.log_every_steps):
                self.monitor.report(step, self.config.batch_size, self.loader.wait_seconds)
            # Read once: a signal may come at any time, and nothing but a saved step is reported.
            stop_number = stop.number
            if stop_number or self._due(step, self.config.save_every_steps):
                self._save(step, state)
            if stop_number:
                self._stop(step, stop_number)
            if self._due(step, self.config.sample_every_steps):
                with self.monitor.paused():
                    self.monitor.write_samples(step, predict(state, self.frozen, samples))
        self.checkpoints.wait()
        return state

    def _due(self, step: int, every_steps: int) -> bool:
        """Whether something happens at this step; 0 means only after the last one."""
        return step == self.config.num_steps or (every_steps > 0 and step % every_steps == 0)

    def _next_batch(self) -> Mapping[str, Any]:
        return self.parallel.put_batch(next(self.loader))

    def _compile_step(self, state: Any, batch: Mapping[str, Any]) -> Callable:
        begin = time.monotonic()
        step = self.parallel.compile_step(self.task.make_step(self.parallel.axis_name))
        compiled = step.lower(state, self.frozen, batch).compile()
        self.monitor.say(f"compiled the step in {format_duration(time.monotonic() - begin)}")
        return compiled

    def _save(self, step: int, state: Any) -> None:
        with self.monitor.paused():
            self.monitor.check_finite()
            self.checkpoints.save(step, state, self.meta)

    def _stop(self, step: int, number: int) -> None:
        self.checkpoints.wait()
        raise Interrupted(
            number, f"stopped after step {step}, which is saved; the same command continues"
        )
