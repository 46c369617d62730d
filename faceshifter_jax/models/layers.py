"""Building blocks shared by the networks."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.nn import initializers

from faceshifter_jax.models import cpu_lowering

NORM_EPSILON = 1e-5

# Glorot-normal kernels are what the published FaceShifter networks start from.
kernel_init = initializers.glorot_normal()


def leaky_relu(slope: float) -> Callable[[jax.Array], jax.Array]:
    """Returns LeakyReLU with the given slope for negative inputs."""
    return partial(nn.leaky_relu, negative_slope=slope)


def instance_norm(x: jax.Array) -> jax.Array:
    """Normalises each channel of each picture over its rows and columns, without scale and bias.

    Statistics are float32 whatever the dtype of `x` (B, H, W, C), which the result keeps.
    """
    wide = x.astype(jnp.float32)
    mean = wide.mean((1, 2), keepdims=True)
    variance = jnp.square(wide - mean).mean((1, 2), keepdims=True)
    return ((wide - mean) * jax.lax.rsqrt(variance + NORM_EPSILON)).astype(x.dtype)


def robust_norm(x: jax.Array) -> jax.Array:
    """Like `instance_norm`, by statistics that single places cannot change much.

    The deviation is the mean absolute one and the result is squashed, 4 tanh(h / 4). A spike
    that is large enough to rule variance and mean is how magnitudes get past an instance
    normalisation, and is seen as a droplet (StyleGAN2, arXiv 1912.04958, section 2).
    """
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean((1, 2), keepdims=True)
    deviation = jnp.abs(centred).mean((1, 2), keepdims=True)
    return (4 * jnp.tanh(centred / (4 * deviation + 4 * NORM_EPSILON))).astype(x.dtype)


class BatchNorm(nn.Module):
    """Batch normalisation, epsilon 1e-5, with statistics for evaluation from about 100 steps.

    PyTorch's default of about 10 steps forgets too soon for small batches: evaluation
    would depend on the last few dozen pictures.

    Attributes:
      axis_name: the pmapped axis over which the statistics are shared, None outside pmap.
      use_scale: whether the learned scale exists (the bias always does).
    """

    dtype: Any = jnp.float32
    axis_name: str | None = None
    use_scale: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=0.99,
            epsilon=NORM_EPSILON,
            dtype=self.dtype,
            axis_name=self.axis_name,
            use_scale=self.use_scale,
            name="norm",
        )(x)


class PReLU(nn.Module):
    """Parametric ReLU with one slope a channel, initially 0.25 (He et al., arXiv 1502.01852)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        slope = self.param("slope", initializers.constant(0.25), (x.shape[-1],), jnp.float32)
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


# Limits that decide the lowering on a CPU: numbers of a map that stays in the cache, columns of a
# product that are hardly larger than the map itself, and channels that fill the matrix unit.
_CACHED = 2**20
_FEW_COLUMNS = 32
_WIDE = 32


_plain: contextvars.ContextVar[bool] = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain_lowering() -> Iterator[None]:
    """Within it, networks are traced as plain convolutions, whatever this process computes on.

    For programs that run elsewhere, and for batches whose number is not known. Functions that
    `jax.jit` traced before keep their programs.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def _on_cpu() -> bool:
    """Whether programs are compiled for a CPU, where another lowering is faster."""
    return not _plain.get() and jax.default_backend() == "cpu"


def _on_tpu() -> bool:
    return not _plain.get() and jax.default_backend() == "tpu"


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """Convolves `x` (B, H, W, C) with `kernel` (K, K, C, D), zero-padded on all four sides.

    On a CPU it has no forward mode: `jax.jvp` raises a TypeError wherever custom gradients
    (`jax.custom_vjp`) are faster.
    """
    size = kernel.shape[0]
    if size == 1 and stride == 1 and padding == 0:
        return x @ kernel[0, 0]
    if _on_tpu() and stride == 1 and size**2 * kernel.shape[-1] <= x.shape[-1]:
        return narrow_conv(x, kernel, padding)
    if not _on_cpu():
        return cpu_lowering.plain_conv(x, kernel, stride, padding)
    by_product = _is_small(x, kernel) or (stride > 1 and size <= 2 * stride)
    if by_product or size**2 * x.shape[-1] <= _FEW_COLUMNS:
        return cpu_lowering.conv_by_product(x, kernel, stride, padding)
    if stride > 1:
        return cpu_lowering.plain_conv(x, kernel, stride, padding)
    return _convolve_map(x, kernel, padding)


def _convolve_map(x: jax.Array, kernel: jax.Array, padding: int) -> jax.Array:
    """Convolves with stride 1 on a CPU; only gradients differ (times: `benchmarks/lowering.py`)."""
    size, _, channels, features = kernel.shape
    if size**2 * features <= _FEW_COLUMNS and padding < size:
        return cpu_lowering.conv_to_few(x, kernel, padding)
    if x.size < _CACHED:
        return cpu_lowering.conv_over_map(x, kernel, padding)
    # XLA's own kernel gradient is a naive loop where the map grows.
    if min(channels, features) >= _WIDE or 2 * padding >= size:
        return cpu_lowering.conv_over_picture(x, kernel, padding)
    return cpu_lowering.plain_conv(x, kernel, 1, padding)


def _is_small(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether a map is small compared with a kernel, whose copies then cost more than the map's."""
    batch, height, width, _ = x.shape
    taps, features = kernel.shape[0] ** 2, kernel.shape[-1]
    return min(height, width) <= kernel.shape[0] or 8 * batch * height * width <= taps * features


