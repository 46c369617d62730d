"""Ranking pictures by how much an AEI-Net loses of them inside the face.

The heuristic error of a picture is what AEI-Net loses of it when it gets its own identity
(arXiv 1912.13457, section 3.2). A trained network still errs a little everywhere, and more at the
eyes and the mouth of any face, so a picture is scored by what is unusual:

1. The strength of the error, in grey levels: its magnitude, averaged over the colours and, with
   a Gaussian of 1/80 of the picture's side, over neighbours, so that single pixels at edges
   hardly count.
2. The usual strength, pixel by pixel: median + 1.4826 * median absolute deviation over a sample
   of the dataset. As both are robust, occluders do not raise it unless half of the faces have one
   at the same place.
3. The score: strength above the usual, averaged over the face with the weights of
   `face_weights`. So it grows with the area and with the strength of an error in the face; what
   happens outside does not count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import grain
import jax
import jax.numpy as jnp
import numpy as np

from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.data import PreparedDataset
from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.region import face_weights
from faceshifter_jax.networks.network import Weights
from faceshifter_jax.runtime.batches import pad_rows
from faceshifter_jax.runtime.parallel import build_parallel
from faceshifter_jax.runtime.progress import Progress
from faceshifter_jax.runtime.workers import usable_cores
from faceshifter_jax.swapping.stages import Networks, find_errors, first_stage_from

HOW = "strength of the heuristic error above the usual, in grey levels, averaged over the face"
"""The meaning of a score, for the header of a list."""

HeuristicError = Callable[[np.ndarray], jax.Array]
"""uint8 (B, S, S, 3), B a multiple of the number of devices, to float32 (B, S, S, 3) in grey
levels, -255 to 255."""

_SAMPLE = 256
_PIXELS_A_DEVICE = 64 * 64 * 64
_BATCHES_AHEAD = 4
_MAD_TO_DEVIATION = 1.4826
_BLUR = 1 / 80


def load_heuristic_error(
    checkpoint: str, identity: str | None = None
) -> tuple[HeuristicError, Weights]:
    """Reads an AEI-Net and the identity network that belongs to it.

    Args:
      checkpoint: workdir of an `aei` training run, one of its checkpoints, or a network file.
      identity: the identity network; None for that of the training run, at the path it had then.

    Returns:
      the heuristic error of pictures, every device computing its share of the rows, and the
      AEI-Net's weights.

    Raises:
      UserError: not an AEI-Net's weights, no identity network, or another one than in training.
    """
    generator, identity_network, weights = first_stage_from(read_weights(checkpoint), identity)
    parallel = build_parallel("jit")
    networks = parallel.replicate((generator, identity_network, None))

    def heuristic_error(pictures: np.ndarray) -> jax.Array:
        return _compute(networks, parallel.put_batch({"pictures": pictures})["pictures"])

    return heuristic_error, weights


@jax.jit
def _compute(networks: Networks, pictures: jax.Array) -> jax.Array:
    return 127.5 * find_errors(networks, pictures)


@dataclass(frozen=True)
class Ranking:
    """The pictures of a dataset by their scores.

    Attributes:
      order: int64 (N,), indices of the pictures, the largest score first; of equal ones the
        first in the dataset.
      scores: float32 (N,), by index.
      usual: float32 (S, S), the usual strength of the error in grey levels.
    """

    order: np.ndarray
    scores: np.ndarray
    usual: np.ndarray


def rank(dataset: PreparedDataset, heuristic_error: HeuristicError) -> Ranking:
    """Scores and sorts all pictures of a dataset; reports progress on stderr.

    Raises:
      UserError: an error that is not finite.
    """
    number = dataset.num_pictures
    sample = np.linspace(0, number - 1, min(number, _SAMPLE)).astype(int)
    strengths = apply_to_pictures(
        lambda pictures: strength(heuristic_error(pictures)),
        dataset,
        sample,
        doing="measuring the usual error",
    )
    usual = usual_strength(strengths)
    scores = apply_to_pictures(
        lambda pictures: score(strength(heuristic_error(pictures)), usual),
        dataset,
        np.arange(number),
        doing="scoring",
    )
    if not np.isfinite(scores).all():
        index = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise UserError(
            f"the AEI-Net's error of {dataset.record(index)['name']} is not a finite number: its "
            "training has failed, choose an earlier checkpoint"
        )
    return Ranking(np.argsort(-scores, kind="stable"), scores, usual)


def apply_to_pictures(
    apply: Callable[[np.ndarray], jax.Array],
    dataset: PreparedDataset,
    indices: Sequence[int] | np.ndarray,
    *,
    doing: str,
) -> np.ndarray:
    """Applies a compiled function to pictures of a dataset, a batch at a time.

    Args:
      apply: uint8 pictures (B, S, S, 3), always as many, to one row of results each.
      dataset: where threads read the pictures from, some batches ahead.
      indices: which pictures, at least one.
      doing: names the work in the progress line.

    Returns:
      the rows of results in the order of `indices`.
    """
    size = jax.device_count() * max(1, _PIXELS_A_DEVICE // dataset.image_size**2)
    pictures = grain.MapDataset.source([int(index) for index in indices]).map(dataset.picture)
    options = grain.ReadOptions(min(usable_cores(), _BATCHES_AHEAD), _BATCHES_AHEAD)
    progress = Progress(doing, len(indices))
    results = []
    for batch in pictures.batch(size).to_iter_dataset(options):
        # All batches have one size, the last one too, so that a function is compiled once.
        padded = pad_rows(batch, size)
        results.append(np.asarray(apply(padded))[: len(batch)])
        progress.advance(len(batch))
    progress.finish()
    return np.concatenate(results)


@jax.jit
def strength(error: jax.Array) -> jax.Array:
    """The magnitude of errors (B, S, S, 3), smoothed: (B, S, S), in the same unit.

    Beyond the border is nothing: there the mean is over the neighbours that exist.
    """
    magnitude = jnp.abs(error).mean(-1)
    place = np.arange(error.shape[1])
    deviation = _BLUR * error.shape[1]
    gaussian = np.exp(-0.5 * np.square((place[:, None] - place) / deviation))
    gaussian = jnp.asarray(gaussian / gaussian.sum(1, keepdims=True), jnp.float32)
    smooth = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    return smooth("yi,bij,xj->byx", gaussian, magnitude, gaussian)


def usual_strength(strengths: np.ndarray) -> np.ndarray:
    """The level that strengths (N, S, S) of a sample rarely exceed, by pixel: float32 (S, S)."""
    median = np.median(strengths, 0)
    deviation = _MAD_TO_DEVIATION * np.median(np.abs(strengths - median), 0)
    return (median + deviation).astype(np.float32)


@jax.jit
def score(strengths: jax.Array, usual: jax.Array) -> jax.Array:
    """The mean over the face of what strengths (B, S, S) have above `usual` (S, S): (B,).

    NaN for a picture with any strength that is not finite.
    """
    weights = face_weights(strengths.shape[-1])
    above = (jnp.maximum(strengths - usual, 0) * weights).sum((1, 2)) / weights.sum()
    # On CPUs XLA's maximum may swallow NaNs.
    return jnp.where(jnp.isfinite(strengths).all((1, 2)), above, jnp.nan)
