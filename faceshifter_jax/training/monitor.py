"""Output of a training run: progress lines, TensorBoard, W&B, metrics.jsonl and grids."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from faceshifter_jax.media.grid import write_grid
from faceshifter_jax.places import open_in_place
from faceshifter_jax.runtime.metrics_file import METRICS_FILE, drop_later_lines
from faceshifter_jax.runtime.progress import format_duration
from faceshifter_jax.runtime.tensorboard_files import Writer, build_writer
from faceshifter_jax.runtime.wandb_run import WandbWriter
from faceshifter_jax.tasks.health import Health, HealthWatch, average_metrics

SAMPLES_DIRECTORY = "samples"


class Monitor:
    """Collects the metrics of each step and reports them at intervals.

    Only the first process writes files and lines.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        first_step: int,
        num_steps: int,
        health: Health,
        wandb: str = "",
        config: Mapping[str, Any] | None = None,
    ):
        """Opens the writers in `workdir`, and drops the lines of metrics.jsonl after `first_step`.

        TensorBoard's events and sample grids after it stay.

        Args:
          workdir: an existing directory.
          first_step: number of steps done before this session.
          num_steps: number of steps of the whole training run.
          health: how the task's metrics are averaged, shown and judged.
          wandb: a project of Weights & Biases that also gets them, or "".
          config: all settings, shown there.
        """
        self._workdir = workdir
        self._num_steps = num_steps
        self._health = health
        self._watch = HealthWatch(health)
        self._pending: list[Mapping[str, jax.Array]] = []
        self._writes = jax.process_index() == 0
        if self._writes:
            (workdir / SAMPLES_DIRECTORY).mkdir(exist_ok=True)
            drop_later_lines(workdir / METRICS_FILE, first_step)
            self._writers: list[Writer] = []
            if wandb:
                self._writers.append(WandbWriter(workdir, wandb, config or {}))
            self._writers.append(build_writer(workdir))
        self.start(first_step, wait_seconds=0.0)

    def start(self, step: int, wait_seconds: float) -> None:
        """Starts the clocks, so that earlier work, such as compilation, does not count towards
        rates.

        Args:
          step: number of steps so far.
          wait_seconds: how long the loader has blocked so far.
        """
        self._start_step = self._interval_step = step
        self._start_time = self._interval_time = time.monotonic()
        self._paused = 0.0
        self._waited = wait_seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes time spent in the context (saving, sampling) from the pictures a second."""
        begin = time.monotonic()
        yield
        self._paused += time.monotonic() - begin

    def say(self, line: str) -> None:
        """Prints a line, once for all processes."""
        if self._writes:
            print(line, flush=True)

    def add(self, metrics: Mapping[str, jax.Array]) -> None:
        """Collects the metrics of a step, still on the device and perhaps not computed yet."""
        self._pending.append(metrics)

    def report(self, step: int, batch_size: int, wait_seconds: float) -> None:
        """Writes the averages since the last report, prints the progress line and warnings.

        Args:
          step: number of steps so far.
          batch_size: pictures a step, in all processes together.
          wait_seconds: how long the loader has blocked so far.
        """
        fetched, self._pending = jax.device_get(self._pending), []
        means = average_metrics(fetched, self._health.weights)
        now = time.monotonic()
        seconds = max(now - self._interval_time - self._paused, 1e-9)
        rates = {
            "pictures_per_second": (step - self._interval_step) * batch_size / seconds,
            "data_wait_share": (wait_seconds - self._waited) / seconds,
        }
        if self._writes:
            log = open_in_place(self._workdir / METRICS_FILE, os.O_WRONLY | os.O_APPEND)
            with os.fdopen(log, "a") as file:
                file.write(json.dumps({"step": step, **means, **rates}) + "\n")
            for writer in self._writers:
                writer.write_scalars(step, {**means, **rates})
            self.say(self._progress_line(step, means, rates, now))
        for warning in self._watch.add(step, fetched):
            self.say(warning)
        self._interval_step, self._interval_time = step, now
        self._paused, self._waited = 0.0, wait_seconds

    def write_samples(self, step: int, columns: Mapping[str, Any]) -> None:
        """Writes a grid as samples/step_NNNNNNNN.png and to TensorBoard; see `write_grid`."""
        if self._writes:
            path = self._workdir / SAMPLES_DIRECTORY / f"step_{step:08d}.png"
            # One by one: fetching the mapping as a whole would sort its columns.
            grid = write_grid({name: jax.device_get(c) for name, c in columns.items()}, path)
            for writer in self._writers:
                writer.write_images(step, {"samples": grid[None]})

    def close(self) -> None:
        """Flushes the writers."""
        if self._writes:
            for writer in self._writers:
                writer.close()

    def _progress_line(self, step, means, rates, now) -> str:
        left = (now - self._start_time) / (step - self._start_step) * (self._num_steps - step)
        # A long line would wrap in a terminal: only the losses and the metrics that the task shows.
        losses = [name for name in sorted(means) if name.endswith("loss")]
        shown = {name: name.removesuffix("_loss") for name in losses} | dict(self._health.shown)
        values = [f"{shown[name]} {means[name]:.4g}" for name in shown if name in means]
        return "  ".join(
            [
                f"step {step}/{self._num_steps} ({100 * step / self._num_steps:.1f} %)",
                *values,
                f"{rates['pictures_per_second']:.3g} pictures/s",
                f"{format_duration(left)} left" if step < self._num_steps else "done",
                f"data wait {100 * rates['data_wait_share']:.1f} %",
            ]
        )
