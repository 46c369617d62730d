"""Building blocks that the networks share."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.nn import initializers

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


class BatchNorm(nn.Module):
    """Batch normalisation, epsilon 1e-5, with statistics for evaluation from about 100 steps.

    PyTorch's default of about 10 steps is too short a memory for small batches: evaluation
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
    """Parametric ReLU with one slope a channel, at first 0.25 (He et al., arXiv 1502.01852)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        slope = self.param("slope", initializers.constant(0.25), (x.shape[-1],), jnp.float32)
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


def _on_cpu() -> bool:
    """Whether programs are compiled for a CPU, where some gradients need another lowering."""
    return jax.default_backend() == "cpu"


def _plain_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _growing_conv(x: jax.Array, kernel: jax.Array, padding: int) -> jax.Array:
    """A stride-1 convolution whose kernel gradient is one matrix product a tap.

    XLA runs that gradient as a naive loop on a CPU where the output is larger than the input:
    for 128 to 256 channels on 9x9 pixels, 524 ms by the loop and 6 ms by products.
    """
    return _plain_conv(x, kernel, 1, padding)


def _growing_conv_forward(x, kernel, padding):
    return _plain_conv(x, kernel, 1, padding), (x, kernel)


def _growing_conv_backward(padding, residual, cotangent):
    x, kernel = residual
    _, pull_back = jax.vjp(lambda x: _plain_conv(x, kernel, 1, padding), x)
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = cotangent.shape[1:3]
    flat = cotangent.reshape(-1, cotangent.shape[-1])
    taps = [
        padded[:, i : i + height, j : j + width].reshape(-1, x.shape[-1]).T @ flat
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    ]
    return *pull_back(cotangent), jnp.stack(taps).reshape(kernel.shape)


_growing_conv.defvjp(_growing_conv_forward, _growing_conv_backward)


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """Convolves `x` (B, H, W, C) with `kernel` (K, K, C, D), zero-padded on all four sides."""
    size = kernel.shape[0]
    if size == 1 and stride == 1 and padding == 0:
        return x @ kernel[0, 0]
    if stride == 1 and 2 * padding >= size and _on_cpu():
        return _growing_conv(x, kernel, padding)
    return _plain_conv(x, kernel, stride, padding)


def up_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution of stride 2 with a 4x4 `kernel` (4, 4, C, D): doubles the size.

    On a CPU by a 2x2 convolution to four times the channels, which then become pixels: XLA
    runs the kernel gradient of a transposed convolution there thirty times slower.
    """
    if not _on_cpu():
        return jax.lax.conv_transpose(x, kernel, (2, 2), "SAME")
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    # Taps of either parity make the pixels of either parity.
    phases = kernel.reshape(2, 2, 2, 2, channels, features)[:, ::-1, :, ::-1]
    phases = phases.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, channels, 4 * features)
    y = _growing_conv(x, phases, 1).reshape(batch, height + 1, width + 1, 2, 2, features)
    y = y.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height + 2, 2 * width + 2, features)
    return y[:, 1:-1, 1:-1]


class Conv(nn.Module):
    """2-D convolution, NHWC, square kernel and symmetric padding as in PyTorch."""

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


def _interpolation_matrix(size: int) -> np.ndarray:
    """(2 size, size) float32: linear interpolation that maps corners onto corners."""
    position = np.linspace(0.0, size - 1.0, 2 * size)
    return np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(size))).astype(np.float32)


def upsample(x: jax.Array) -> jax.Array:
    """Doubles rows and columns of `x` (B, H, W, C) bilinearly, corners mapped onto corners.

    The same as `interpolate(scale_factor=2, mode='bilinear', align_corners=True)` in PyTorch,
    which all published FaceShifter networks use; `jax.image.resize` has no such mode.
    """
    rows = jnp.asarray(_interpolation_matrix(x.shape[1]), x.dtype)
    columns = jnp.asarray(_interpolation_matrix(x.shape[2]), x.dtype)
    return jnp.einsum("ph,qw,bhwc->bpqc", rows, columns, x)
