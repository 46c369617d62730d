"""Adaptive attentional denormalisation (arXiv 1912.13457, section 3.1, equations 2 to 5)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.errors import UserError
from faceshifter_jax.models.layers import NORM_EPSILON, BatchNorm, Conv, instance_norm, robust_norm

NORMS = ("instance", "batch", "robust", "demodulation")


@dataclasses.dataclass(frozen=True)
class AADSettings:
    """Settings in which the published versions of the AAD layer and its residual block differ.

    Attributes:
      attribute_kernel: kernel size (odd) of the convolutions for gamma_att and beta_att.
      mask_kernel: kernel size (odd) of the convolution for the mask M.
      mask_per_channel: one mask for every channel instead of one for all.
      norm: normalisation of the input: `instance` (paper); `batch`; `robust`, by statistics that
        single places cannot move; or `demodulation`, by none: the expected effect of a
        convolution's kernel and of the modulation before it on magnitudes is divided out of its
        result.
      use_bias: biases in the three convolutions of an AAD layer.
      conv_bias: biases in the 3x3 convolutions of a block.
      num_units: AAD units in a block before its skip path is added, 1 to 3.
      identity_skip: add the block's input to its output where their widths agree; where they
        differ, the skip path always goes through its own AAD unit.
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
        if self.norm not in NORMS:
            raise UserError(f"aad.norm must be one of {', '.join(NORMS)}, not {self.norm!r}")


IdentityTerms = tuple[jax.Array, jax.Array]
"""gamma_id and beta_id of an AAD layer, (B, C) each."""


