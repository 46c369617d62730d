"""Averages of metrics over steps, and the warnings that they give rise to."""

from collections import deque
from collections.abc import Mapping, Sequence

from faceshifter_jax.tasks.health import Health, HealthCheck


def average_metrics(
    steps: Sequence[Mapping[str, float]], weights: Mapping[str, str]
) -> dict[str, float]:
    """Returns the averages of metrics over steps.

    Args:
      steps: the metrics of each step, the same names in all.
      weights: metric -> the metric that weighs its values, see `Health.weights`.

    Returns:
      metric -> average; without those whose weights are 0 in all steps.
    """
    averages = {}
    for name in steps[0]:
        weigh = [float(m[weights[name]]) if name in weights else 1.0 for m in steps]
        if sum(weigh) > 0:
            total = sum(w * float(m[name]) for w, m in zip(weigh, steps, strict=True))
            averages[name] = total / sum(weigh)
    return averages


class HealthWatch:
    """Judges the metrics of a training by its task's checks; each warns once a session."""

    def __init__(self, health: Health):
        self._health = health
        self._window: deque[Mapping[str, float]] = deque(maxlen=health.window_steps)
        self._silent = list(health.checks)

    def add(self, step: int, steps: Sequence[Mapping[str, float]]) -> list[str]:
        """Takes the metrics of the newest steps and returns new warnings.

        There is none before `warn_after_steps`, nor before `window_steps` steps of this session.

        Args:
          step: steps of the training made so far.
          steps: the metrics of each step since the last call.
        """
        health = self._health
        self._window.extend(steps)
        due = 0 < health.warn_after_steps <= step
        if not due or len(self._window) < health.window_steps:
            return []
        averages = average_metrics(self._window, health.weights)
        found = [check for check in self._silent if _applies(check, averages)]
        self._silent = [check for check in self._silent if check not in found]
        return [
            f"warning: after {step} steps {check.warning.format(**averages)}" for check in found
        ]


def _applies(check: HealthCheck, averages: Mapping[str, float]) -> bool:
    """Whether every metric is beyond its limit; one without a value is not."""
    if not (check.below.keys() | check.above.keys()) <= averages.keys():
        return False
    return all(averages[name] < limit for name, limit in check.below.items()) and all(
        averages[name] > limit for name, limit in check.above.items()
    )
