"""Convolutions written for the CPU: the same results as XLA's own, by faster programs.

XLA runs stride-1 convolutions over large pictures at the speed of the matrix unit there. Where a
map is small compared with the kernel, or the stride is 2, it copies kernels or falls back to naive
loops; and their kernel gradients run at a tenth of that speed or less. `layers` decides when these
functions are used.

Those with custom gradients (`jax.custom_vjp`) have no forward mode: `jax.jvp`, `jax.jacfwd`
and `jax.hessian` raise a TypeError.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Pixels of a product for the kernel gradient: what is copied for one then stays in the cache.
_PIXELS_OF_A_BLOCK = 1024


def plain_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """XLA's own convolution of `x` (B, H, W, C) with `kernel` (K, K, C, D), zero-padded."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def conv_by_product(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """`plain_conv` as one matrix product of what lies under the kernel at every place.

    The kernel is used as it lies in memory, forwards and backwards: its copies cost more than
    the product where it is larger than the map.
    """
    patches = _patches(x, kernel.shape[0], stride, padding)
    flat = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, kernel.shape[-1])
    return flat.reshape(*patches.shape[:3], kernel.shape[-1])


def _patches(x: jax.Array, size: int, stride: int, padding: int) -> jax.Array:
    """(B, H', W', size * size * C): the pixels under the kernel, tap by tap."""
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = (max(0, (n - size) // stride + 1) for n in x.shape[1:3])
    taps = [
        x[:, i : i + stride * height : stride, j : j + stride * width : stride]
        for i, j in np.ndindex(size, size)
    ]
    return jnp.concatenate(taps, -1)


Convolution = Callable[[jax.Array, jax.Array, int], jax.Array]


def _with_gradients(gradients: Callable[..., tuple[jax.Array, jax.Array]]) -> Convolution:
    """`plain_conv` with stride 1 as a function of `x`, `kernel`, `padding`, with other gradients.

    `gradients(x, kernel, cotangent, padding)` are those of `x` and of the kernel.
    """

    @partial(jax.custom_vjp, nondiff_argnums=(2,))
    def conv(x, kernel, padding):
        return plain_conv(x, kernel, 1, padding)

    def forward(x, kernel, padding):
        return plain_conv(x, kernel, 1, padding), (x, kernel)

    def backward(padding, residual, cotangent):
        x, _ = residual
        if x.size and cotangent.size:
            return gradients(*residual, cotangent, padding)
        # Empty blocks and taps have no shape.
        _, pull_back = jax.vjp(lambda x, kernel: plain_conv(x, kernel, 1, padding), *residual)
        return pull_back(cotangent)

    conv.defvjp(forward, backward)
    convolution: Any = conv
    return convolution


def _input_gradient(x, kernel, cotangent, padding):
    _, pull_back = jax.vjp(lambda x: plain_conv(x, kernel, 1, padding), x)
    return pull_back(cotangent)[0]


def _gradients_by_blocks(x, kernel, cotangent, padding):
    by_kernel = _kernel_gradient(x, cotangent, kernel.shape[0], padding)
    return _input_gradient(x, kernel, cotangent, padding), by_kernel


def _gradients_by_taps(x, kernel, cotangent, padding):
    """The kernel's is one product a tap, of the whole map."""
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width, features = cotangent.shape[1:]
    flat = cotangent.reshape(-1, features)
    taps = [
        padded[:, i : i + height, j : j + width].reshape(-1, x.shape[-1]).T @ flat
        for i, j in np.ndindex(kernel.shape[:2])
    ]
    by_kernel = jnp.stack(taps).reshape(kernel.shape)
    return _input_gradient(x, kernel, cotangent, padding), by_kernel


def _gradients_by_shifted_cotangents(x, kernel, cotangent, padding):
    """Both are products with the taps of the cotangent, which has few channels, side by side."""
    size, _, channels, features = kernel.shape
    taps = _patches(cotangent, size, 1, size - 1 - padding)
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1, channels)
    by_kernel = x.reshape(-1, channels).T @ taps.reshape(-1, taps.shape[-1])
    by_kernel = by_kernel.reshape(channels, size, size, features).transpose(1, 2, 0, 3)
    return taps @ turned, by_kernel[::-1, ::-1]


# XLA's own kernel gradient takes ten times as long over 256x256 pixels with 64 channels.
conv_over_picture = _with_gradients(_gradients_by_blocks)

