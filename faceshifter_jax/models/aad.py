"""Adaptive attentional denormalisation (arXiv 1912.13457, section 3.1, equations 2 to 5)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.errors import UserError
from faceshifter_jax.models.layers import BatchNorm, Conv, instance_norm


@dataclasses.dataclass(frozen=True)
class AADSettings:
    """What differs between the published versions of the AAD layer and its residual block.

    Attributes:
      attribute_kernel: kernel size (odd) of the convolutions for gamma_att and beta_att.
      mask_kernel: kernel size (odd) of the convolution for the mask M.
      mask_per_channel: one mask for every channel instead of one for all.
      norm: normalisation of the input, `instance` or `batch`.
      use_bias: biases in the three convolutions of an AAD layer.
      conv_bias: biases in the 3x3 convolutions of a block.
      num_units: AAD units in a block before its skip path is added, 1 to 3.
      identity_skip: add the block's input to its output where their widths agree; where they
        differ, the skip path always goes through an AAD unit of its own.
    """

    attribute_kernel: int = 1
    mask_kernel: int = 1
    mask_per_channel: bool = False
    norm: str = "instance"
    use_bias: bool = True
    conv_bias: bool = False
    num_units: int = 2
    identity_skip: bool = True

    def __post_init__(self):
        for name in ("attribute_kernel", "mask_kernel"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 == 0:
                raise UserError(f"aad.{name} must be odd, not {getattr(self, name)}")
        if not 1 <= self.num_units <= 3:
            raise UserError(f"aad.num_units must be 1, 2 or 3, not {self.num_units}")
        if self.norm not in ("instance", "batch"):
            raise UserError(f"aad.norm must be 'instance' or 'batch', not {self.norm!r}")


class AADLayer(nn.Module):
    """Blends attributes and identity into a feature map, place by place.

    With h the normalised input: A = gamma_att * h + beta_att with gamma_att, beta_att from
    `attribute` by convolutions; I = gamma_id * h + beta_id, from `identity` by dense layers;
    M = sigmoid(conv(h)); the result is (1 - M) * A + M * I.
    """

    settings: AADSettings = AADSettings()
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, attribute: jax.Array, identity: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Applies the layer.

        Args:
          x: (B, H, W, C).
          attribute: (B, H, W, D).
          identity: (B, E), unit length.
          train: use the batch's statistics (only with batch normalisation).

        Returns:
          The blended map (B, H, W, C) and the mask M in [0, 1], (B, H, W, 1) or
          (B, H, W, C) with `mask_per_channel`; 1 where the identity rules.
        """
        channels = x.shape[-1]
        h = self._normalise(x, train)
        gamma_att = self._conv(channels, self.settings.attribute_kernel, "gamma_att")(attribute)
        beta_att = self._conv(channels, self.settings.attribute_kernel, "beta_att")(attribute)
        gamma_id = self._dense(channels, "gamma_id")(identity)[:, None, None, :]
        beta_id = self._dense(channels, "beta_id")(identity)[:, None, None, :]
        mask_channels = channels if self.settings.mask_per_channel else 1
        mask = nn.sigmoid(self._conv(mask_channels, self.settings.mask_kernel, "mask")(h))
        from_attribute = gamma_att * h + beta_att
        from_identity = gamma_id * h + beta_id
        return (1 - mask) * from_attribute + mask * from_identity, mask

    def _normalise(self, x: jax.Array, train: bool) -> jax.Array:
        if self.settings.norm == "instance":
            return instance_norm(x)
        return BatchNorm(self.dtype, self.axis_name, name="batch_norm")(x, train)

    def _conv(self, features: int, kernel: int, name: str) -> Conv:
        bias = self.settings.use_bias
        return Conv(features, kernel, 1, kernel // 2, bias, self.dtype, name=name)

    def _dense(self, features: int, name: str) -> nn.Dense:
        return nn.Dense(features, dtype=self.dtype, name=name)


class AADResBlock(nn.Module):
    """AAD, ReLU, 3x3 convolution, `num_units` times, plus a skip path (figure 3c)."""

    features: int
    settings: AADSettings = AADSettings()
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, attribute: jax.Array, identity: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Returns the block's output (B, H, W, features) and the masks of its AAD layers."""
        masks = []

        def unit(h, width, name):
            aad = AADLayer(self.settings, self.dtype, self.axis_name, name=f"aad_{name}")
            h, mask = aad(h, attribute, identity, train)
            masks.append(mask)
            conv = Conv(width, 3, 1, 1, self.settings.conv_bias, self.dtype, name=f"conv_{name}")
            return conv(nn.relu(h))

        out, width = x, x.shape[-1]
        for i in range(self.settings.num_units):
            last = i == self.settings.num_units - 1
            out = unit(out, self.features if last else width, str(i))
        if width != self.features:
            out = out + unit(x, self.features, "skip")
        elif self.settings.identity_skip:
            out = out + x
        return out, tuple(masks)
