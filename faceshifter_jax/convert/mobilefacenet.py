"""Converting MobileFaceNet from TFLite."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from faceshifter_jax.convert.families.family import Converted
from faceshifter_jax.convert.graph import Graph, Node
from faceshifter_jax.convert.prelu import read_activation
from faceshifter_jax.convert.tflite_file import read_tflite
from faceshifter_jax.models.layers import NORM_EPSILON
from faceshifter_jax.networks.network import InputFormat, Network

# MobileFaceNet_TF trained on (g - 127.5) / 128; the file does not say so.
_MEAN, _SCALE = 127.5, 128.0


def convert_tflite(path: Path) -> Converted:
    """Converts a MobileFaceNet, its normalisations folded into the convolutions.

    Layers, stages and widths are found by following the picture through the graph. The scaling of
    grey levels g to (g - 127.5) / 128 and the order RGB are not in the file: networks of this
    layout were trained that way.

    Raises:
      UserError: the file cannot be read or holds another network; the message names the first
        operator that a MobileFaceNet does not have in that place.
    """
    graph = read_tflite(path, "a MobileFaceNet")
    shape = graph.input_shape
    size = shape[1] if len(shape) == 4 else None
    if size is None or shape[2:] != (size, 3):
        graph.fail(f"its input has shape {list(shape)}, not (B, S, S, 3)")
    walk = _Walk(graph, _read_layers(graph))
    settings = walk.read(size)
    network = Network(
        architecture="MobileFaceNet",
        settings=settings,
        variables={"params": walk.params, "batch_stats": walk.batch_stats},
        embedding_size=settings["embedding_size"],
        input=InputFormat(size, "rgb", _MEAN, _SCALE),
    )
    note = (
        f"the file does not say which pictures it takes: RGB, mean {_MEAN:g}, scale {_SCALE:g}, "
        "as MobileFaceNet_TF was trained"
    )
    return Converted({"identity": network}, "MobileFaceNet, TFLite", (note,))


@dataclasses.dataclass(frozen=True, eq=False)
class _Layer:
    """A convolution with its activation.

    Attributes:
      depthwise: whether each channel has its own filter.
      kernel: (H, W, C, D), or (H, W, 1, C) if depthwise.
      bias: (D,).
      slope: (D,) of PReLU, None without activation.
      stride: of rows and columns.
      padding: `SAME` or `VALID`.
      start: name of its input tensor.
      added: name of the tensor that is added to its result, None for none.
    """

    depthwise: bool
    kernel: np.ndarray
    bias: np.ndarray
    slope: np.ndarray | None
    stride: int
    padding: str
    start: str
    added: str | None

    @property
    def kind(self) -> "_Kind":
        """The kind of the layer, regardless of its width."""
        size = self.kernel.shape[0] if self.kernel.shape[0] == self.kernel.shape[1] else 0
        # Without padding a 1x1 convolution is the same.
        padding = "SAME" if size == 1 and not self.depthwise else self.padding
        return _Kind(self.depthwise, size, self.slope is None, self.stride, padding)


class _Kind(NamedTuple):
    """Properties that distinguish layers; `size` is the kernel's side, 0 if its sides differ."""

    depthwise: bool = False
    size: int = 1
    linear: bool = False
    stride: int = 1
    padding: str = "SAME"

    def __str__(self) -> str:
        return (
            f"{self.size}x{self.size} {'depthwise ' * self.depthwise}convolution of stride "
            f"{self.stride}, padding {self.padding}, {'without' if self.linear else 'with'} PReLU"
        )


def _read_layers(graph: Graph) -> list[_Layer]:
    """Reads the convolutions from the input to the embedding."""
    layers: list[_Layer] = []
    x, channels = graph.input, 3
    while len(found := _convolutions(graph, x)) == 1:
        layer, x = _read_layer(graph, found[0], x, channels)
        layers.append(layer)
        channels = layer.bias.size
    end = graph.only_user(x, "RESHAPE", "SQUEEZE").outputs[0]
    if graph.users(end):
        # Only the direction of the embedding matters.
        end = graph.only_user(end, "L2_NORMALIZATION").outputs[0]
    if graph.outputs != (end,):
        graph.fail("it has results other than an embedding")
    return layers