class AADLayer(nn.Module):
    """Blends attributes and identity into a feature map, place by place.

    With h the normalised input: A = gamma_att * h + beta_att with gamma_att, beta_att from
    the attributes by convolutions; I = gamma_id * h + beta_id, from the identity by dense layers;
    M = sigmoid(conv(h)); the result is (1 - M) * A + M * I.

    Attributes:
      channels: width C of the map.
    """

    channels: int
    settings: AADSettings = AADSettings()
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def setup(self):
        settings = self.settings
        self.gamma_att = self._conv(self.channels, settings.attribute_kernel)
        self.beta_att = self._conv(self.channels, settings.attribute_kernel)
        self.gamma_id = nn.Dense(self.channels, dtype=self.dtype)
        self.beta_id = nn.Dense(self.channels, dtype=self.dtype)
        self.mask = self._conv(
            self.channels if settings.mask_per_channel else 1, settings.mask_kernel
        )
        if settings.norm == "batch":
            self.batch_norm = BatchNorm(self.dtype, self.axis_name)

    def _conv(self, features: int, kernel: int) -> Conv:
        return Conv(features, kernel, 1, kernel // 2, self.settings.use_bias, self.dtype)

    def identity_terms(self, identity: jax.Array) -> IdentityTerms:
        """gamma_id and beta_id, (B, C) each, of identities (B, E) of unit length."""
        return self.gamma_id(identity), self.beta_id(identity)

    def blend(
        self,
        x: jax.Array,
        attribute: jax.Array,
        identity_terms: IdentityTerms,
        train: bool,
    ) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        """Applies the layer with the identity's contribution already computed.

        Returns:
          The result of `__call__`, and with `demodulation` the expected power of each channel, see
          `_expected_power`.
        """
        h = self._normalise(x, train)
        gamma_id, beta_id = (term[:, None, None, :] for term in identity_terms)
        mask = nn.sigmoid(self.mask(h))
        gamma_att, beta_att = self.gamma_att(attribute), self.beta_att(attribute)
        from_attribute = gamma_att * h + beta_att
        from_identity = gamma_id * h + beta_id
        blended = (1 - mask) * from_attribute + mask * from_identity
        if self.settings.norm != "demodulation":
            return blended, mask, None
        gamma = (1 - mask) * gamma_att + mask * gamma_id
        beta = (1 - mask) * beta_att + mask * beta_id
        return blended, mask, _expected_power(gamma, beta)

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
          (B, H, W, C) with `mask_per_channel`; 1 where the identity dominates.
        """
        return self.blend(x, attribute, self.identity_terms(identity), train)[:2]

    def _normalise(self, x: jax.Array, train: bool) -> jax.Array:
        if self.settings.norm == "instance":
            return instance_norm(x)
        if self.settings.norm == "robust":
            return robust_norm(x)
        return self.batch_norm(x, train) if self.settings.norm == "batch" else x


def _expected_power(gamma: jax.Array, beta: jax.Array) -> jax.Array:
    """Mean square (B, C) of gamma * h + beta over its places, (B, H, W, C), for h of unit power.

    Because h itself is not used, no spike in it can change how other places are scaled.
    """
    power = jnp.square(gamma.astype(jnp.float32)) + jnp.square(beta.astype(jnp.float32))
    return jnp.broadcast_to(power, jnp.broadcast_shapes(power.shape, beta.shape)).mean((1, 2))


class AADResBlock(nn.Module):
    """AAD, ReLU, 3x3 convolution, `num_units` times, plus a skip path (figure 3c).

    Attributes:
      width: channels of the input.
      features: channels of the output.
    """

    width: int
    features: int
    settings: AADSettings = AADSettings()
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def setup(self):
        last = self.settings.num_units - 1
        widths = {
            str(i): self.features if i == last else self.width
            for i in range(self.settings.num_units)
        }
        if self.width != self.features:
            widths["skip"] = self.features
        self.aad = {
            name: AADLayer(self.width, self.settings, self.dtype, self.axis_name) for name in widths
        }
        self.conv = {
            name: Conv(features, 3, 1, 1, self.settings.conv_bias, self.dtype)
            for name, features in widths.items()
        }

    def identity_terms(self, identity: jax.Array) -> dict[str, IdentityTerms]:
        """Computes what identities (B, E) of unit length contribute to each AAD layer, by name."""
        return {name: layer.identity_terms(identity) for name, layer in self.aad.items()}

    def __call__(
        self, x: jax.Array, attribute: jax.Array, identity: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Applies the block to an identity (B, E) of unit length; the rest is as in `blend`."""
        return self.blend(x, attribute, self.identity_terms(identity), train)

    def blend(
        self,
        x: jax.Array,
        attribute: jax.Array,
        identity_terms: dict[str, IdentityTerms],
        train: bool,
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Applies the block with the identity's contribution already computed.

        Args:
          x: (B, H, W, width).
          attribute: (B, H, W, D).
          identity_terms: the result of the method with that name.
          train: use the batch's statistics (only with batch normalisation).

        Returns:
          The block's output (B, H, W, features) and the masks of its AAD layers.
        """
        masks = []

        def unit(h, name):
            h, mask, power = self.aad[name].blend(h, attribute, identity_terms[name], train)
            masks.append(mask)
            h = self.conv[name](nn.relu(h))
            return h if power is None else self._demodulate(h, power, name)

        out = x
        for i in range(self.settings.num_units):
            out = unit(out, str(i))
        has_skip = self.width != self.features or self.settings.identity_skip
        if has_skip:
            out = out + (unit(x, "skip") if self.width != self.features else x)
        if has_skip and self.settings.norm == "demodulation":
            out = out * 0.5**0.5  # a sum of two maps of unit power
        return out, tuple(masks)

    def _demodulate(self, x: jax.Array, power: jax.Array, name: str) -> jax.Array:
        """Divides a convolution's result by its expected magnitude (arXiv 1912.04958, eq. 3).

        Args:
          x: (B, H, W, features), what the convolution made of the rectified modulated map.
          power: (B, width), the expected power of the modulated map, half of which is positive.
          name: of the convolution.
        """
        kernel = self.conv[name].variables["params"]["kernel"]
        power = power @ jnp.square(kernel).sum((0, 1)) / 2
        return x * jax.lax.rsqrt(power + NORM_EPSILON)[:, None, None].astype(x.dtype)
