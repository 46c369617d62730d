"""Depthwise convolution, fast on every kind of device."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


def convolve_depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves each channel of `x` (B, H, W, C) with its own filter in `kernel` (K, K, 1, C).

    Returns ceil(H / stride) rows and as many columns likewise. Padding is TensorFlow's `SAME`: of
    an odd number of zeros the larger half comes last.

    On a CPU a sum of shifted products: XLA runs the convolution there as a naive loop, at 3x3
    some twenty times slower, and its gradient with a stride up to a hundred times.
    """
    if jax.default_backend() == "cpu":
        return _sum_shifted(x, kernel, stride)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _padding(x: jax.Array, size: int, stride: int) -> list[tuple[int, int]]:
    return jax.lax.padtype_to_pads(x.shape[1:3], (size, size), (stride, stride), "SAME")


def _shifted(padded: jax.Array, size: int, stride: int) -> Iterator[jax.Array]:
    """Yields what each tap of a kernel sees of a padded picture, row by row of the kernel."""
    stop = [side - size + 1 for side in padded.shape[1:3]]
    for i, j in np.ndindex(size, size):
        yield padded[:, i : i + stop[0] : stride, j : j + stop[1] : stride]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _sum_shifted(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    size = kernel.shape[0]
    padded = jnp.pad(x, ((0, 0), *_padding(x, size, stride), (0, 0)))
    taps = kernel.reshape(size * size, -1)
    return sum(tap * view for tap, view in zip(taps, _shifted(padded, size, stride), strict=True))


def _forward(x, kernel, stride):
    return _sum_shifted(x, kernel, stride), (x, kernel)


def _backward(stride, residual, cotangent):
    x, kernel = residual
    size = kernel.shape[0]
    padding = _padding(x, size, stride)
    # The gradient of a shift is the opposite shift. Left to itself, XLA gathers it from as many
    # pictures as the kernel has taps, six times slower.
    spread = [(size - 1 - low, size - 1 - high, stride - 1) for low, high in padding]
    spread = jax.lax.pad(cotangent, jnp.zeros((), cotangent.dtype), [(0, 0, 0), *spread, (0, 0, 0)])
    turned = kernel[::-1, ::-1].reshape(size * size, -1)
    x_gradient = sum(
        tap * view for tap, view in zip(turned, _shifted(spread, size, 1), strict=True)
    )
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    taps = [(view * cotangent).sum((0, 1, 2)) for view in _shifted(padded, size, stride)]
    return x_gradient, jnp.stack(taps).reshape(kernel.shape)


_sum_shifted.defvjp(_forward, _backward)
