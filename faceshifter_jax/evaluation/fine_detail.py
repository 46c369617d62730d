"""Fine detail inside faces, and specks: bright or dark dots where there should be none.

Scales are for pictures of up to 128 pixels and grow with larger ones.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter, maximum_filter

from faceshifter_jax.evaluation.findings import Total
from faceshifter_jax.evaluation.intervals import leave_groups_out, pair_groups

_LARGEST_UNSCALED = 128  # pixels a side
_COARSE = 2.0  # pixels: wider structures are not fine detail
_DOT = 1.2  # pixels: answers to dots of 2 to 6 pixels
_POOL = 1.0  # pixels
_TOLERANCE = 2  # pixels, by which detail may stand elsewhere
_MARGIN = 2  # pixels at the face's outline that do not count
_TRUNCATE = 3.0


class DotEnergy(NamedTuple):
    """Energy of dots, one number a pair, float64 (B,).

    Attributes:
      stray: of those dots of the swap that stand where neither right answer nor target has any.
      answer: of all dots of the right answer.
    """

    stray: np.ndarray
    answer: np.ndarray


def inner_faces(*faces: np.ndarray) -> np.ndarray:
    """Masks where all of some pictures show skin, without the pixels next to its outline.

    Args:
      faces: covers of the faces in [0, 1], (B, S, S) each.

    Returns:
      bool (B, S, S).
    """
    size = faces[0].shape[1]
    certain = np.minimum.reduce(faces) > 0.99
    margin = round(_MARGIN * _scale(size))
    window = np.ones((2 * margin + 1, 2 * margin + 1), bool)
    # One by one: a thousand pictures at once would take a thousand times the memory.
    return np.array([binary_erosion(one, window) for one in certain]).reshape(certain.shape)


def detail_energy(pictures: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The energy of what a Gaussian of 2 pixels takes away, summed inside the faces.

    Args:
      pictures: uint8 (B, S, S, 3).
      inside: bool (B, S, S).

    Returns:
      (B,) float64, squared grey levels.
    """
    rows = zip(pictures, inside, strict=True)
    return np.array([np.square(_fine_detail(one))[where].sum() for one, where in rows], np.float64)


def dot_energy(
    swaps: np.ndarray, answers: np.ndarray, targets: np.ndarray, inside: np.ndarray
) -> DotEnergy:
    """The energy of dots in swaps that nothing accounts for, and that of the right answers.

    A dot is a place where brightness curves the same way in all directions: the determinant of
    the Hessian of the picture smoothed by 1.2 pixels, where positive (Lindeberg 1998). It sees
    dots of 2 to 6 pixels and hardly sees edges. Of the energy of a swap counts what exceeds the
    largest that right answer or target have within 2 pixels. So neither blur nor a face of which
    parts are still the target's counts, and blur cannot make up for specks.

    Args:
      swaps, answers, targets: uint8 (B, S, S, 3).
      inside: bool (B, S, S), where to look.
    """
    stray, answer = [], []
    for swap, right, target, where in zip(swaps, answers, targets, inside, strict=True):
        size = len(where)
        found, allowed, other = (_pool(_dots(one) * where) for one in (swap, right, target))
        answer.append(allowed.sum())
        reach = 2 * round(_TOLERANCE * _scale(size)) + 1
        allowed = maximum_filter(np.maximum(allowed, other), reach)
        stray.append(np.maximum(found - allowed, 0).sum())
    return DotEnergy(np.array(stray, np.float64), np.array(answer, np.float64))


def ratio_of_sums(above: np.ndarray, below: np.ndarray, *, plus: float = 0.0) -> Total:
    """The sum of one quantity over all pairs by that of another, plus a constant.

    Args:
      above, below: (B,), one number a pair.
      plus: the constant.
    """

    def ratio(rows: np.ndarray) -> float:
        return plus + _divide(above[rows].sum(), below[rows].sum())

    everything = np.arange(len(above))
    return Total(ratio(everything), leave_groups_out(ratio, len(above)))


def fixed_place_ratio(swaps: np.ndarray, answers: np.ndarray, inside: np.ndarray) -> Total:
    """Energy of fine detail that stands at the same place of all swaps, by that of the answers.

    The fine detail of all pictures is averaged pixel by pixel, over those whose face is there.
    Detail of the faces, which differ, averages away; specks at fixed places, a mesh or a seam
    stay.

    Args:
      swaps, answers: uint8 (B, S, S, 3).
      inside: bool (B, S, S).

    Returns:
      The ratio; 1 for right answers.
    """
    groups = pair_groups(len(swaps)) or [np.arange(len(swaps))]
    of_swaps, of_answers = (_sum_detail(p, inside, groups) for p in (swaps, answers))
    counts = np.stack([inside[group].sum(0) for group in groups])

    def ratio(chosen: np.ndarray) -> float:
        count = np.maximum(counts[chosen].sum(0), 1)[..., None]
        means = (np.square(sums[chosen].sum(0)) / count for sums in (of_swaps, of_answers))
        return _divide(*(mean.sum() for mean in means))

    everything = np.arange(len(groups))
    left = [ratio(np.delete(everything, k)) for k in everything] if len(groups) > 1 else []
    return Total(ratio(everything), np.array(left, np.float64))


def _sum_detail(pictures: np.ndarray, inside: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """Fine detail inside the faces, summed over each group of pictures: (G, S, S, 3)."""
    sums = np.zeros((len(groups), *pictures.shape[1:]))
    for total, group in zip(sums, groups, strict=True):
        for row in group:
            total += _fine_detail(pictures[row]) * inside[row][..., None]
    return sums


def _fine_detail(picture: np.ndarray) -> np.ndarray:
    deviation = _COARSE * _scale(len(picture))
    values = picture.astype(np.float32)
    return values - _smooth(values, deviation)


def _dots(picture: np.ndarray) -> np.ndarray:
    """The strength of a dot at each pixel of a picture (S, S, 3), over all colours: (S, S)."""
    deviation = _DOT * _scale(len(picture))
    values = picture.astype(np.float32)
    down, across, both = (_smooth(values, deviation, o) for o in ((2, 0), (0, 2), (1, 1)))
    curving = np.maximum(down * across - np.square(both), 0).sum(-1)
    return deviation**4 * curving


def _pool(values: np.ndarray) -> np.ndarray:
    return gaussian_filter(values, _POOL * _scale(len(values)), truncate=_TRUNCATE)


def _smooth(values: np.ndarray, deviation: float, order: Any = (0, 0)) -> np.ndarray:
    # An order for each axis, of which the stubs of scipy do not know.
    return gaussian_filter(values, deviation, order, truncate=_TRUNCATE, axes=(0, 1))


def _scale(size: int) -> float:
    return max(1.0, size / _LARGEST_UNSCALED)


def _divide(above: float, below: float) -> float:
    return float(above / below) if below > 0 else float("nan")
