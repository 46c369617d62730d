"""Metrics of training steps, averaged, and signs that a training run goes wrong."""

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class HealthCheck:
    """A sign that a training run goes wrong: every metric named is beyond its limit.

    Attributes:
      warning: what it means and which settings people change then, one line. Metrics in braces,
        as in `{accuracy:.0%}`, become their values.
      below: metric -> the limit that it should not be under.
      above: metric -> the limit that it should not be over.
    """

    warning: str
    below: Mapping[str, float] = dataclasses.field(default_factory=dict)
    above: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Health:
    """Rules for averaging a task's metrics over steps, showing and judging them.

    Attributes:
      weights: metric -> another metric, the weight of a step's value in an average over steps;
        the metrics that it does not name weigh the same in every step.
      shown: metric -> its name in the progress line.
      checks: the signs to look for.
      warn_after_steps: steps of the run before the first warning, 0 for none at all.
      window_steps: the number of latest steps that are averaged and judged.
    """

    weights: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shown: Mapping[str, str] = dataclasses.field(default_factory=dict)
    checks: tuple[HealthCheck, ...] = ()
    warn_after_steps: int = 0
    window_steps: int = 1


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
    """Checks the metrics of a training run against its task's signs; each warns once a session."""

    def __init__(self, health: Health):
        self._health = health
        self._window: deque[Mapping[str, float]] = deque(maxlen=health.window_steps)
        self._silent = list(health.checks)

    def add(self, step: int, steps: Sequence[Mapping[str, float]]) -> list[str]:
        """Takes the metrics of the newest steps and returns new warnings.

        There is none before `warn_after_steps`, nor before `window_steps` steps of this session.

        Args:
          step: number of steps so far.
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
