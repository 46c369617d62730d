"""The multi-scale patch discriminator (pix2pixHD, arXiv 1711.11585, section 3.2)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.models.layers import Conv, instance_norm, leaky_relu

_activation = leaky_relu(0.2)
_AROUND: Any = ((1, 1), (1, 1))  # flax annotates it as str alone


def halve(x: jax.Array) -> jax.Array:
    """Averages 3x3 windows at every second place; the border counts only what is inside."""
    return nn.avg_pool(x, window_shape=(3, 3), strides=(2, 2), padding=_AROUND,
                       count_include_pad=False)  # fmt: skip


class PatchDiscriminator(nn.Module):
    """Scores overlapping patches of a picture at one scale.

    Attributes:
      width: channels after the first convolution; doubled by each further one, up to 512.
      num_layers: 4x4 stride-2 convolutions before the two of stride 1.
      use_norm: instance normalisation after all convolutions but the first and the last.
    """

    width: int = 64
    num_layers: int = 6
    use_norm: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, S, S, 3) in [-1, 1] to scores (B, P, P, 1), positive for real.

        The maps after each activation are sown as `intermediates`.
        """
        for i in range(self.num_layers + 1):
            features = min(self.width * 2**i, max(512, self.width))
            stride = 2 if i < self.num_layers else 1
            x = Conv(features, 4, stride, 2, dtype=self.dtype, name=f"conv_{i}")(x)
            if i and self.use_norm:
                x = instance_norm(x)
            x = _activation(x)
            self.sow("intermediates", f"map_{i}", x)
        return Conv(1, 4, 1, 2, dtype=self.dtype, name="scores")(x).astype(jnp.float32)


class MultiscaleDiscriminator(nn.Module):
    """Patch discriminators on the picture, its half, its quarter and so on."""

    num_scales: int = 3
    width: int = 64
    num_layers: int = 6
    use_norm: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """Returns each scale's scores, the full size first, each (B, P, P, 1) float32."""
        scores = []
        for scale in range(self.num_scales):
            discriminator = PatchDiscriminator(
                self.width, self.num_layers, self.use_norm, self.dtype, name=f"scale_{scale}"
            )
            scores.append(discriminator(x))
            if scale + 1 < self.num_scales:
                x = halve(x)
        return tuple(scores)
