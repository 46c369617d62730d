"""Convolutions written for the CPU: the same numbers as XLA's own, by faster programs.

XLA runs stride-1 convolutions over large pictures at the speed of the matrix unit there. Where a
map is small beside the kernel, or the stride is 2, it copies kernels round or falls back to naive
loops; and the kernel gradient over large pictures runs at a tenth of that speed. `layers` decides
when these functions are taken.
"""

from functools import partial

import jax
import jax.numpy as jnp

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
    return flat.reshape(*patches.shape[:3], -1)


def _patches(x: jax.Array, size: int, stride: int, padding: int) -> jax.Array:
    """(B, H', W', size * size * C): the pixels under the kernel, tap by tap."""
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = ((n - size) // stride + 1 for n in x.shape[1:3])
    taps = [
        x[:, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(taps, -1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv_over_picture(x: jax.Array, kernel: jax.Array, padding: int) -> jax.Array:
    """`plain_conv` with stride 1, whose kernel gradient is a sum of matrix products.

    XLA's own takes ten times as long over 256x256 pixels with 64 channels.
    """
    return plain_conv(x, kernel, 1, padding)


def _conv_over_picture_forward(x, kernel, padding):
    return plain_conv(x, kernel, 1, padding), (x, kernel)


def _conv_over_picture_backward(padding, residual, cotangent):
    x, kernel = residual
    _, pull_back = jax.vjp(lambda x: plain_conv(x, kernel, 1, padding), x)
    return *pull_back(cotangent), _kernel_gradient(x, cotangent, kernel.shape[0], padding)


conv_over_picture.defvjp(_conv_over_picture_forward, _conv_over_picture_backward)


def _kernel_gradient(x: jax.Array, cotangent: jax.Array, size: int, padding: int) -> jax.Array:
    """(size, size, C, D), the sum over all places, a few rows of a picture at a time.

    Tap (i, j) multiplies pixel (h + i, w + j) by the cotangent at (h, w). Shifting pixels along
    rows only and cotangents along columns only gives all taps from 2 * size copies in a block.
    """
    batch, height, width, features = cotangent.shape
    blocks = -(-(height + size - 1) * width // _PIXELS_OF_A_BLOCK)
    rows = -(-(height + size - 1) // blocks)
    # Rows of zeros, beyond the padding too, add nothing.
    below = blocks * rows - x.shape[1] - padding
    x = jnp.pad(x, ((0, 0), (padding, below), (padding, padding), (0, 0)))
    around = (size - 1, blocks * rows - height)
    cotangent = jnp.pad(cotangent, ((0, 0), around, (0, 0), (0, 0)))

    def add_block(total, index):
        start = (index // blocks, index % blocks * rows, 0, 0)
        pixels = jax.lax.dynamic_slice(x, start, (1, rows, *x.shape[2:]))
        window = (1, rows + size - 1, width, features)
        grads = jax.lax.dynamic_slice(cotangent, start, window)
        pixels = [pixels[:, :, j : j + width] for j in range(size)]
        grads = [grads[:, i : i + rows] for i in reversed(range(size))]
        left = jnp.concatenate(pixels, -1).reshape(rows * width, -1)
        right = jnp.concatenate(grads, -1).reshape(rows * width, -1)
        return total + left.T @ right, None

    channels = x.shape[-1]
    zeros = jnp.zeros((size * channels, size * features), x.dtype)
    total, _ = jax.lax.scan(add_block, zeros, jnp.arange(batch * blocks))
    return total.reshape(size, channels, size, features).transpose(2, 0, 1, 3)


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
