"""The multi-level attribute encoder of AEI-Net (arXiv 1912.13457, section 3.1 and figure 3)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.errors import UserError
from faceshifter_jax.models.layers import (
    BatchNorm,
    Conv,
    UpConv,
    leaky_relu,
    upsample,
    upsample_centred,
)

_activation = leaky_relu(0.1)


class AttributeEncoder(nn.Module):
    """A U-Net whose decoder's feature maps are the attributes of a picture.

    Attributes:
      channels: width after each 4x4 stride-2 convolution on the way down; there are as many
        as halvings, so a picture of size S ends at S / 2**len(channels).
      skip: how a skip joins the upward path: `concat` (paper, U-Net) or `add` (LinkNet).
      up: how the upward path doubles a map: `transposed`, a 4x4 transposed convolution (paper), or
        `resize`, bilinear interpolation and a 3x3 convolution, which leaves no checkerboard
        (distill.pub/2016/deconv-checkerboard).
      use_bias: biases in the convolutions.
      input_range: `signed`, or `unit` for networks trained on [0, 1] pictures, to which the
        input is mapped.
      num_maps: how many feature maps are wanted, from the coarsest one, at least 1; None: all.
      folded: the normalisations are part of the convolutions, as `folding.fold` makes them; for
        evaluation alone.
      dtype: dtype of the computation; parameters are float32.
      axis_name: pmapped axis of the batch normalisation, None outside pmap.
    """

    channels: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 1024)
    skip: str = "concat"
    up: str = "transposed"
    use_bias: bool = False
    input_range: str = "signed"
    num_maps: int | None = None
    folded: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, ...]:
        """Encodes pictures.

        Args:
          x: (B, S, S, 3) in [-1, 1], S a multiple of 2**len(channels).
          train: use the batch's statistics and update the running ones.

        Returns:
          `num_maps` feature maps, all of them len(channels) + 1, from
          (B, S/2**n, S/2**n, channels[-1]) up to (B, S, S, C), each twice the size of the one
          before.

        Raises:
          UserError: S is not such a multiple, or `skip`, `up` or `input_range` is unknown.
        """
        divisor = 2 ** len(self.channels)
        if x.shape[1] % divisor or x.shape[2] % divisor:
            raise UserError(
                f"the attribute encoder halves pictures {len(self.channels)} times: their size "
                f"must be a multiple of {divisor}, not {x.shape[1]}x{x.shape[2]}"
            )
        use_bias = self.use_bias or self.folded
        down = [self._map_range(x)]
        for i, width in enumerate(self.channels):
            conv = Conv(width, 4, 2, 1, use_bias, self.dtype, name=f"down_{i}")
            down.append(self._normalise(conv(down[-1]), train, f"down_norm_{i}"))

        attributes = [down[-1]]
        wanted = len(down) if self.num_maps is None else self.num_maps
        for i, skip in enumerate(down[-2:0:-1][: wanted - 1]):
            up = self._double(attributes[-1], skip.shape[-1], f"up_{i}")
            up = self._normalise(up, train, f"up_norm_{i}")
            attributes.append(self._join(up, skip))
        if wanted < len(down):
            return tuple(attributes)
        last = upsample if self.up == "transposed" else upsample_centred
        return (*attributes, last(attributes[-1]))

    def _double(self, x: jax.Array, width: int, name: str) -> jax.Array:
        use_bias = self.use_bias or self.folded
        if self.up == "transposed":
            return UpConv(width, use_bias, self.dtype, name=name)(x)
        if self.up == "resize":
            return Conv(width, 3, 1, 1, use_bias, self.dtype, name=name)(upsample_centred(x))
        raise UserError(f"up must be 'transposed' or 'resize', not {self.up!r}")

    def _map_range(self, x: jax.Array) -> jax.Array:
        if self.input_range == "signed":
            return x
        if self.input_range == "unit":
            return (x + 1) / 2
        raise UserError(f"input_range must be 'signed' or 'unit', not {self.input_range!r}")

    def _normalise(self, x: jax.Array, train: bool, name: str) -> jax.Array:
        if not self.folded:
            x = BatchNorm(self.dtype, self.axis_name, name=name)(x, train)
        return _activation(x)

    def _join(self, up: jax.Array, skip: jax.Array) -> jax.Array:
        if self.skip == "concat":
            return jnp.concatenate([up, skip], -1)
        if self.skip == "add":
            return up + skip
        raise UserError(f"skip must be 'concat' or 'add', not {self.skip!r}")
