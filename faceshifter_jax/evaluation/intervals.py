"""Confidence intervals (95 %) of figures, over the pairs."""

import math
from collections.abc import Callable

import numpy as np

Interval = tuple[float, float]
"""Lower and upper end."""

RESAMPLES = 1000
_SEED = 0
_LEVELS = (2.5, 97.5)
_TWO_SIDED = 1.959964  # of the normal distribution, 95 %
_GROUPS = 20
_NONE = (math.nan, math.nan)


def bootstrap_mean(values: np.ndarray, resamples: int = RESAMPLES) -> Interval:
    """The 95 % percentile interval of a mean over pairs, by the bootstrap (Efron, 1979).

    Pairs are drawn with replacement, always the same draws for the same number of pairs.

    Args:
      values: (B,), one a pair; those that are not finite are left out.
      resamples: how often.

    Returns:
      Both ends; NaN with fewer than two finite values.
    """
    values = _finite(values)
    if len(values) < 2:
        return _NONE
    shares = np.full(len(values), 1 / len(values))
    counts = np.random.default_rng(_SEED).multinomial(len(values), shares, size=resamples)
    low, high = np.percentile(counts @ values / len(values), _LEVELS)
    return float(low), float(high)


def share_interval(values: np.ndarray) -> Interval:
    """The 95 % interval of the share of pairs of which something is so: Wilson's (1927).

    Near 0 and 1 resampling finds too narrow an interval, and none at all where all pairs agree.
    Pairs that have a share of their own, as pairs of videos, are resampled nevertheless.

    Args:
      values: (B,) in [0, 1], one a pair; those that are not finite are left out.

    Returns:
      Both ends; NaN with fewer than two finite values.
    """
    values = _finite(values)
    if len(values) < 2 or not np.isin(values, (0, 1)).all():
        return bootstrap_mean(values)
    number, share = len(values), values.mean()
    scale = 1 + _TWO_SIDED**2 / number
    middle = (share + _TWO_SIDED**2 / (2 * number)) / scale
    variance = share * (1 - share) / number + (_TWO_SIDED / (2 * number)) ** 2
    half = _TWO_SIDED * math.sqrt(variance) / scale
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def mean_interval(values: np.ndarray, *, share: bool) -> Interval:
    """`share_interval` of shares, `bootstrap_mean` of all else."""
    return share_interval(values) if share else bootstrap_mean(values)


def difference_interval(differences: np.ndarray, *, share: bool) -> Interval:
    """The 95 % interval of a mean difference over pairs.

    Args:
      differences: (B,), one a pair; those that are not finite are left out.
      share: whether they are between shares, so that they are in [-1, 1].

    Returns:
      Both ends; NaN with fewer than two finite values.
    """
    if not share:
        return bootstrap_mean(differences)
    # Where all pairs differ, the share of those that rose has the interval of a share.
    low, high = share_interval((np.asarray(differences, np.float64) + 1) / 2)
    return 2 * low - 1, 2 * high - 1


def leave_groups_out(statistic: Callable[[np.ndarray], float], number: int) -> np.ndarray:
    """A figure over pairs without each of 20 groups of them, for `jackknife_interval`.

    Args:
      statistic: of the indices of the pairs to look at.
      number: of the pairs; the groups are always the same for the same number.

    Returns:
      (20,) float64; fewer with fewer pairs, and none with fewer than 4.
    """
    everything = np.arange(number)
    left = [statistic(np.setdiff1d(everything, group)) for group in pair_groups(number)]
    return np.array(left, np.float64)


def pair_groups(number: int) -> list[np.ndarray]:
    """The groups of pairs that `leave_groups_out` leaves out, each the indices of its pairs."""
    if number < 4:
        return []
    order = np.random.default_rng(_SEED).permutation(number)
    return np.array_split(order, min(_GROUPS, number))


def jackknife_interval(value: float, left: np.ndarray) -> Interval:
    """A 95 % interval of any figure over pairs: the estimate -+ 1.96 jackknife standard errors.

    Drawing with replacement, as the bootstrap does, makes a distance between two sets larger than
    it is; leaving out one of 20 groups of pairs at a time does not (Tukey, 1958).

    Args:
      value: the figure over all pairs.
      left: (G,), what `leave_groups_out` gave.

    Returns:
      Both ends; NaN without groups.
    """
    if not len(left):
        return _NONE
    factor = (len(left) - 1) / len(left)
    error = math.sqrt(factor * np.square(left - left.mean()).sum())
    return value - _TWO_SIDED * error, value + _TWO_SIDED * error


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return values[np.isfinite(values)]
