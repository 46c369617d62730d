"""The residual network of He et al. (arXiv 1512.03385), bottlenecks and all, as in torchvision.

maum-ai/faceshifter trained one of 101 layers to tell people apart.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.errors import UserError
from faceshifter_jax.models.layers import BatchNorm, Conv

BOTTLENECKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each normalised, and a shortcut."""

    width: int
    stride: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        features = _EXPANSION * self.width
        out = nn.relu(self._conv_norm(x, self.width, 1, 1, "1", train))
        out = nn.relu(self._conv_norm(out, self.width, 3, self.stride, "2", train))
        out = self._conv_norm(out, features, 1, 1, "3", train)
        if self.stride > 1 or x.shape[-1] != features:
            x = self._conv_norm(x, features, 1, self.stride, "shortcut", train)
        return nn.relu(out + x)

    def _conv_norm(self, x, features, kernel, stride, name, train):
        x = Conv(features, kernel, stride, kernel // 2, False, self.dtype, name=f"conv_{name}")(x)
        return BatchNorm(self.dtype, self.axis_name, name=f"norm_{name}")(x, train)


class ResNet(nn.Module):
    """Maps a face to an embedding whose direction is the identity.

    Attributes:
      depth: a key of `BOTTLENECKS`, which has the blocks of each stage.
      width: channels of the stem; 64 in the paper.
      embedding_size: length of the embedding.
      dtype: dtype of the computation; parameters and the embedding are float32.
      axis_name: pmapped axis of the batch normalisation, None outside pmap.
    """

    depth: int = 101
    width: int = 64
    embedding_size: int = 256
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Embeds pictures (B, S, S, 3); returns (B, embedding_size), not normalised.

        Raises:
          UserError: no such depth.
        """
        if self.depth not in BOTTLENECKS:
            raise UserError(f"depth must be one of {sorted(BOTTLENECKS)}, not {self.depth}")
        x = Conv(self.width, 7, 2, 3, False, self.dtype, name="stem")(x)
        x = nn.relu(BatchNorm(self.dtype, self.axis_name, name="stem_norm")(x, train))
        padding: Any = ((1, 1), (1, 1))  # flax annotates it as str alone
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=padding)
        for stage, count in enumerate(BOTTLENECKS[self.depth]):
            for i in range(count):
                stride = 2 if stage and i == 0 else 1
                block = Bottleneck(
                    self.width * 2**stage,
                    stride,
                    self.dtype,
                    self.axis_name,
                    name=f"stage_{stage}_block_{i}",
                )
                x = block(x, train)
        x = x.mean((1, 2)).astype(jnp.float32)
        return nn.Dense(self.embedding_size, name="embedding")(x)
