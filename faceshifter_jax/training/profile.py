"""A trace of some steps, which shows where their time goes (`config.profile_steps`)."""

from pathlib import Path
from typing import Any

import jax

DIRECTORY = "profile"
# The first steps also allocate and warm caches up.
_AFTER = 10


class StepProfile:
    """Traces `num_steps` steps of a session, from its eleventh on, with jax's profiler."""

    def __init__(self, workdir: Path, first_step: int, num_steps: int):
        """
        Args:
          workdir: the trace goes to its directory `profile`.
          first_step: number of steps before this session.
          num_steps: 0 traces nothing.
        """
        self._directory = workdir / DIRECTORY
        self._first = first_step + _AFTER + 1
        self._last = first_step + _AFTER + num_steps
        self._runs = False

    def begin(self, step: int) -> None:
        """To be called before a step is started."""
        if step == self._first <= self._last:
            jax.profiler.start_trace(self._directory)
            self._runs = True

    def end(self, step: int, results: Any) -> str | None:
        """To be called after a step is started, with what it will have computed.

        Returns:
          after the last of the traced steps, a line that says where the trace is.
        """
        if not self._runs or step < self._last:
            return None
        jax.block_until_ready(results)
        self.close()
        return f"traced steps {self._first} to {self._last}: tensorboard --logdir {self._directory}"

    def close(self) -> None:
        """Ends the trace, also of fewer steps."""
        if self._runs:
            self._runs = False
            jax.profiler.stop_trace()
