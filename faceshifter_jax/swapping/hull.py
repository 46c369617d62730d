"""The hull of the face mesh as what a swap replaces."""

import numpy as np
from scipy.spatial import ConvexHull

from faceshifter_jax.faces.mesh import fit_to_square

# Shares of the aligned square's side: how far beyond the outline the mask reaches, and over which
# way it falls.
_BEYOND, _FEATHER = 0.05, 0.10


def hull_mask(landmarks: np.ndarray, aligned: np.ndarray, swapped: np.ndarray) -> np.ndarray | None:
    """Draws the convex hull of a face and of what was drawn in its place, soft at its rim.

    A swap may move the outline: the old one and the new one are both inside.

    Args:
      landmarks: (5, 2) points in the aligned picture, in the order of `Face.landmarks`.
      aligned: uint8 (S, S, 3), the target.
      swapped: uint8 (S, S, 3), the network's result.

    Returns:
      (S, S) float32 in [0, 1], 1/2 at the outline; None where the mesh sees no face in the target.
    """
    before = fit_to_square(aligned, landmarks)
    if before is None:
        return None
    after = fit_to_square(swapped, landmarks)
    points = before if after is None else np.concatenate([before, after])
    size = len(aligned)
    outside = _distance_outside(points, size)
    return smooth_step((_BEYOND * size - outside) / (_FEATHER * size)).astype(np.float32)


def _distance_outside(points: np.ndarray, size: int) -> np.ndarray:
    """(size, size): pixels from the hull's nearest side, negative inside."""
    sides = ConvexHull(points.astype(np.float64)).equations
    y, x = np.mgrid[:size, :size] + 0.5
    distance = np.full((size, size), -np.inf)
    for across, down, offset in sides:
        np.maximum(distance, across * x + down * y + offset, out=distance)
    return distance


def smooth_step(values: np.ndarray) -> np.ndarray:
    """Rises from 0 at 0 to 1 at 1, level at both ends; beyond them it stays."""
    values = np.clip(values, 0, 1)
    return values * values * (3 - 2 * values)
