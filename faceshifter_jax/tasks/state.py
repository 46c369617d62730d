"""The training state: everything that a checkpoint must hold to go on exactly."""

from typing import Any

import flax
import jax


@flax.struct.dataclass
class TrainState:
    """An immutable snapshot of a training; each dict is keyed by player (`generator`, ...).

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
