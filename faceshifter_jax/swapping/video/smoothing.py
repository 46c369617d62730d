"""Positions over time without the detector's noise: no lag, and no more blur than the noise asks.

Each position is estimated by straight lines fitted to windows of several widths around it, and
the widest window is taken whose line still agrees with those of all narrower ones within what the
noise explains (Lepski's rule; Goldenshluger and Nemirovski, "On spatially adaptive estimation of
nonparametric regression", 1997). A still face is averaged over half a second, a quick one over
hardly anything.
"""

import numpy as np

_WIDTHS = (1, 2, 4, 8, 12)
# Two estimates disagree if their distance is so many times what the noise lets expect.
_DISAGREE = 1.8
# Noise of one coordinate as a share of the landmarks' spread: where too few samples tell it, and
# at least.
_USUAL_NOISE, _LEAST_NOISE = 0.02, 0.003
_FEW_DIFFERENCES = 30
# Share of a step by which steps of the same length may differ.
_UNEVEN = 0.25
# Of white noise of deviation 1, fourth differences deviate by the root of 70; of a head's motion
# they hold next to nothing.
_FOURTH_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
_DEVIATION_PER_MEDIAN = 1.4826


def smooth(times: np.ndarray, values: np.ndarray, scale: np.ndarray, reach: float) -> np.ndarray:
    """Smooths what was measured along one track.

    Args:
      times: (N,) of the samples, increasing, in any unit.
      values: (N, K) coordinates, all in pixels.
      scale: (N,) pixels; the noise is taken to grow with it.
      reach: samples farther away in time than this do not count; in the same unit.

    Returns:
      (N, K) float64.
    """
    times, values = np.asarray(times, np.float64), np.asarray(values, np.float64)
    noise = _noise_share(times, values, scale) * np.asarray(scale, np.float64)
    result = values.copy()
    agreed = np.ones(len(times), bool)
    estimates = [(values, np.ones(len(times)))]
    for width in _WIDTHS:
        estimate, variance = _fit_lines(times, values, width, reach)
        for narrower, its_variance in estimates:
            distance = np.sqrt(np.mean((estimate - narrower) ** 2, axis=1))
            expected = noise * np.sqrt(variance + its_variance)
            agreed &= distance <= _DISAGREE * expected
        result[agreed] = estimate[agreed]
        estimates.append((estimate, variance))
    return result


def _fit_lines(
    times: np.ndarray, values: np.ndarray, width: int, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fits a line to each sample and `width` others on either side.

    Returns:
      what the lines say at the samples, (N, K), and the variance that noise of 1 gives it, (N,).
    """
    count = len(times)
    sums = np.zeros((3, count))
    neighbours = []
    for step in range(-width, width + 1):
        index = np.arange(count) + step
        inside = (index >= 0) & (index < count)
        index = np.clip(index, 0, count - 1)
        offset = times[index] - times
        weight = (inside & (np.abs(offset) <= reach)).astype(np.float64)
        sums += weight * np.stack([np.ones(count), offset, offset**2])
        neighbours.append((index, offset, weight))
    total, first, second = sums
    determinant = total * second - first**2
    # Of one sample it is 0, but for rounding, in whatever unit times are.
    lonely = (total < 2) | (determinant <= 1e-9 * total * second)
    determinant = np.where(lonely, 1, determinant)
    estimate, variance = np.zeros_like(values), np.zeros(count)
    for index, offset, weight in neighbours:
        share = weight * (second - first * offset) / determinant
        estimate += share[:, None] * values[index]
        variance += share**2
    estimate[lonely], variance[lonely] = values[lonely], 1
    return estimate, variance


def _noise_share(times: np.ndarray, values: np.ndarray, scale: np.ndarray) -> float:
    """Deviation of one coordinate's noise as a share of the scale."""
    steps = np.diff(times)
    # Containers round times to milliseconds.
    even = [
        i
        for i in range(len(times) - 4)
        if np.ptp(steps[i : i + 4]) <= _UNEVEN * steps[i : i + 4].mean()
    ]
    if len(even) * values.shape[1] < _FEW_DIFFERENCES:
        return _USUAL_NOISE
    windows = np.asarray(even)[:, None] + np.arange(5)
    differences = np.einsum("nwk,w->nk", values[windows], _FOURTH_DIFFERENCE)
    shares = np.abs(differences) / np.asarray(scale)[windows[:, 2], None]
    deviation = _DEVIATION_PER_MEDIAN * np.median(shares)
    return max(float(deviation / np.linalg.norm(_FOURTH_DIFFERENCE)), _LEAST_NOISE)
