"""Metrics on arrays: one number a picture, or one a pair of sets."""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import correlate1d

SMALLEST_SIDE = 11
"""Pixels that a picture needs for `structural_similarity`: the side of its window."""

LARGEST_PSNR = 100.0
"""dB; about what a difference of one grey level in one value of 256 x 256 pixels makes."""

_WINDOW = np.exp(-0.5 * np.square(np.arange(-5, 6) / 1.5))
_WINDOW /= _WINDOW.sum()
_MARGIN = len(_WINDOW) // 2
_LUMINANCE_FLOOR, _CONTRAST_FLOOR = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Peak signal-to-noise ratio, 10 log10(255^2 / mean squared error), in dB.

    At most `LARGEST_PSNR`: that of equal pictures, which is infinite, would have no mean.

    Args:
      picture: (B, H, W, 3) uint8.
      truth: the same shape and dtype.
      mask: (B, H, W) in [0, 1], the weight of each pixel; None for the whole picture.

    Returns:
      (B,) float64; NaN where the mask is empty.
    """
    with np.errstate(divide="ignore"):
        ratio = 10 * np.log10(255.0**2 / _mean_of(np.square, picture, truth, mask))
    return np.minimum(ratio, LARGEST_PSNR)


def mean_error(
    picture: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None
) -> np.ndarray:
    """Mean absolute error, in grey levels of 255.

    Args:
      picture: (B, H, W, 3) uint8.
      truth: the same shape and dtype.
      mask: (B, H, W) in [0, 1], the weight of each pixel; None for the whole picture.

    Returns:
      (B,) float64; NaN where the mask is empty.
    """
    return _mean_of(np.abs, picture, truth, mask)


def structural_similarity(
    picture: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """SSIM (Wang et al. 2004) and the multi-scale distance 1 - MS-SSIM (Wang et al. 2003).

    Both use a Gaussian window of 11 pixels with a deviation of 1.5, K1 = 0.01, K2 = 0.03, each
    colour for itself, and count only where the window lies in the picture. MS-SSIM has as many of
    its five scales as leave at least 11 pixels, their weights scaled to a sum of 1; from one scale
    to the next pictures and mask are averaged over 2x2 pixels.

    Args:
      picture: (B, H, W, 3) uint8, at least 11 pixels a side.
      truth: the same shape and dtype.
      mask: (B, H, W) in [0, 1], the weight of each pixel; None for the whole picture.

    Returns:
      SSIM and distance, (B,) float64 each; 1 and 0 where the two are equal. NaN where the mask is
      empty at a scale.
    """
    masks = [None] * len(picture) if mask is None else mask
    rows = [_similarity(*row) for row in zip(picture, truth, masks, strict=True)]
    ssim, distance = np.array(rows, np.float64).reshape(-1, 2).T
    return ssim, distance


def _similarity(
    picture: np.ndarray, truth: np.ndarray, mask: np.ndarray | None
) -> tuple[float, float]:
    """SSIM and 1 - MS-SSIM of two pictures (H, W, 3)."""
    x, y = picture.astype(np.float64), truth.astype(np.float64)
    weights = np.array(_SCALE_WEIGHTS[: _count_scales(min(x.shape[:2]))])
    weights /= weights.sum()
    wholes, contrasts = [], []
    for scale in range(len(weights)):
        if scale:
            x, y = _halve(x), _halve(y)
            mask = None if mask is None else _halve(mask)
        whole, contrast = (_inner_mean(a, mask) for a in _similarity_maps(x, y))
        wholes.append(whole)
        contrasts.append(contrast)
    contrasts[-1] = wholes[-1]
    # Below 0 a power has no value; Wang's code and others take such a scale as 0.
    factors = np.maximum(np.stack(contrasts), 0) ** weights[:, None]
    return float(wholes[0].mean()), float(1 - factors.prod(0).mean())


def _count_scales(side: int) -> int:
    return max(1, sum(side >> scale >= SMALLEST_SIDE for scale in range(len(_SCALE_WEIGHTS))))


def _similarity_maps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM, and its contrast and structure alone, at each pixel: (H, W, 3)."""

    def blur(a):
        return correlate1d(correlate1d(a, _WINDOW, 0), _WINDOW, 1)

    mean_x, mean_y = blur(x), blur(y)
    products = mean_x * mean_y
    squares = np.square(mean_x) + np.square(mean_y)
    covariance = blur(x * y) - products
    variances = blur(np.square(x) + np.square(y)) - squares
    contrast = (2 * covariance + _CONTRAST_FLOOR) / (variances + _CONTRAST_FLOOR)
    return contrast * (2 * products + _LUMINANCE_FLOOR) / (squares + _LUMINANCE_FLOOR), contrast


