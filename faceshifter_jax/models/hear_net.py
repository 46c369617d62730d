"""HEAR-Net, the second stage of FaceShifter (arXiv 1912.13457, section 3.2)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.errors import UserError
from faceshifter_jax.models.layers import BatchNorm, Conv, UpConv, leaky_relu, upsample

_activation = leaky_relu(0.1)


class HEARNet(nn.Module):
    """Restores what AEI-Net lost: glasses, hair, hands in front of the face.

    Attributes:
      channels: width after each 4x4 stride-2 convolution on the way down; the way up mirrors them,
        each transposed convolution as wide as the skip that it joins.
      use_bias: biases in the convolutions.
      input_skip: adds the swap and the error at full size as inputs: next to the upward path, into
        one more 3x3 convolution half as wide as the first, and next to its result, into the last
        one. The published network does not have this, and loses whatever is finer than two pixels:
        at 256 pixels little, at 64 the frames of glasses.
      output: `tanh`, as published, draws the picture; `gated`, our own, predicts the share of the
        error that each place and colour gets back, and a correction: swap + share * error +
        correction. A short training run gets closer with it, because it does not need to learn to
        copy. `blend`, our own, reads the target as well and says how much of it shows: swap +
        share * (target - swap). The error tells where AEI-Net lost something, but swap + error is
        the target there only if AEI-Net loses the same for both identities.
      folded: the normalisations are part of the convolutions, as `folding.fold` makes them; for
        evaluation alone.
      dtype: dtype of the computation; parameters and the picture are float32.
      axis_name: pmapped axis of the batch normalisation, None outside pmap.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    use_bias: bool = True
    input_skip: bool = False
    output: str = "tanh"
    folded: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        swap: jax.Array,
        error: jax.Array,
        target: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Refines swaps.

        Args:
          swap: AEI-Net's pictures (B, S, S, 3) in [-1, 1], S a multiple of 2**len(channels).
          error: the heuristic error (B, S, S, 3) in [-2, 2]: each target minus AEI-Net's output for
            that target and its own identity.
          target: the targets (B, S, S, 3) in [-1, 1]; read by `blend` alone, which needs them.
          train: use the batch's statistics and update the running ones.

        Returns:
          The refined pictures (B, S, S, 3), float32 in [-1, 1].

        Raises:
          UserError: S is not such a multiple, or `output` is unknown.
          ValueError: `blend` got no target.
        """
        if self.output not in ("tanh", "gated", "blend"):
            raise UserError(f"model.output must be 'tanh', 'gated' or 'blend', not {self.output!r}")
        self._check_size(*swap.shape[1:3])
        use_bias = self.use_bias or self.folded
        pictures = [swap, error]
        if self.output == "blend":
            if target is None:
                raise ValueError("HEAR-Net with output 'blend' needs the targets")
            pictures.append(target)
        inputs = x = jnp.concatenate(pictures, -1)
        down = []
        for i, width in enumerate(self.channels):
            conv = Conv(width, 4, 2, 1, use_bias, self.dtype, name=f"down_{i}")
            x = self._normalise(conv(x), train, f"down_norm_{i}")
            down.append(x)
        for i, skip in enumerate(reversed(down[:-1])):
            conv = UpConv(skip.shape[-1], use_bias, self.dtype, name=f"up_{i}")
            x = jnp.concatenate([skip, self._normalise(conv(x), train, f"up_norm_{i}")], -1)
        x = upsample(x)
        if self.input_skip:
            x = jnp.concatenate([inputs.astype(x.dtype), x], -1)
            conv = Conv(self.channels[0] // 2, 3, 1, 1, use_bias, self.dtype, name="full_size")
            x = self._normalise(conv(x), train, "full_size_norm")
            x = jnp.concatenate([inputs.astype(x.dtype), x], -1)
        if self.output == "gated":
            return self._gate(x, swap, error)
        if self.output == "blend":
            assert target is not None  # Checked above.
            x = Conv(1, 3, 1, 1, self.use_bias, self.dtype, name="share")(x).astype(jnp.float32)
            return swap + jax.nn.sigmoid(x) * (target - swap)
        x = Conv(3, 3, 1, 1, self.use_bias, self.dtype, name="picture")(x)
        return jnp.tanh(x.astype(jnp.float32))

    def _gate(self, x: jax.Array, swap: jax.Array, error: jax.Array) -> jax.Array:
        x = Conv(6, 3, 1, 1, self.use_bias, self.dtype, name="gate")(x).astype(jnp.float32)
        share, correction = jnp.split(x, 2, -1)
        picture = swap + jax.nn.sigmoid(share) * error + jnp.tanh(correction)
        return jnp.clip(picture, -1, 1)

    def _check_size(self, height: int, width: int) -> None:
        if not self.channels:
            raise UserError("model.channels is empty: HEAR-Net needs a width for each step down")
        divisor = 2 ** len(self.channels)
        if height % divisor or width % divisor:
            raise UserError(
                f"HEAR-Net halves pictures {len(self.channels)} times: their size must be a "
                f"multiple of {divisor}, not {height}x{width}"
            )

    def _normalise(self, x: jax.Array, train: bool, name: str) -> jax.Array:
        if not self.folded:
            x = BatchNorm(self.dtype, self.axis_name, name=name)(x, train)
        return _activation(x)
