"""What the training loop sees of a task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax

from faceshifter_jax.network import Network
from faceshifter_jax.tasks.health import Health
from faceshifter_jax.tasks.state import TrainState

Batch = Mapping[str, jax.Array]
Frozen = Mapping[str, Any]
Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Frozen, Batch], tuple[TrainState, Metrics]]


class Weights(Protocol):
    """Trained networks, as a reader of checkpoints and network files hands them to a task.

    Attributes:
      networks: role (`identity`, `generator`, `discriminator` or `hear`) -> network.
      path: where they were asked for.
      sha256: hash of the weights.
      frozen: the frozen networks that they were trained with, name -> {"path", "sha256"}; empty
        where that is not known.
    """

    networks: Mapping[str, Network]
    path: str
    sha256: str
    frozen: Mapping[str, Mapping[str, str]]


def name_networks(weights: Weights) -> str:
    """What weights hold, for an error message: `an identity network`."""
    articles = (("an " if role[0] in "aeiou" else "a ") + role for role in weights.networks)
    return " and ".join(f"{role} network" for role in articles) or "no network of ours"


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

    def health(self) -> Health:
        """Returns how the step's metrics are averaged, shown and judged."""
        ...

    def check_start(self, sources: Sequence[Weights]) -> tuple[dict[str, Any], list[str]]:
        """Picks what a training begins with from the weights that `config.init_from` names.

        Returns:
          What `start_from` takes, and a line for each network saying where it comes from.

        Raises:
          UserError: networks that do not fit the config; the message says how they differ.
        """
        ...

    def start_from(self, state: TrainState, networks: Mapping[str, Any]) -> TrainState:
        """Returns the state with trained networks in place of fresh ones; traceable."""
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
