"""Identity networks of ArcFace (Deng et al., arXiv 1801.07698, section 3.1)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.errors import UserError
from faceshifter_jax.models.layers import BatchNorm, Conv, PReLU

STAGE_BLOCKS = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    152: (3, 8, 36, 3),
    200: (6, 26, 60, 6),
}


class SqueezeExcitation(nn.Module):
    """Channel attention (arXiv 1709.01507), sixteen-fold reduction, without biases."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        squeezed = x.mean((1, 2))
        inner = nn.Dense(max(1, channels // 16), use_bias=False, dtype=self.dtype, name="reduce")
        outer = nn.Dense(channels, use_bias=False, dtype=self.dtype, name="expand")
        gate = nn.sigmoid(outer(nn.relu(inner(squeezed))))
        return x * gate[:, None, None, :]


class IResBlock(nn.Module):
    """The improved residual block: BN, conv, (BN), PReLU, conv, BN, (squeeze-excitation)."""

    features: int
    stride: int
    variant: str
    squeeze_excitation: bool
    folded: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        out = BatchNorm(self.dtype, self.axis_name, name="norm_1")(x, train)
        if self.variant == "iresnet":
            out = self._conv_norm(out, 3, 1, ("conv_1", "norm_2"), train)
        else:
            out = Conv(self.features, 3, 1, 1, False, self.dtype, name="conv_1")(out)
        out = PReLU(name="prelu")(out)
        out = self._conv_norm(out, 3, self.stride, ("conv_2", "norm_3"), train)
        if self.squeeze_excitation:
            out = SqueezeExcitation(self.dtype, name="squeeze_excitation")(out)
        return out + self._shortcut(x, train)

    def _shortcut(self, x, train):
        same_width = x.shape[-1] == self.features
        if same_width and (self.variant == "ir" or self.stride == 1):
            return x[:, :: self.stride, :: self.stride]
        return self._conv_norm(x, 1, self.stride, ("shortcut", "shortcut_norm"), train)

    def _conv_norm(self, x, kernel, stride, names, train):
        conv, norm = names
        conv = Conv(self.features, kernel, stride, kernel // 2, self.folded, self.dtype, name=conv)
        x = conv(x)
        return x if self.folded else BatchNorm(self.dtype, self.axis_name, name=norm)(x, train)


class IResNet(nn.Module):
    """Maps an aligned face to an embedding whose direction is the identity.

    Attributes:
      depth: a key of `STAGE_BLOCKS`, which has the residual blocks of each stage.
      width: channels of the stem and the first stage; later stages double it. 64 in the paper.
      embedding_size: length of the embedding.
      variant: `iresnet`, the layout of arcface_torch, or `ir`, that of InsightFace_Pytorch.
        They differ in a normalisation between the block's convolutions and in the shortcut of
        the first stage.
      squeeze_excitation: channel attention in every block (IR-SE).
      folded: the normalisations, except those that begin the blocks, are part of the convolutions
        and of the embedding's layer, as `folding.fold` makes them; for evaluation alone.
      dtype: dtype of the computation; parameters and the embedding are float32.
      axis_name: pmapped axis of the batch normalisation, None outside pmap.
    """

    depth: int = 50
    width: int = 64
    embedding_size: int = 512
    variant: str = "ir"
    squeeze_excitation: bool = False
    folded: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Embeds faces (B, S, S, 3) in [-1, 1]; returns (B, embedding_size), not normalised."""
        if self.depth not in STAGE_BLOCKS:
            raise UserError(f"depth must be one of {sorted(STAGE_BLOCKS)}, not {self.depth}")
        if self.variant not in ("ir", "iresnet"):
            raise UserError(f"variant must be 'ir' or 'iresnet', not {self.variant!r}")
        x = Conv(self.width, 3, 1, 1, self.folded, self.dtype, name="stem")(x)
        if not self.folded:
            x = BatchNorm(self.dtype, self.axis_name, name="stem_norm")(x, train)
        x = PReLU(name="stem_prelu")(x)
        for stage, count in enumerate(STAGE_BLOCKS[self.depth]):
            for i in range(count):
                block = IResBlock(
                    self.width * 2**stage,
                    2 if i == 0 else 1,
                    self.variant,
                    self.squeeze_excitation,
                    self.folded,
                    self.dtype,
                    self.axis_name,
                    name=f"stage_{stage}_block_{i}",
                )
                x = block(x, train)
        return self._embed(x, train)

    def _embed(self, x: jax.Array, train: bool) -> jax.Array:
        if not self.folded:
            x = BatchNorm(self.dtype, self.axis_name, name="out_norm")(x, train)
        dense = nn.Dense(self.embedding_size, dtype=self.dtype, name="embedding")
        x = dense(x.reshape(x.shape[0], -1)).astype(jnp.float32)
        if self.folded:
            return x
        # arcface_torch keeps the scale of the last normalisation at 1.
        return BatchNorm(
            jnp.float32, self.axis_name, use_scale=self.variant == "ir", name="embedding_norm"
        )(x, train)
