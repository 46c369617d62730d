"""Metrics on arrays: one number a picture or a set."""

import numpy as np


def psnr(picture: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio, 10 log10(255^2 / mean squared error), in dB.

    Args:
      picture: (B, H, W, 3) uint8.
      truth: the same shape and dtype.

    Returns:
      (B,) float64; infinite where the two are equal.
    """
    difference = picture.astype(np.float64) - truth.astype(np.float64)
    error = np.square(difference).reshape(len(picture), -1).mean(1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255.0**2 / error)


def masked_error(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean absolute error inside a mask, in grey levels of 255.

    Args:
      picture: (B, H, W, 3) uint8.
      truth: the same shape and dtype.
      mask: (B, H, W) in [0, 1], the weight of each pixel.

    Returns:
      (B,) float64; NaN where the mask is empty.
    """
    difference = np.abs(picture.astype(np.float64) - truth.astype(np.float64)).mean(-1)
    with np.errstate(invalid="ignore"):
        return (difference * mask).sum((1, 2)) / mask.sum((1, 2), dtype=np.float64)


def nearer_source(swap: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Whether each swap's identity is nearer to its source than to its target.

    Args:
      swap, source, target: embeddings (B, E) of unit length.

    Returns:
      (B,) bool.
    """
    return np.sum(swap * source, -1) > np.sum(swap * target, -1)


def retrieval_top1(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the gallery entry nearest to each query, by cosine, is the right one.

    Args:
      queries: embeddings (B, E) of unit length.
      gallery: embeddings (N, E) of unit length, one an identity.
      labels: (B,) integers, the right row of the gallery.

    Returns:
      (B,) bool.
    """
    return np.argmax(queries @ gallery.T, 1) == labels
