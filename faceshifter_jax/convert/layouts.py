"""PyTorch's layouts of kernels, and the conversion to our channels-last order."""

import dataclasses
from collections.abc import Callable

import numpy as np

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of one kind of array, here and in PyTorch.

    Attributes:
      published_shape: our shape -> PyTorch's shape.
      to_ours: PyTorch's tensor and our shape -> our array, a view where possible.
    """

    published_shape: Callable[[Shape], Shape]
    to_ours: Callable[[np.ndarray, Shape], np.ndarray]


PLAIN = Layout(lambda shape: shape, lambda tensor, _: tensor)

# (H, W, in, out) of (out, in, H, W).
CONV = Layout(
    lambda shape: (shape[3], shape[2], shape[0], shape[1]),
    lambda tensor, _: tensor.transpose(2, 3, 1, 0),
)

# (H, W, in, out) of (in, out, H, W), rotated by 180 degrees: PyTorch's transposed convolution
# scatters its kernel, ours gathers with it.
UP_CONV = Layout(
    lambda shape: (shape[2], shape[3], shape[0], shape[1]),
    lambda tensor, _: tensor.transpose(2, 3, 0, 1)[::-1, ::-1],
)

# (in, out) of (out, in).
DENSE = Layout(lambda shape: (shape[1], shape[0]), lambda tensor, _: tensor.T)

# (in, out) of a 1x1 convolution (out, in, 1, 1).
POINTWISE = Layout(lambda shape: (shape[1], shape[0], 1, 1), lambda tensor, _: tensor[:, :, 0, 0].T)


def flattened_dense(channels: int, side: int) -> Layout:
    """A dense layer on a flattened map: its inputs run C, H, W there and H, W, C here."""

    def to_ours(tensor: np.ndarray, shape: Shape) -> np.ndarray:
        maps = tensor.reshape(-1, channels, side, side)
        return maps.transpose(2, 3, 1, 0).reshape(shape)

    return Layout(DENSE.published_shape, to_ours)


def first_map(side: int) -> Layout:
    """A transposed convolution of a 1x1 picture, (in, C, H, W), which is a dense layer here."""

    def published_shape(shape: Shape) -> Shape:
        return shape[0], shape[1] // side**2, side, side

    return Layout(
        published_shape, lambda tensor, shape: tensor.transpose(0, 2, 3, 1).reshape(shape)
    )


def default_layout(num_dimensions: int) -> Layout:
    """Returns the default layout of one of our arrays."""
    return {4: CONV, 2: DENSE}.get(num_dimensions, PLAIN)
