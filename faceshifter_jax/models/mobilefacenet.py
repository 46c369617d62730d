"""MobileFaceNet (Chen et al., arXiv 1804.07573, table 1): an identity network for a CPU."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn import initializers

from faceshifter_jax.errors import UserError
from faceshifter_jax.models.layers import BatchNorm, PReLU, convolve, convolve_depthwise

# Expansion, channels, blocks, stride of the first block.
STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))

# A depthwise kernel's fan-in is its taps alone, which the axes of its shape do not show.
_dense_init = initializers.glorot_normal()
_depthwise_init = initializers.glorot_normal(in_axis=(0, 1), out_axis=2)


def convolve_same(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves `x` (B, H, W, C) with `kernel` (K, K, C, D) to ceil(H / stride) rows.

    Padding is TensorFlow's `SAME`: an odd number of zeros puts the larger half last.
    """
    padding = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], (stride, stride), "SAME")
    return convolve(jnp.pad(x, ((0, 0), *padding, (0, 0))), kernel, stride, 0)


class ConvUnit(nn.Module):
    """A convolution, its batch normalisation and, unless it is linear, PReLU.

    Attributes:
      features: output channels; None for a depthwise convolution.
      kernel: side of the kernel; 0 for a depthwise one over the whole picture, without padding.
      linear: whether there is no activation.
      norm_dtype: dtype of the normalisation and the result; that of the computation if None.
    """

    features: int | None
    kernel: int
    stride: int = 1
    linear: bool = False
    dtype: Any = jnp.float32
    norm_dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        sides = (self.kernel, self.kernel) if self.kernel else x.shape[1:3]
        if self.features:
            init, shape = _dense_init, (*sides, x.shape[-1], self.features)
        else:
            init, shape = _depthwise_init, (*sides, 1, x.shape[-1])
        kernel = self.param("kernel", init, shape, jnp.float32).astype(self.dtype)
        x = x.astype(self.dtype)
        if self.kernel == 0:
            x = jnp.einsum("bhwc,hwc->bc", x, kernel[:, :, 0])[:, None, None]
        elif self.features:
            x = convolve_same(x, kernel, self.stride)
        else:
            x = convolve_depthwise(x, kernel, self.stride)
        dtype = self.norm_dtype or self.dtype
        x = BatchNorm(dtype, self.axis_name, name="norm")(x.astype(dtype), train)
        return x if self.linear else PReLU(name="prelu")(x)


class MobileFaceNet(nn.Module):
    """Maps an aligned face to an embedding whose direction is the identity.

    The default is the network of MobileFaceNet_TF, of 1.29 M parameters besides the scales of its
    normalisations, which it folds into its kernels; the paper's has
    `embedding_size=128, separable=False`.

    Attributes:
      embedding_size: length of the embedding.
      stem_channels: channels of the first two convolutions.
      stages: a row (expansion, channels, blocks, stride) a stage. A block widens its input by the
        expansion; the first block of a stage has the stride, the others 1. A block that changes
        neither size nor channels adds its input.
      head_channels: channels of the last feature map.
      separable: whether a linear 1x1 convolution follows the depthwise convolutions outside the
        blocks; not in the paper.
      dtype: dtype of the computation; parameters and the embedding are float32.
      axis_name: pmapped axis of the batch normalisation, None outside pmap.
    """

    embedding_size: int = 192
    stem_channels: int = 64
    stages: Sequence[Sequence[int]] = STAGES
    head_channels: int = 512
    separable: bool = True
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Embeds faces (B, S, S, 3) in [-1, 1]; returns (B, embedding_size), not normalised."""
        if any(len(stage) != 4 or min(stage) < 1 for stage in self.stages):
            raise UserError(
                "stages must be rows of four positive numbers (expansion, channels, blocks, "
                f"stride), not {self.stages}"
            )

        def unit(x, features, kernel, stride=1, linear=False, name="", norm_dtype=None):
            layer = ConvUnit(
                features, kernel, stride, linear, self.dtype, norm_dtype, self.axis_name, name=name
            )
            return layer(x, train)

        x = unit(x, self.stem_channels, 3, 2, name="stem")
        x = unit(x, None, 3, name="stem_depthwise")
        if self.separable:
            x = unit(x, self.stem_channels, 1, linear=True, name="stem_pointwise")
        for i, (expansion, channels, blocks, first_stride) in enumerate(self.stages):
            for j in range(blocks):
                stride, name = first_stride if j == 0 else 1, f"stage_{i}_block_{j}"
                y = unit(x, expansion * x.shape[-1], 1, name=f"{name}_expand")
                y = unit(y, None, 3, stride, name=f"{name}_depthwise")
                y = unit(y, channels, 1, linear=True, name=f"{name}_project")
                x = x + y if stride == 1 and channels == x.shape[-1] else y
        x = unit(x, self.head_channels, 1, name="head")
        x = unit(x, None, 0, linear=True, name="head_depthwise")
        if self.separable:
            x = unit(x, self.head_channels, 1, linear=True, name="head_pointwise")
        x = unit(x, self.embedding_size, 1, linear=True, name="embedding", norm_dtype=jnp.float32)
        return x[:, 0, 0]
