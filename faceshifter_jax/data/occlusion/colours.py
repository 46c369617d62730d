"""Matching the colours of a cut-out to those of the face it is laid over."""

import numpy as np

from faceshifter_jax.data import kernels

_LEVELS = np.arange(256.0)
_STRONGEST_GAIN = 2.0


def match_colours(
    colours: np.ndarray, alpha: np.ndarray, face: np.ndarray, amount: float
) -> np.ndarray:
    """Moves mean and spread of a cut-out's colours towards those of a face.

    After Reinhard et al., Color Transfer between Images (2001): in each channel, the deviations
    from the mean are scaled by the ratio of the standard deviations, and the mean is moved. Here
    the channels are R, G and B as displayed, `amount` says how far to go, and the ratio is kept
    between 1/2 and 2: a plain thing has no spread that could be scaled.

    Args:
        colours: uint8 (height, width, 3) of the cut-out.
        alpha: float32 (height, width) in [0, 1], not all 0: how much each pixel counts.
        face: uint8 (n, 3), n > 0, pixels of the face.
        amount: 0 leaves the colours as they are, 1 gives them the face's mean.

    Returns:
        uint8 (height, width, 3).
    """
    tables = np.empty((3, 256), np.uint8)
    own, faces = kernels.weigh_levels(colours, alpha), kernels.count_levels(face)
    for channel in range(3):
        mean, spread = _statistics(own[channel])
        face_mean, face_spread = _statistics(faces[channel])
        ratio = np.clip(face_spread / max(spread, 1e-6), 1 / _STRONGEST_GAIN, _STRONGEST_GAIN)
        moved = mean + amount * (face_mean - mean)
        table = moved + (1 + amount * (ratio - 1)) * (_LEVELS - mean)
        tables[channel] = np.rint(np.clip(table, 0, 255))
    return kernels.look_up(colours, tables)


def _statistics(counts: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of bytes that occur so often: (256,)."""
    total = counts.sum()
    mean = (counts * _LEVELS).sum() / total
    return mean, np.sqrt((counts * (_LEVELS - mean) ** 2).sum() / total)
