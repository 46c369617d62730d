"""How far a figure could be off, as 95 % intervals over the pairs."""

from collections.abc import Callable

import numpy as np

Interval = tuple[float, float]
"""Lower and upper end."""

RESAMPLES = 1000
_SEED = 0
_LEVELS = (2.5, 97.5)
_TWO_SIDED = 1.959964  # of the normal distribution, 95 %
_GROUPS = 20


def bootstrap_mean(values: np.ndarray, resamples: int = RESAMPLES) -> Interval:
    """The 95 % percentile interval of a mean over pairs, by the bootstrap (Efron, 1979).

    Pairs are drawn with replacement, always the same draws for the same number of pairs.

    Args:
      values: (B,), one a pair; those that are not finite are left out.
      resamples: how often.

    Returns:
      Both ends; NaN without a finite value.
    """
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    shares = np.full(len(values), 1 / len(values))
    counts = np.random.default_rng(_SEED).multinomial(len(values), shares, size=resamples)
    low, high = np.percentile(counts @ values / len(values), _LEVELS)
    return float(low), float(high)


def jackknife(statistic: Callable[[np.ndarray], float], number: int) -> Interval:
    """A 95 % interval of any figure over pairs: the estimate -+ 1.96 jackknife standard errors.

    Drawing with replacement, as the bootstrap does, makes a distance between two sets larger than
    it is; leaving out one of 20 groups of pairs at a time does not.

    Args:
      statistic: of the indices of the pairs to look at.
      number: of the pairs.

    Returns:
      Both ends; NaN with fewer than 4 pairs.
    """
    if number < 4:
        return float("nan"), float("nan")
    order = np.random.default_rng(_SEED).permutation(number)
    groups = np.array_split(order, min(_GROUPS, number))
    left = np.array([statistic(np.setdiff1d(order, group)) for group in groups])
    factor = (len(groups) - 1) / len(groups)
    error = np.sqrt(factor * np.square(left - left.mean()).sum())
    middle = statistic(np.arange(number))
    return float(middle - _TWO_SIDED * error), float(middle + _TWO_SIDED * error)
