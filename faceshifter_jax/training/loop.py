"""The steps of a training run, and what happens between them."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax

from faceshifter_jax.checkpoints.manager import Checkpoints
from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime import distributed
from faceshifter_jax.runtime.compilation import compiler_options
from faceshifter_jax.runtime.faults import (
    in_one_line,
    no_room_is_one_line,
    out_of_memory_is_one_line,
)
from faceshifter_jax.runtime.parallel import Parallel, describe_memory
from faceshifter_jax.runtime.progress import format_duration
from faceshifter_jax.runtime.signals import Interrupted, StopRequest
from faceshifter_jax.tasks.task import Task
from faceshifter_jax.training.config import Config
from faceshifter_jax.training.guard import FAILED, guard_step, make_request, not_finite
from faceshifter_jax.training.monitor import Monitor
from faceshifter_jax.training.profile import StepProfile


@dataclass
class Session:
    """One session of a training run, with everything that it needs ready."""

    config: Config
    task: Task
    parallel: Parallel
    loader: Any
    checkpoints: Checkpoints
    monitor: Monitor
    meta: Mapping[str, Any]
    frozen: Any
    stop: StopRequest = field(default_factory=StopRequest)
    failure: UserError | None = None
    in_flight: deque = field(default_factory=deque)
    requests: dict[int, dict[str, Any]] = field(default_factory=dict)

    def run(self, state: Any, first_step: int, samples: Mapping[str, Any]) -> Any:
        """Runs the steps after `first_step`; returns the last state."""
        num_traced = self.config.get("profile_steps", 0)
        profile = StepProfile(self.checkpoints.workdir, first_step, num_traced)
        with out_of_memory_is_one_line(self.config), closing(profile):
            return self._make_steps(state, first_step, samples, profile)

    def _make_steps(
        self, state: Any, first_step: int, samples: Mapping[str, Any], profile: StepProfile
    ) -> Any:
        predict = self.parallel.compile_predict(self.task.predict)
        with distributed.together():
            batch = self._next_batch()
        train_step = self._compile_step(state, batch | self._request())
        self.monitor.start(first_step, self.loader.wait_seconds)
        for step in range(first_step + 1, self.config.num_steps + 1):
            profile.begin(step)
            state, (metrics, signs) = train_step(state, self.frozen, batch | self._request())
            self.monitor.add(metrics)
            self.in_flight.append((step, metrics, signs))
            if traced := profile.end(step, metrics):
                self.monitor.say(traced)
            if step < self.config.num_steps:
                batch = self._next_batch_or(batch)
            reports = self._due(step, self.config.log_every_steps)
            # A report also fetches the metrics of this step: they must be known to be finite.
            request = self._wait_for_steps(0 if reports else self.parallel.max_in_flight - 1)
            if reports:
                with self._stop_all_later():
                    self.monitor.report(step, self.config.batch_size, self.loader.wait_seconds)
            if request or self._due(step, self.config.save_every_steps):
                request = self._save(step, state) or request
            if request:
                self._stop(step, request)
            if self._due(step, self.config.sample_every_steps):
                with self.monitor.paused():
                    images = predict(state, self.frozen, samples)
                    with self._stop_all_later():
                        self.monitor.write_samples(step, images)
        self.checkpoints.wait()
        with distributed.together():
            if self.failure:
                raise self.failure
        return state

    def _due(self, step: int, every_steps: int) -> bool:
        """Whether something is due at this step; an interval of 0 means only after the last one."""
        return step == self.config.num_steps or (every_steps > 0 and step % every_steps == 0)

    def _next_batch(self) -> dict[str, Any]:
        return self.parallel.put_batch(next(self.loader))

    def _next_batch_or(self, last: dict[str, Any]) -> dict[str, Any]:
        """Returns the next batch, or `last` if there is none, for the step that all stop at."""
        if not self.failure:
            with self._stop_all_later():
                return self._next_batch()
        return last

    def _request(self) -> dict[str, Any]:
        """Returns what this process tells all others with the next step."""
        with self._stop_all_later():
            self.checkpoints.check()
        number = FAILED if self.failure else self.stop.number or 0
        if number not in self.requests:
            rows = make_request(number, self.parallel.num_local_devices)
            self.requests[number] = self.parallel.put_batch(rows)
        return self.requests[number]

    def _wait_for_steps(self, left: int) -> int:
        """Waits until at most `left` steps are in flight; returns the last one's request.

        Raises:
          UserError: a step's result is not finite, or a process failed before it, so that its state
            must not be saved; in all processes.
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
        """Makes a failure in one process stop all, at the step that they agree on."""
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
        compiled = step.lower(state, self.frozen, batch).compile(compiler_options())
        duration = format_duration(time.monotonic() - begin)
        self.monitor.say(f"compiled the step in {duration}{describe_memory(compiled)}")
        return compiled

    def _save(self, step: int, state: Any) -> int:
        """Saves the state; returns the result of `_wait_for_steps` for the steps before it."""
        with self.monitor.paused():
            request = self._wait_for_steps(0)
            self.checkpoints.save(step, self.parallel.state_on_host(state), self.meta)
        return request

    def _stop(self, step: int, number: int) -> None:
        self.checkpoints.wait()
        raise Interrupted(
            number, f"stopped after step {step}, which is saved; the same command continues"
        )
