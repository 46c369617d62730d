"""What the training loop sees of a task."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax

from faceshifter_jax.tasks.state import TrainState

Batch = Mapping[str, jax.Array]
Frozen = Mapping[str, Any]
Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Frozen, Batch], tuple[TrainState, Metrics]]


class Weights(Protocol):
    """Weights of a trained network, as a checkpoint reader hands them to `load_frozen`."""

    config: Mapping[str, Any]
    params: Mapping[str, Any]
    batch_stats: Mapping[str, Any]
    path: str


class Task(Protocol):
    """What is trained, and how one step goes.

    Attributes:
      name: the value of `config.task`.
      batch_kind: the kind of batches it trains on, `pairs` or `identities`.
    """

    name: str
    batch_kind: str

    def init(self, rng: jax.Array) -> TrainState:
        """Returns the state before the first step; traceable, so that it can be jitted."""
        ...

    def make_step(self, axis_name: str | None) -> Step:
        """Returns `step(state, frozen, batch) -> (state, metrics)`.

        `axis_name` is None under jit over a mesh, the mapped axis under pmap. Metrics are
        float32 scalars, already averaged over the devices.
        """
        ...

    def predict(self, state: TrainState, frozen: Frozen, batch: Batch) -> dict[str, jax.Array]:
        """Returns the columns of a sample grid, name -> (B, S, S, 3) float32 in [-1, 1]."""
        ...

    def frozen_sources(self) -> dict[str, str]:
        """Returns where the frozen networks' weights lie, name -> path.

        Raises:
          UserError: a path is missing in the config; the message says how to get weights.
        """
        ...

    def load_frozen(self, sources: Mapping[str, Weights]) -> Frozen:
        """Turns the weights read from `frozen_sources` into the frozen networks' variables.

        Raises:
          UserError: weights that do not fit the task.
        """
        ...
