"""MediaPipe's networks as linen modules, for accelerators."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.faces import blaze_face
from faceshifter_jax.models.layers import PReLU, convolve_depthwise, kernel_init, upsample_centred
from faceshifter_jax.models.mobilefacenet import convolve_same


class FaceNetworkModule(nn.Module):
    """One of the networks of `blaze_face`.

    Attributes:
      name_of_network: `short_range`, `full_range` or `face_mesh`.
    """

    name_of_network: str

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Runs it; see its function for shapes."""
        return getattr(blaze_face, self.name_of_network)(_LinenLayers(), x)


class _Convolution(nn.Module):
    """`Layers.conv`, and without `features` `Layers.depthwise`."""

    features: int | None
    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        inner = (channels, self.features) if self.features else (1, channels)
        kernel = self.param("kernel", kernel_init, (self.kernel, self.kernel, *inner), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (inner[-1],), jnp.float32)
        convolve = convolve_same if self.features else convolve_depthwise
        return convolve(x, kernel, self.stride) + bias


class _LinenLayers:
    """Layers inside of a compact method."""

    def conv(self, name: str, x: Any, features: int, kernel: int = 1, stride: int = 1) -> Any:
        return _Convolution(features, kernel, stride, name=name)(x)

    def depthwise(self, name: str, x: Any, stride: int = 1) -> Any:
        return _Convolution(None, 3, stride, name=name)(x)

    def prelu(self, name: str, x: Any) -> Any:
        return PReLU(name=name)(x)

    def relu(self, x: Any) -> Any:
        return nn.relu(x)

    def pool(self, x: Any) -> Any:
        return nn.max_pool(x, (2, 2), (2, 2))

    def upsample(self, x: Any) -> Any:
        return upsample_centred(x)

    def add(self, y: Any, x: Any) -> Any:
        return y + jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, y.shape[-1] - x.shape[-1])))

    def join(self, parts: list[Any]) -> Any:
        return jnp.concatenate(parts, 1)
