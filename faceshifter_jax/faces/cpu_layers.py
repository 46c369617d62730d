"""The layers of MediaPipe's networks by numpy and kernels that are compiled once and for all.

What `blaze_face` says is run operation by operation: products by BLAS, depthwise
convolutions by numba, whose cache a later process reads.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from faceshifter_jax.compiled import compiled


class CpuLayers:
    """`blaze_face.Layers` on arrays of numpy; fresh results are changed in place."""

    def __init__(self, parameter: Callable[[str, tuple[int, ...]], np.ndarray]):
        """Takes a function that returns the parameter of a name and shape, float32."""
        self._parameter = parameter

    def conv(self, name: str, x: Any, features: int, kernel: int = 1, stride: int = 1) -> Any:
        shape = (kernel, kernel, x.shape[-1], features)
        weights = self._parameter(f"{name}/kernel", shape).reshape(-1, features)
        patches = x if kernel == 1 else _patches(x, kernel, stride)
        y = patches.reshape(-1, len(weights)) @ weights
        y += self._parameter(f"{name}/bias", (features,))
        return y.reshape(*patches.shape[:3], features)

    def depthwise(self, name: str, x: Any, stride: int = 1) -> Any:
        channels = x.shape[-1]
        kernel = self._parameter(f"{name}/kernel", (3, 3, 1, channels)).reshape(9, channels)
        bias = self._parameter(f"{name}/bias", (channels,))
        padded = _padded(x, 3, stride)
        y = np.empty((len(x), *(-(-side // stride) for side in x.shape[1:3]), channels), np.float32)
        _depthwise(padded, kernel, bias, stride, y)
        return y

    def prelu(self, name: str, x: Any) -> Any:
        slope = self._parameter(f"{name}/slope", (x.shape[-1],))
        negative = np.minimum(x, 0)
        negative *= slope
        np.maximum(x, 0, out=x)
        x += negative
        return x

    def relu(self, x: Any) -> Any:
        return np.maximum(x, 0, out=x)

    def pool(self, x: Any) -> Any:
        x = np.maximum(x[:, ::2], x[:, 1::2])
        return np.maximum(x[:, :, ::2], x[:, :, 1::2])

    def upsample(self, x: Any) -> Any:
        for axis in (1, 2):
            last = x.shape[axis] - 1
            places = np.arange(last + 1)
            before = x.take(np.maximum(places - 1, 0), axis)
            after = x.take(np.minimum(places + 1, last), axis)
            pair = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
            shape = [2 * n if i == axis else n for i, n in enumerate(x.shape)]
            x = pair.reshape(shape)
        return x

    def add(self, y: Any, x: Any) -> Any:
        y[..., : x.shape[-1]] += x
        return y

    def join(self, parts: list[Any]) -> Any:
        return np.concatenate(parts, 1)


def _padded(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Zeros around a map, as TensorFlow's `SAME` has them: the larger half last."""
    widths = []
    for side in x.shape[1:3]:
        total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
        widths.append((total // 2, total - total // 2))
    (above, below), (before, after) = widths
    batch, height, width, channels = x.shape
    # Several times as fast as np.pad.
    padded = np.zeros((batch, height + above + below, width + before + after, channels), x.dtype)
    padded[:, above : above + height, before : before + width] = x
    return padded


def _patches(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """(B, H', W', kernel * kernel * C): what is under the kernel at each place."""
    padded = _padded(x, kernel, stride)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(*windows.shape[:3], -1)


@compiled(nogil=True, fastmath=True)
def _depthwise(padded, kernel, bias, stride, result):
    batch, height, width, channels = result.shape
    for image in range(batch):
        for row in range(height):
            for column in range(width):
                top, left = row * stride, column * stride
                a, b, c = padded[image, top], padded[image, top + 1], padded[image, top + 2]
                for k in range(channels):
                    result[image, row, column, k] = (
                        bias[k]
                        + a[left, k] * kernel[0, k]
                        + a[left + 1, k] * kernel[1, k]
                        + a[left + 2, k] * kernel[2, k]
                        + b[left, k] * kernel[3, k]
                        + b[left + 1, k] * kernel[4, k]
                        + b[left + 2, k] * kernel[5, k]
                        + c[left, k] * kernel[6, k]
                        + c[left + 1, k] * kernel[7, k]
                        + c[left + 2, k] * kernel[8, k]
                    )