# Without blocks, for maps that stay in the cache whole.
conv_over_map = _with_gradients(_gradients_by_taps)

# For few features, to which XLA's own gradients take ten times as long (64x64 pixels, 24 to 3), and
# a padding below the kernel's size.
conv_to_few = _with_gradients(_gradients_by_shifted_cotangents)


def _kernel_gradient(x: jax.Array, cotangent: jax.Array, size: int, padding: int) -> jax.Array:
    """(size, size, C, D), the sum over all places, a few rows of all pictures at a time.

    Tap (i, j) multiplies pixel (h + i, w + j) by the cotangent at (h, w). Shifting pixels along
    rows only and cotangents along columns only gives all taps from 2 * size copies in a block.
    """
    batch, height, width, features = cotangent.shape
    # One sum for each device that may hold a part of the batch: they meet once, after the last
    # block, where a single sum would meet in every block.
    parts = math.gcd(batch, jax.device_count())
    lead = (parts,) if parts > 1 else ()
    blocks, rows = _blocks(height + size - 1, width * (batch // parts))
    # Rows of zeros, beyond the padding too, add nothing.
    below = blocks * rows - x.shape[1] - padding
    x = jnp.pad(x, ((0, 0), (padding, below), (padding, padding), (0, 0)))
    around = (size - 1, blocks * rows - height)
    cotangent = jnp.pad(cotangent, ((0, 0), around, (0, 0), (0, 0)))
    # In bfloat16 a sum of hundreds of blocks would stop growing.
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def add_block(total, index):
        pixels = jax.lax.dynamic_slice_in_dim(x, index * rows, rows, 1)
        grads = jax.lax.dynamic_slice_in_dim(cotangent, index * rows, rows + size - 1, 1)
        pixels = [pixels[:, :, j : j + width] for j in range(size)]
        grads = [grads[:, i : i + rows] for i in reversed(range(size))]
        left, right = (
            jnp.concatenate(taps, -1).reshape(*lead, batch // parts, rows * width, -1)
            for taps in (pixels, grads)
        )
        product = "...bpc,...bpd->...cd"
        return total + jnp.einsum(product, left, right, preferred_element_type=wide), None

    channels = x.shape[-1]
    zeros = jnp.zeros((*lead, size * channels, size * features), wide)
    total, _ = jax.lax.scan(add_block, zeros, jnp.arange(blocks))
    total = total.reshape(parts, size, channels, size, features).sum(0)
    return total.transpose(2, 0, 1, 3).astype(x.dtype)


def _blocks(rows: int, pixels_of_a_row: int) -> tuple[int, int]:
    """Into how many blocks to divide `rows`, and the rows of each; the last may go beyond."""
    blocks = -(-rows * pixels_of_a_row // _PIXELS_OF_A_BLOCK)
    rows_of_a_block = -(-rows // blocks)
    return -(-rows // rows_of_a_block), rows_of_a_block


def up_conv_by_phases(x: jax.Array, kernel: jax.Array, convolve: Convolution) -> jax.Array:
    """`lax.conv_transpose(x, kernel, (2, 2), "SAME")` for a kernel (4, 4, C, D).

    A 2x2 convolution, by `convolve`, to four times the channels, which then become pixels: taps
    of either parity make the pixels of either parity.
    """
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    phases = kernel.reshape(2, 2, 2, 2, channels, features)[:, ::-1, :, ::-1]
    phases = phases.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, channels, 4 * features)
    y = convolve(x, phases, 1).reshape(batch, height + 1, width + 1, 2, 2, features)
    y = y.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height + 2, 2 * width + 2, features)
    return y[:, 1:-1, 1:-1]


def up_conv_by_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`lax.conv_transpose(x, kernel, (2, 2), "SAME")` for a kernel (4, 4, C, D).

    Every pixel gives 4x4 products, of which each pixel of the result sums 2x2.
    """
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    flat, taps = x.reshape(-1, channels), kernel.reshape(16, channels, features)
    if len(flat) < features:
        # Rather sixteen copies of the map than one of the kernel.
        products = jnp.broadcast_to(flat, (16, *flat.shape)) @ taps
        products = products.reshape(4, 4, batch, height, width, features)
    else:
        products = flat @ taps.transpose(1, 0, 2).reshape(channels, -1)
        products = products.reshape(batch, height, width, 4, 4, features)
        products = products.transpose(3, 4, 0, 1, 2, 5)
    rows = _interleaved_parts(products, 2)
    pixels = jnp.stack([jnp.stack(_interleaved_parts(row, 2), 3) for row in rows], 2)
    return pixels.reshape(batch, 2 * height, 2 * width, features)


def _interleaved_parts(taps: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """The even and the odd places along `axis` of the taps' maps, each a sum of two taps."""
    even = taps[2] + _shift(taps[0], 1, axis)
    odd = taps[1] + _shift(taps[3], -1, axis)
    return even, odd


def _shift(x: jax.Array, by: int, axis: int) -> jax.Array:
    """Moves `x` by one place, 1 or -1, along an axis; a zero comes in, the last one falls out."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (1, 0) if by == 1 else (0, 1)
    size = x.shape[axis]
    start = 0 if by == 1 else 1
    return jax.lax.slice_in_dim(jnp.pad(x, widths), start, start + size, axis=axis)


def upsample_by_sums(x: jax.Array) -> jax.Array:
    """Doubles rows and columns of `x` (B, H, W, C) bilinearly, corners mapped onto corners."""
    return _double(_double(x, 2), 1)


def _double(x: jax.Array, axis: int) -> jax.Array:
    """Place o of the result lies at o * (n - 1) / (2 n - 1) among the n of `x`."""
    n = x.shape[axis]
    shape = [1] * x.ndim
    shape[axis] = n
    index = jnp.arange(n, dtype=jnp.float32).reshape(shape)
    before = (index / (2 * n - 1)).astype(x.dtype)
    after = ((n - 1 - index) / (2 * n - 1)).astype(x.dtype)
    even = (1 - before) * x + before * _shift(x, 1, axis)
    odd = (1 - after) * x + after * _shift(x, -1, axis)
    doubled = jnp.stack([even, odd], axis + 1)
    return doubled.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])


def _same_padding(x: jax.Array, size: int, stride: int) -> list[tuple[int, int]]:
    return jax.lax.padtype_to_pads(x.shape[1:3], (size, size), (stride, stride), "SAME")


def _shifted(padded: jax.Array, size: int, stride: int) -> Iterator[jax.Array]:
    """Yields what each tap of a kernel sees of a padded picture, row by row of the kernel."""
    stop = [side - size + 1 for side in padded.shape[1:3]]
    for i, j in np.ndindex(size, size):
        yield padded[:, i : i + stop[0] : stride, j : j + stop[1] : stride]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_by_sums(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves each channel of `x` (B, H, W, C) with its own filter in `kernel` (K, K, 1, C).

    Padding is TensorFlow's `SAME`. A sum of shifted products: XLA runs the convolution as a naive
    loop, at 3x3 some twenty times slower, and its gradient with a stride up to a hundred times.
    """
    size = kernel.shape[0]
    padded = jnp.pad(x, ((0, 0), *_same_padding(x, size, stride), (0, 0)))
    taps = kernel.reshape(size * size, -1)
    views = _shifted(padded, size, stride)
    total: Any = sum(tap * view for tap, view in zip(taps, views, strict=True))
    return total


def _depthwise_forward(x, kernel, stride):
    return depthwise_by_sums(x, kernel, stride), (x, kernel)


def _depthwise_backward(stride, residual, cotangent):
    x, kernel = residual
    size = kernel.shape[0]
    padding = _same_padding(x, size, stride)
    # The gradient of a shift is the opposite shift. Left to itself, XLA gathers it from as many
    # pictures as the kernel has taps, six times slower.
    spread = [
        # At the end up to the last pixel of `x`, which a stride beyond the kernel may leave out.
        (size - 1 - low, x.shape[axis] + low - stride * (cotangent.shape[axis] - 1) - 1, stride - 1)
        for axis, (low, _) in enumerate(padding, 1)
    ]
    spread = jax.lax.pad(cotangent, jnp.zeros((), cotangent.dtype), [(0, 0, 0), *spread, (0, 0, 0)])
    turned = kernel[::-1, ::-1].reshape(size * size, -1)
    x_gradient = sum(
        tap * view for tap, view in zip(turned, _shifted(spread, size, 1), strict=True)
    )
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    taps = [(view * cotangent).sum((0, 1, 2)) for view in _shifted(padded, size, stride)]
    return x_gradient, jnp.stack(taps).reshape(kernel.shape)


depthwise_by_sums.defvjp(_depthwise_forward, _depthwise_backward)
