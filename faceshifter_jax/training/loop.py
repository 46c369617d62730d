"""The training loop: the same for every task."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from faceshifter_jax import data, tasks
from faceshifter_jax.data.progress import format_duration
from faceshifter_jax.errors import UserError
from faceshifter_jax.files import write_text
from faceshifter_jax.training import distributed, setup
from faceshifter_jax.training.checkpoint import Checkpoints
from faceshifter_jax.training.compatibility import (
    build_meta,
    check_same_frozen,
    check_same_run,
    describe_changes,
)
from faceshifter_jax.training.faults import in_one_line, no_room_is_one_line
from faceshifter_jax.training.guard import FAILED, guard_step, make_request, not_finite
from faceshifter_jax.training.interrupt import Interrupted, StopRequest, catch_signals
from faceshifter_jax.training.monitor import Monitor
from faceshifter_jax.training.parallel import Parallel, build_parallel, describe_memory


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
    setup.check_config(config)
    distributed.initialize(config.distributed)
    build_task = build_task or tasks.build_task
    build_loader = build_loader or data.build_loader
    with distributed.together():
        setup.use_compilation_cache(config.compilation_cache)
        parallel = build_parallel(config.parallel)
        parallel.check_batch_size(config.batch_size, config.get("accumulate_steps", 1))
    workdir = Path(workdir).absolute()
    with ExitStack() as stack:
        stack.enter_context(no_room_is_one_line(workdir))
        checkpoints = stack.enter_context(
            Checkpoints(
                workdir,
                keep_newest=config.keep_checkpoints,
                keep_every_steps=config.keep_every_steps,
            )
        )
        first_step = _find_first_step(checkpoints)
        with distributed.together():
            setup.fill_num_classes(config)
            task = build_task(config)
            loader = setup.build_loader_from(build_loader, config, task.batch_kind, first_step)
            stack.enter_context(closing(loader))
            frozen, meta, changes = _continue_or_begin(
                config, workdir, task, checkpoints, first_step, loader.info.fingerprint
            )
            # A training that goes on needs them no more: they may be gone.
            networks, start = setup.load_start(task, "" if first_step else config.init_from)
            samples = setup.read_samples(config, task.batch_kind, build_loader)
        distributed.check_same_everywhere(setup.common_facts(meta, checkpoints.latest_step()))
        frozen = parallel.replicate(frozen)
        state = setup.init_or_restore(
            task, config.seed, checkpoints, first_step, parallel, networks
        )
        if first_step >= config.num_steps:
            if distributed.is_first_process():
                print(setup.nothing_to_do(workdir, first_step, config.num_steps), flush=True)
            return state
        # From here on the training leaves something behind; a refused one has not.
        with distributed.together():
            monitor, moved = _open_workdir(config, workdir, task, checkpoints, meta, first_step)
            stack.enter_context(closing(monitor))
        distributed.check_shared(workdir)
        for line in setup.describe(config, loader.info, state, meta["frozen"], parallel, changes):
            monitor.say(line)
        for line in (*start, *moved):
            monitor.say(line)
        session = _Session(config, task, parallel, loader, checkpoints, monitor, meta, frozen)
        session.stop = stack.enter_context(catch_signals())
        return session.run(state, first_step, samples)


def _find_first_step(checkpoints: Checkpoints) -> int:
    """Returns the step of the newest whole checkpoint, which one process reads for all, or 0."""
    newest = None
    with distributed.together():
        if distributed.is_first_process():
            newest = checkpoints.newest_whole()
    return distributed.from_first_process(newest) or 0


def _open_workdir(
    config: ConfigDict,
    workdir: Path,
    task: Any,
    checkpoints: Checkpoints,
    meta: Mapping[str, Any],
    first_step: int,
) -> tuple[Monitor, list[str]]:
    """Makes `workdir` ready to be written to; returns the monitor and what was moved in it."""
    moved = []
    if distributed.is_first_process():
        moved = checkpoints.create()
        write_text(workdir / "config.json", json.dumps(meta["config"], indent=2) + "\n")
    monitor = Monitor(
        workdir, first_step=first_step, num_steps=config.num_steps, health=task.health()
    )
    return monitor, moved


def _continue_or_begin(
    config: ConfigDict,
    workdir: Path,
    task: Any,
    checkpoints: Checkpoints,
    first_step: int,
    dataset: str,
) -> tuple[Any, dict[str, Any], str]:
    """Returns the frozen networks, the `meta` of new checkpoints, and what settings changed.

    Raises:
      UserError: `workdir` holds another training.
    """
    stored = checkpoints.read_meta(first_step) if first_step else None
    if stored:
        check_same_run(stored, build_meta(config, dataset=dataset, frozen={}), workdir)
    frozen, sources = setup.load_frozen(task)
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
    stop: StopRequest = field(default_factory=StopRequest)
    failure: UserError | None = None
    in_flight: deque = field(default_factory=deque)
    requests: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def run(self, state: Any, first_step: int, samples: Mapping[str, Any]) -> Any:
        """Makes the steps after `first_step`; returns the last state."""
        predict = self.parallel.compile_predict(self.task.predict)
        with distributed.together():
            batch = self._next_batch()
        train_step = self._compile_step(state, batch | self._request())
        self.monitor.start(first_step, self.loader.wait_seconds)
        for step in range(first_step + 1, self.config.num_steps + 1):
            state, (metrics, signs) = train_step(state, self.frozen, batch | self._request())
            self.monitor.add(step, metrics)
            self.in_flight.append((step, metrics, signs))
            if step < self.config.num_steps:
                batch = self._next_batch_or(batch)
            request = self._wait_for_steps(self.parallel.max_in_flight - 1)
            if self._due(step, self.config.log_every_steps):
                with self._stop_all_later():
                    self.monitor.report(step, self.config.batch_size, self.loader.wait_seconds)
            if request or self._due(step, self.config.save_every_steps):
                self._save(step, state)
            if request:
                self._stop(step, request)
            if self._due(step, self.config.sample_every_steps):
                with self.monitor.paused():
                    images = predict(state, self.frozen, samples)
                    with self._stop_all_later():
                        self.monitor.write_samples(step, images)
        self.checkpoints.wait()
        if self.failure:
            raise self.failure
        return state

    def _due(self, step: int, every_steps: int) -> bool:
        """Whether something happens at this step; 0 means only after the last one."""
        return step == self.config.num_steps or (every_steps > 0 and step % every_steps == 0)

    def _next_batch(self) -> Mapping[str, Any]:
        return self.parallel.put_batch(next(self.loader))

    def _next_batch_or(self, last: Mapping[str, Any]) -> Mapping[str, Any]:
        """The next batch; `last` once more where there is none, for the step that all stop at."""
        if not self.failure:
            with self._stop_all_later():
                return self._next_batch()
        return last

    def _request(self) -> Mapping[str, Any]:
        """What this process has to say to all others with the next step."""
        with self._stop_all_later():
            self.checkpoints.check()
        number = FAILED if self.failure else self.stop.number or 0
        if number not in self.requests:
            rows = make_request(number, self.parallel.num_local_devices)
            self.requests[number] = self.parallel.put_batch(rows)
        return self.requests[number]

    def _wait_for_steps(self, left: int) -> int:
        """Waits until no more than `left` steps are in flight; returns the last one's request.

        Raises:
          UserError: a step made something that is not finite, or a process failed before it,
            so that its state is none to save; in all processes.
        """
        request = 0
        while len(self.in_flight) > left:
            step, metrics, signs = self.in_flight.popleft()
            signs = jax.device_get(jax.block_until_ready((signs, metrics)))[0]
            if not signs["finite"]:
                raise not_finite(step, jax.device_get(metrics))
            request = int(signs["request"])
            if request == FAILED:
                raise self.failure or UserError("another process failed: see what it printed")
        return request

    @contextmanager
    def _stop_all_later(self) -> Iterator[None]:
        """Lets what fails in one process stop all, at the step that they agree on."""
        try:
            with no_room_is_one_line(self.checkpoints.workdir):
                yield
        except (UserError, OSError) as error:
            failure = error if isinstance(error, UserError) else in_one_line(error)
            if jax.process_count() == 1:
                raise failure from error.__cause__
            self.failure = self.failure or failure

    def _compile_step(self, state: Any, batch: Mapping[str, Any]) -> Callable:
        axis_name = self.parallel.axis_name
        begin = time.monotonic()
        self.monitor.say("compiling the step ...")
        step = self.parallel.compile_step(guard_step(self.task.make_step(axis_name), axis_name))
        compiled = step.lower(state, self.frozen, batch).compile()
        duration = format_duration(time.monotonic() - begin)
        self.monitor.say(f"compiled the step in {duration}{describe_memory(compiled)}")
        return compiled

    def _save(self, step: int, state: Any) -> None:
        with self.monitor.paused():
            self._wait_for_steps(0)
            self.checkpoints.save(step, state, self.meta)

    def _stop(self, step: int, number: int) -> None:
        self.checkpoints.wait()
        raise Interrupted(
            number, f"stopped after step {step}, which is saved; the same command continues"
        )