def narrow_conv(x: jax.Array, kernel: jax.Array, padding: int) -> jax.Array:
    """A convolution to few channels, zero-padded: one product for all taps, then shifted sums.

    A TPU convolves maps whose channels lie side by side, filled up to 128 of them, and keeps the
    maps around it with their columns side by side: what the convolution of 64 to 3 channels reads
    and writes is copied and grows to twice its size. A product takes either order.

    Args:
      x: (B, H, W, C).
      kernel: (K, K, C, D), with K * K * D no more than about C.
      padding: of zeros, on all four sides.
    """
    size, _, channels, features = kernel.shape
    height, width = (max(0, length + 2 * padding - size + 1) for length in x.shape[1:3])
    taps = x @ kernel.transpose(2, 0, 1, 3).reshape(channels, size * size * features)
    taps = jnp.pad(taps, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    shifted = [
        taps[:, i : i + height, j : j + width, k * features : (k + 1) * features]
        for k, (i, j) in enumerate(np.ndindex(size, size))
    ]
    wide = jnp.promote_types(x.dtype, jnp.float32)
    total: Any = sum(part.astype(wide) for part in shifted)
    return total.astype(x.dtype)


def convolve_depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves each channel of `x` (B, H, W, C) with its own filter in `kernel` (K, K, 1, C).

    Returns ceil(H / stride) rows and as many columns likewise. Padding is TensorFlow's `SAME`: an
    odd number of zeros puts the larger half last. On a CPU it has no forward mode (`jax.jvp`).
    """
    if _on_cpu():
        return cpu_lowering.depthwise_by_sums(x, kernel, stride)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def up_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution of stride 2 with a 4x4 `kernel` (4, 4, C, D): doubles the size.

    On a CPU it has no forward mode for large maps (`jax.jvp` raises a TypeError).
    """
    if not _on_cpu():
        return jax.lax.conv_transpose(x, kernel, (2, 2), "SAME")
    if x.size < _CACHED:
        return cpu_lowering.up_conv_by_products(x, kernel)
    return cpu_lowering.up_conv_by_phases(x, kernel, cpu_lowering.conv_over_picture)


class Conv(nn.Module):
    """2-D convolution, NHWC, square kernel and symmetric padding as in PyTorch.

    On a CPU it has no forward mode (`jax.jvp` may raise a TypeError), as `convolve`.
    """

    features: int
    kernel: int
    stride: int = 1
    padding: int = 0
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init, shape, jnp.float32)
        y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding)
        if not self.use_bias:
            return y
        bias = self.param("bias", initializers.zeros, (self.features,), jnp.float32)
        return y + bias.astype(self.dtype)


class UpConv(nn.Module):
    """Transposed 4x4 convolution of stride 2: (B, H, W, C) to (B, 2H, 2W, features)."""

    features: int
    use_bias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (4, 4, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init, shape, jnp.float32)
        y = up_convolve(x.astype(self.dtype), kernel.astype(self.dtype))
        if not self.use_bias:
            return y
        bias = self.param("bias", initializers.zeros, (self.features,), jnp.float32)
        return y + bias.astype(self.dtype)


def upsample_centred(x: jax.Array) -> jax.Array:
    """Doubles rows and columns of `x` (B, H, W, C) bilinearly, pixel areas onto pixel areas.

    Every place gets the same two weights in turn, 3/4 and 1/4, so there is no checkerboard.
    """
    for axis in (1, 2):
        first, last = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, x.shape[axis] - 1))
        inner = x.shape[axis] - 1
        before = jnp.concatenate([first, jax.lax.slice_in_dim(x, 0, inner, axis=axis)], axis)
        after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, inner + 1, axis=axis), last], axis)
        x = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        shape = [size for i, size in enumerate(x.shape) if i != axis + 1]
        shape[axis] *= 2
        x = x.reshape(shape)
    return x


def _interpolation_matrix(size: int) -> np.ndarray:
    """(2 size, size) float32: linear interpolation that maps corners onto corners."""
    position = np.linspace(0.0, size - 1.0, 2 * size)
    return np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(size))).astype(np.float32)


def upsample(x: jax.Array) -> jax.Array:
    """Doubles rows and columns of `x` (B, H, W, C) bilinearly, corners mapped onto corners.

    The same as `interpolate(scale_factor=2, mode='bilinear', align_corners=True)` in PyTorch,
    which all published FaceShifter networks use; `jax.image.resize` does not have this mode.
    """
    if _on_cpu():
        return cpu_lowering.upsample_by_sums(x)
    rows = jnp.asarray(_interpolation_matrix(x.shape[1]), x.dtype)
    columns = jnp.asarray(_interpolation_matrix(x.shape[2]), x.dtype)
    return jnp.einsum("ph,qw,bhwc->bpqc", rows, columns, x)