def _convolutions(graph: Graph, x: str) -> list[Node]:
    """Returns the convolutions that take `x`; none if anything but a later sum also takes it."""
    users = graph.users(x)
    found = [user for user in users if user.op in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    return found if all(user in found or user.op == "ADD" for user in users) else []


def _read_layer(graph: Graph, node: Node, x: str, channels: int) -> tuple[_Layer, str]:
    """Reads one convolution of `x` and all up to the next; also returns the next one's input."""
    depthwise = node.op == "DEPTHWISE_CONV_2D"
    kernel = graph.constant(node, 1, "kernel")
    if kernel.ndim != 4:
        graph.fail(f"{node.op} has a kernel of shape {kernel.shape}")
    # Stored as D, H, W, C, depthwise as 1, H, W, C.
    kernel = kernel.transpose((1, 2, 0, 3) if depthwise else (1, 2, 3, 0))
    features = kernel.shape[3]
    if kernel.shape[2] != (1 if depthwise else channels) or (depthwise and features != channels):
        graph.fail(f"{node.op} has a kernel of shape {kernel.shape} for {channels} channels")
    bias = np.zeros(features, np.float32)
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = graph.constant(node, 2, "bias", (features,))
    attributes = node.attributes
    stride = attributes["stride"][0]
    if attributes["activation"]:
        graph.fail(f"{node.op} has an activation other than PReLU")
    if attributes["stride"] != (stride, stride) or stride < 1 or attributes["dilation"] != (1, 1):
        graph.fail(
            f"{node.op} has strides {attributes['stride']}, dilation {attributes['dilation']}"
        )
    slope, y = read_activation(graph, node.outputs[0], features)
    added = None
    if [user.op for user in graph.users(y)] == ["ADD"]:
        total = graph.users(y)[0]
        added = next((name for name in total.inputs if name != y), y)
        if total.attributes["activation"]:
            graph.refuse(y, "a sum without activation")
        y = total.outputs[0]
    kernel = np.ascontiguousarray(kernel)
    return _Layer(depthwise, kernel, bias, slope, stride, attributes["padding"], x, added), y


class _Walk:
    """Assigns the layers to their places in our MobileFaceNet, from the first to the last."""

    def __init__(self, graph: Graph, layers: list[_Layer]):
        self.graph, self.layers, self.position = graph, layers, 0
        self.params: dict[str, Any] = {}
        self.batch_stats: dict[str, Any] = {}

    def read(self, size: int) -> dict[str, Any]:
        """Reads the network for pictures of `size` pixels; returns the settings of our network."""
        stem = self._take("stem", _Kind(size=3, stride=2))
        self._take("stem_depthwise", _Kind(depthwise=True, size=3))
        separable = self._next_kind(0) == _Kind(linear=True)
        if separable:
            self._take("stem_pointwise", _Kind(linear=True))
        stages = self._take_blocks(stem.bias.size)
        head = self._take("head", _Kind())
        side = size
        for layer in self.layers[: self.position]:
            side = -(-side // layer.stride)
        kind = _Kind(depthwise=True, size=side, linear=True, padding="VALID")
        self._take("head_depthwise", kind)
        if separable:
            self._take("head_pointwise", _Kind(linear=True))
        embedding = self._take("embedding", _Kind(linear=True))
        if self.position < len(self.layers):
            self.graph.fail(f"it has {len(self.layers)} layers, but {self.position} were expected")
        return {
            "embedding_size": embedding.bias.size,
            "stem_channels": stem.bias.size,
            "stages": stages,
            "head_channels": head.bias.size,
            "separable": separable,
        }

    def _take_blocks(self, channels: int) -> list[list[int]]:
        """Reads all blocks, the first with the given number of channels; returns them as stages."""
        stages: list[list[int]] = []
        # The second layer of a block has an activation, the second layer of the head has none.
        while (kind := self._next_kind(1)) and kind.depthwise and not kind.linear:
            if self.position + 3 > len(self.layers):
                self.graph.fail("its last block is not complete")
            expand, _, project = self.layers[self.position : self.position + 3]
            expansion, rest = divmod(expand.bias.size, channels)
            if rest:
                self.graph.fail(f"a block widens {channels} channels to {expand.bias.size}")
            row = [expansion, project.bias.size]
            if kind.stride == 1 and stages and stages[-1][:2] == row:
                stages[-1][2] += 1
            else:
                stages.append([*row, 1, kind.stride])
            name = f"stage_{len(stages) - 1}_block_{stages[-1][2] - 1}"
            self._take(f"{name}_expand", _Kind())
            self._take(f"{name}_depthwise", _Kind(depthwise=True, size=3, stride=kind.stride))
            keeps_shape = kind.stride == 1 and project.bias.size == channels
            added = expand.start if keeps_shape else None
            self._take(f"{name}_project", _Kind(linear=True), added)
            channels = project.bias.size
        return stages

    def _next_kind(self, ahead: int) -> _Kind | None:
        following = self.layers[self.position + ahead :]
        return following[0].kind if following else None

    def _take(self, name: str, kind: _Kind, added: str | None = None) -> _Layer:
        """Reads the next layer; it must be of this kind, with this tensor added to its result."""
        if self._next_kind(0) != kind:
            found = self._next_kind(0) or "the end"
            self.graph.fail(f"layer {self.position + 1} is a {found}; {kind} was expected")
        layer = self.layers[self.position]
        if layer.added != added:
            self.graph.fail(f"layer {self.position + 1}: only blocks that keep the shape have sums")
        self.position += 1
        one = np.ones_like(layer.bias)
        self.params[name] = {
            "kernel": layer.kernel,
            "norm": {"norm": {"scale": one, "bias": layer.bias}},
        }
        if layer.slope is not None:
            self.params[name]["prelu"] = {"slope": layer.slope}
        # The normalisation is folded into the kernel, except for its bias.
        stats = {"mean": np.zeros_like(one), "var": one - np.float32(NORM_EPSILON)}
        self.batch_stats[name] = {"norm": {"norm": stats}}
        return layer