def _inner_mean(values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The mean (3,) of values (H, W, 3) where the window lies in the picture."""
    inside = slice(_MARGIN, -_MARGIN)
    values = values[inside, inside]
    if mask is None:
        return values.mean((0, 1))
    weights = mask[inside, inside].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (values * weights[..., None]).sum((0, 1)) / weights.sum()


def _halve(values: np.ndarray) -> np.ndarray:
    height, width = values.shape[0] // 2 * 2, values.shape[1] // 2 * 2
    even = values[:height, :width]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _mean_of(
    measure: Callable[[np.ndarray], np.ndarray],
    picture: np.ndarray,
    truth: np.ndarray,
    mask: np.ndarray | None,
) -> np.ndarray:
    """The mean (B,) of `measure` of the differences, weighted by a mask; NaN where it is empty."""
    means = []
    # One by one: a thousand pictures as float64 would fill the memory.
    for row in range(len(picture)):
        errors = measure(picture[row].astype(np.float64) - truth[row]).mean(-1)
        weights = np.ones_like(errors) if mask is None else mask[row].astype(np.float64)
        with np.errstate(invalid="ignore"):
            means.append((errors * weights).sum() / weights.sum())
    return np.array(means, np.float64)


def nearer_source(swap: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Whether each swap's identity is nearer to its source than to its target.

    Args:
      swap, source, target: embeddings (B, E) of unit length.

    Returns:
      (B,) bool.
    """
    return np.sum(swap * source, -1) > np.sum(swap * target, -1)


def retrieval(
    queries: np.ndarray, gallery: np.ndarray, right: np.ndarray, top: int = 1
) -> np.ndarray:
    """Whether a right one is among the `top` gallery entries nearest to each query, by cosine.

    Args:
      queries: embeddings (B, E) of unit length.
      gallery: embeddings (N, E) of unit length.
      right: (B, N) bool: which entries are right ones.
      top: how many entries to look at; all of them where N is less.

    Returns:
      (B,) bool.
    """
    nearest = np.argsort(-(queries @ gallery.T), 1, kind="stable")[:, :top]
    return np.any(np.take_along_axis(right, nearest, 1), axis=1)


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), arXiv 1706.08500, with unbiased covariances.

    Args:
      first: (N, D), N at least 2.
      second: (M, D), M at least 2.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    between = np.square(first.mean(0) - second.mean(0)).sum()
    # tr (C1 C2)^(1/2) is the sum of the singular values of R1 R2', where R'R = C: so no root is
    # taken of a product that may be ill-conditioned.
    roots = [(a - a.mean(0)) / np.sqrt(len(a) - 1) for a in (first, second)]
    roots = [np.linalg.qr(r).R if len(r) > r.shape[1] else r for r in roots]
    cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(between + np.square(roots[0]).sum() + np.square(roots[1]).sum() - 2 * cross)


def kernel_distance(first: np.ndarray, second: np.ndarray, *, paired: bool = False) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3.

    The kernel inception distance of arXiv 1801.01401; it can be slightly below 0.

    Args:
      first: (N, D), N at least 2.
      second: (M, D), M at least 2.
      paired: whether row i of one belongs to row i of the other, as a swap to its target. Such
        pairs are left out: they are alike whatever the distributions are (Gretton et al., A kernel
        two-sample test, 2012, lemma 6). N is M then.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def without_own(values):
        return (values.sum() - np.trace(values)) / (len(values) * (len(values) - 1))

    within = without_own(kernel(first, first)) + without_own(kernel(second, second))
    between = kernel(first, second)
    return float(within - 2 * (without_own(between) if paired else between.mean()))
