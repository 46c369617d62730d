"""The interface between the training loop and a task."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from flax import struct

from faceshifter_jax.networks.network import Part, Weights
from faceshifter_jax.tasks.health import Health


@struct.dataclass
class TrainState:
    """An immutable snapshot of a training run; each dict is keyed by player (`generator`, ...).

    Attributes:
      step: int32 scalar, the number of updates made so far.
      params: trained parameters, float32.
      batch_stats: running statistics of batch normalisation, float32.
      opt_state: optax states.
      ema_params: the average of the parameters over the steps, float32, for evaluation.
    """

    step: jax.Array
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    opt_state: dict[str, Any]
    ema_params: dict[str, Any]

    @classmethod
    def initial(
        cls,
        params: Mapping[str, Any],
        batch_stats: Mapping[str, Any],
        optimizers: Mapping[str, optax.GradientTransformation],
        averaged: str,
    ) -> "TrainState":
        """Returns the state before the first step; the weights of one player have an average.

        It starts at these weights, in memory of its own: both are donated to the first step.
        """
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=dict(params),
            batch_stats=dict(batch_stats),
            opt_state={player: optimizers[player].init(params[player]) for player in params},
            ema_params={averaged: jax.tree.map(jnp.copy, params[averaged])},
        )


Batch = Mapping[str, jax.Array]
Frozen = Mapping[str, Any]
Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Frozen, Batch], tuple[TrainState, Metrics]]


class Task(Protocol):
    """A task: what is trained, and how one step works.

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

    def health(self) -> Health:
        """Returns how the step's metrics are averaged, shown and judged."""
        ...

    def networks(self) -> Mapping[str, Part]:
        """Returns which networks the task trains: role -> what it is, and where in the state.

        Checkpoints record it, and what begins with trained networks reads it.
        """
        ...

    def frozen_sources(self) -> dict[str, str]:
        """Returns the paths of the frozen networks' weights, name -> path.

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
