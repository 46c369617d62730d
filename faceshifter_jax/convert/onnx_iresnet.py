"""Converting IResNets of the InsightFace model zoo from ONNX."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.convert.families.family import Converted
from faceshifter_jax.convert.graph import Graph, Node
from faceshifter_jax.convert.onnx_file import read_onnx
from faceshifter_jax.models.arcface import STAGE_BLOCKS
from faceshifter_jax.models.layers import NORM_EPSILON
from faceshifter_jax.networks.network import InputFormat, Network

_DEPTHS: dict[tuple[int, ...], int] = {blocks: depth for depth, blocks in STAGE_BLOCKS.items()}
_NORM = "BatchNormalization"


def convert_onnx(path: Path) -> Converted:
    """Converts an IResNet whose BatchNorms are kept, folded into the convolutions, or partly so.

    Layers are found by following the picture through the graph. A file that scales the picture
    itself takes unscaled grey levels g; any other takes (g - 127.5) / 127.5.

    Raises:
      UserError: the file cannot be read or holds another network; the message names the first
        operator that an IResNet does not have in that place.
    """
    return _Reader(read_onnx(path, "an IResNet")).read()


@dataclasses.dataclass(frozen=True)
class _Norm:
    """A batch normalisation with our epsilon; every array is (C,) float32."""

    scale: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    var: np.ndarray


def _folded_norm(bias: np.ndarray) -> _Norm:
    """A normalisation that only adds a bias: the rest of one that is folded into a convolution."""
    one = np.ones_like(bias)
    return _Norm(one, bias, np.zeros_like(bias), one - np.float32(NORM_EPSILON))


class _Reader:
    """Follows the picture through the graph and collects the variables of our IResNet."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.params: dict[str, Any] = {}
        self.batch_stats: dict[str, Any] = {}
        self.folded = False

    def read(self) -> Converted:
        """Reads the whole network."""
        graph = self.graph
        if len(graph.input_shape) != 4 or graph.input_shape[1] not in (3, None):
            graph.fail(
                f"its input has shape {list(graph.input_shape)}, but 3 channels must come first"
            )
        scaling, x = self._input_scaling(graph.input)
        x, width = self._stem(x)
        x, blocks = self._blocks(x, width)
        side, embedding_size = self._head(x, width * 2 ** max(0, len(blocks) - 1))
        if blocks not in _DEPTHS:
            graph.fail(f"its stages have {blocks} blocks, but only {sorted(_DEPTHS)} are known")
        depth = _DEPTHS[blocks]
        settings = {
            "depth": depth,
            "width": width,
            "embedding_size": embedding_size,
            "variant": "iresnet",
            "squeeze_excitation": False,
        }
        network = Network(
            architecture="IResNet",
            settings=settings,
            variables={"params": self.params, "batch_stats": self.batch_stats},
            embedding_size=embedding_size,
            input=InputFormat(self._input_size(side), "rgb", *(scaling or (127.5, 127.5))),
        )
        family = f"InsightFace ONNX IResNet-{depth}"
        if self.folded:
            family += ", batch normalisation folded"
        notes = ()
        if scaling:
            notes = (
                f"the graph scales the picture itself: mean {scaling[0]:g}, scale {scaling[1]:g}",
            )
        return Converted({"identity": network}, family, notes)

    def _input_size(self, side: int) -> int:
        """Returns the picture's side in pixels for a last feature map of the given side."""
        height, width = self.graph.input_shape[2:]
        size = height or width or 16 * side
        if (width or size) != size or -(-size // 16) != side:
            self.graph.fail(f"{height}x{width} pixels do not end in {side}x{side} features")
        return size

    def _input_scaling(self, x: str) -> tuple[tuple[float, float] | None, str]:
        """Reads the mean and scale that the graph applies to grey levels, if any."""
        mean, scale, start = 0.0, 1.0, x
        while (node := self._sole(x)) is not None and node.op in ("Sub", "Add", "Mul", "Div"):
            number = self._scalar(node, x)
            if node.op in ("Sub", "Add"):
                mean += number * scale if node.op == "Sub" else -number * scale
            elif number == 0:
                self.graph.fail("it multiplies or divides the picture by 0")
            else:
                scale *= number if node.op == "Div" else 1 / number
            x = node.outputs[0]
        return (None if x == start else (mean, scale)), x

    def _sole(self, x: str) -> Node | None:
        users = self.graph.users(x)
        return users[0] if len(users) == 1 else None

    def _scalar(self, node: Node, x: str) -> float:
        """Returns the one number that `node` combines with `x`."""
        others = [name for name in node.inputs if name != x]
        if len(others) != 1 or (node.op in ("Sub", "Div") and node.inputs[0] != x):
            self.graph.refuse(x, "Conv")
        numbers = np.unique(self.graph.constant(node, node.inputs.index(others[0]), "operand"))
        if numbers.size != 1 or numbers.dtype.kind not in "fiu":
            self.graph.fail("it scales the colours of the picture differently")
        return float(numbers[0])

    def _stem(self, x: str) -> tuple[str, int]:
        node = self.graph.only_user(x, "Conv")
        x = self._conv(node, ("stem",), ("stem_norm",), 3, 3, 1)
        width = self.params["stem"]["kernel"].shape[-1]
        return self._prelu(x, ("stem_prelu",), width), width

    def _blocks(self, x: str, width: int) -> tuple[str, tuple[int, ...]]:
        """Reads all residual blocks; returns their result and their number for each stage."""
        counts: list[int] = []
        channels = width
        while len(users := self.graph.users(x)) == 2:
            norm = next((user for user in users if user.op == _NORM), None)
            other = next((user for user in users if user.op in ("Add", "Conv")), None)
            if norm is None or other is None:
                self.graph.refuse(x, "a block (BatchNormalization and Add or Conv)")
            if other.op == "Conv":
                counts.append(0)
            elif not counts:
                self.graph.refuse(
                    x, "a block that halves the picture (BatchNormalization and Conv)"
                )
            features = width * 2 ** (len(counts) - 1)
            name = f"stage_{len(counts) - 1}_block_{counts[-1]}"
            x = self._block(x, name, norm, other, channels, features)
            counts[-1] += 1
            channels = features
        return x, tuple(counts)

    def _block(
        self, x: str, name: str, norm: Node, other: Node, channels: int, features: int
    ) -> str:
        graph = self.graph
        y = self._norm(norm, (name, "norm_1"), channels)
        conv = graph.only_user(y, "Conv")
        y = self._conv(conv, (name, "conv_1"), (name, "norm_2"), 3, channels, 1, features)
        y = self._prelu(y, (name, "prelu"), features)
        conv = graph.only_user(y, "Conv")
        stride = 2 if other.op == "Conv" else 1
        y = self._conv(conv, (name, "conv_2"), (name, "norm_3"), 3, features, stride, features)
        shortcut = x
        if other.op == "Conv":
            names = (name, "shortcut"), (name, "shortcut_norm")
            shortcut = self._conv(other, *names, 1, channels, stride, features)
        total = graph.only_user(y, "Add")
        if set(total.inputs) != {y, shortcut}:
            graph.fail("a block adds something other than its own input")
        return total.outputs[0]

    def _head(self, x: str, channels: int) -> tuple[int, int]:
        """Reads the layers after the blocks; returns the last feature map's side and the width."""
        graph = self.graph
        x = self._norm(graph.only_user(x, _NORM), ("out_norm",), channels)
        x = graph.only_user(x, "Flatten", "Reshape").outputs[0]
        kernel, bias, x = self._dense(x)
        inputs, embedding_size = kernel.shape
        side = round((inputs / channels) ** 0.5)
        if side * side * channels != inputs:
            graph.fail(f"its dense layer takes {inputs} numbers of {channels} square channels")
        norm = _folded_norm(np.zeros(embedding_size, np.float32))
        if graph.users(x):
            norm, x = self._read_norm(graph.only_user(x, _NORM), embedding_size)
        if graph.users(x) or graph.outputs != (x,):
            graph.refuse(x, "the end")
        if np.any(norm.scale != 1):
            # Our network has no scale here, as in arcface_torch, which keeps it at 1.
            kernel, bias = kernel * norm.scale, bias * norm.scale
            norm = dataclasses.replace(norm, mean=norm.mean * norm.scale)
        # The flattened map is in the order channels, rows, columns there and rows, columns,
        # channels here.
        kernel = kernel.reshape(channels, side * side, embedding_size).swapaxes(0, 1)
        kernel = kernel.reshape(inputs, embedding_size)
        self.params["embedding"] = {"kernel": kernel, "bias": bias}
        self.params["embedding_norm"] = {"norm": {"bias": norm.bias}}
        self.batch_stats["embedding_norm"] = {"norm": {"mean": norm.mean, "var": norm.var}}
        return side, embedding_size

    def _dense(self, x: str) -> tuple[np.ndarray, np.ndarray, str]:
        """Reads a dense layer: kernel (inputs, outputs), bias (outputs,), name of its result."""
        graph = self.graph
        node = graph.only_user(x, "Gemm", "MatMul")
        if node.inputs[0] != x:
            graph.refuse(x, "a dense layer")
        kernel = graph.constant(node, 1, "kernel")
        if kernel.ndim != 2 or graph.number(node, "transA", 0):
            graph.refuse(x, "a dense layer")
        if graph.number(node, "transB", 0):
            kernel = kernel.T
        if (factor := graph.number(node, "alpha", 1)) != 1:
            kernel = kernel * np.float32(factor)
        shape = (kernel.shape[1],)
        bias = np.zeros(shape, np.float32)
        result = node.outputs[0]
        if node.op == "MatMul" and any(user.op == "Add" for user in graph.users(result)):
            node = graph.only_user(result, "Add")
            bias = graph.constant(node, 1 if node.inputs[0] == result else 0, "bias")
            result = node.outputs[0]
        elif len(node.inputs) > 2 and node.inputs[2]:
            bias = graph.constant(node, 2, "bias")
            bias = bias * np.float32(graph.number(node, "beta", 1))
        if bias.size != shape[0]:
            graph.fail(f"{shape[0]} outputs of the dense layer have {bias.size} biases")
        return kernel, bias.reshape(shape), result

    def _conv(
        self,
        node: Node,
        name: tuple[str, ...],
        norm_name: tuple[str, ...],
        size: int,
        channels: int,
        stride: int,
        features: int | None = None,
    ) -> str:
        """Reads a convolution and its normalisation, folded or not; returns the result's name."""
        graph = self.graph
        kernel = graph.constant(node, 1, "kernel")
        features = int(features or kernel.shape[0])
        if kernel.shape != (features, channels, size, size):
            graph.fail(
                f"Conv has a kernel of shape {list(kernel.shape)}, where "
                f"{[features, channels, size, size]} was expected"
            )
        attributes = node.attributes
        expected = {
            "strides": [stride] * 2,
            "pads": [size // 2] * 4,
            "dilations": [1, 1],
            "group": 1,
            "auto_pad": b"NOTSET",
        }
        # The defaults of a Conv without these attributes.
        default = {**expected, "strides": [1, 1], "pads": [0] * 4}
        for key, value in expected.items():
            if (found := attributes.get(key, default[key])) != value:
                graph.fail(f"Conv has {key} {found}, where {value} was expected")
        self._put(self.params, name, {"kernel": np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))})
        bias = None
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = graph.constant(node, 2, "bias", (features,))
        return self._norm_of(node.outputs[0], norm_name, features, bias)

    def _norm_of(
        self, x: str, name: tuple[str, ...], features: int, bias: np.ndarray | None
    ) -> str:
        """Reads the normalisation of a convolution with this bias, which may be folded into it."""
        user = self._sole(x)
        if user is not None and user.op == _NORM:
            norm, x = self._read_norm(user, features)
            if bias is not None:
                norm = dataclasses.replace(norm, mean=norm.mean - bias)
        else:
            self.folded = True
            norm = _folded_norm(np.zeros(features, np.float32) if bias is None else bias)
        self._put_norm(name, norm)
        return x

    def _norm(self, node: Node, name: tuple[str, ...], features: int) -> str:
        norm, x = self._read_norm(node, features)
        self._put_norm(name, norm)
        return x

    def _read_norm(self, node: Node, features: int) -> tuple[_Norm, str]:
        if self.graph.number(node, "training_mode", 0) or len(node.inputs) != 5:
            self.graph.fail("BatchNormalization is in training mode; export it for evaluation")
        roles = ("scale", "bias", "mean", "variance")
        scale, bias, mean, var = (
            self.graph.constant(node, index, role, (features,))
            for index, role in enumerate(roles, 1)
        )
        excess = np.float32(self.graph.number(node, "epsilon", 1e-5) - NORM_EPSILON)
        return _Norm(scale, bias, mean, var + excess), node.outputs[0]

    def _prelu(self, x: str, name: tuple[str, ...], features: int) -> str:
        node = self.graph.only_user(x, "PRelu")
        slope = self.graph.constant(node, 1, "slope")
        if slope.size not in (1, features):
            self.graph.fail(f"{features} channels have {slope.size} slopes of PRelu")
        slope = np.broadcast_to(slope.reshape(-1), (features,)).copy()
        self._put(self.params, name, {"slope": slope})
        return node.outputs[0]

    def _put_norm(self, name: tuple[str, ...], norm: _Norm) -> None:
        self._put(self.params, name, {"norm": {"scale": norm.scale, "bias": norm.bias}})
        self._put(self.batch_stats, name, {"norm": {"mean": norm.mean, "var": norm.var}})

    @staticmethod
    def _put(tree: dict[str, Any], name: tuple[str, ...], value: dict[str, Any]) -> None:
        for part in name[:-1]:
            tree = tree.setdefault(part, {})
        tree[name[-1]] = value
