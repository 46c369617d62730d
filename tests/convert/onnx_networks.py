"""IResNets of random weights in ONNX, in the many ways in which exporters write them."""

import dataclasses

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclasses.dataclass
class OnnxIResNet:
    """Builds the graph of an IResNet; names mean nothing and weights are in no order.

    Attributes:
      blocks: residual blocks of each stage.
      width: channels of the first stage.
      size: side of the picture in pixels, a multiple of 16.
      folded: share of the convolutions whose normalisation is folded into them.
      scaling: (mean, scale) if the graph scales the picture itself.
      spelling: `new` for Flatten, Gemm and stored weights, `old` for Reshape, MatMul, constants,
        operators that do nothing and slopes that are reshaped in the graph.
      dtype: of the stored weights.
    """

    blocks: tuple[int, ...]
    width: int = 4
    size: int = 32
    folded: float = 1.0
    scaling: tuple[float, float] | None = None
    spelling: str = "new"
    dtype: type = np.float32
    embedding_size: int = 6

    def build(self) -> onnx.ModelProto:
        """Returns the model; its input is called `picture`."""
        self.random = np.random.default_rng(7)
        self.nodes, self.weights, self.number = [], [], 0
        x = "picture"
        if self.scaling:
            x = self.op("Sub", x, self.weight(self.scaling[0]))
            x = self.op("Mul", x, self.weight(1 / self.scaling[1]))
        x = self.prelu(self.conv(x, 3, self.width, 3, 1), self.width)
        channels = self.width
        for stage, count in enumerate(self.blocks):
            features = self.width * 2**stage
            for i in range(count):
                x = self.block(x, channels, features, 2 if i == 0 else 1)
                channels = features
        x = self.head(self.norm(x, channels), channels * (self.size // 16) ** 2)
        self.random.shuffle(self.weights)
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("picture", 1, ["n", 3, self.size, self.size])],
            [helper.make_tensor_value_info(x, 1, ["n", self.embedding_size])],
            self.weights,
        )
        opset = helper.make_operatorsetid("", 11)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)

    def name(self) -> str:
        self.number += 1
        return f"{self.random.integers(10**6)}.{self.number}"

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        result = self.name()
        self.nodes.append(helper.make_node(kind, inputs, [result], **attributes))
        return result

    def weight(self, value) -> str:
        value = np.asarray(value, self.dtype)
        if self.spelling == "old" and value.ndim < 2:
            return self.widened(self.op("Constant", value=numpy_helper.from_array(value)))
        self.weights.append(numpy_helper.from_array(value, self.name()))
        return self.widened(self.weights[-1].name)

    def widened(self, name: str) -> str:
        return name if self.dtype == np.float32 else self.op("Cast", name, to=TensorProto.FLOAT)

    def normal(self, *shape: int, scale: float = 0.2):
        return scale * self.random.standard_normal(shape)

    def norm(self, x: str, channels: int) -> str:
        values = (
            self.random.uniform(0.5, 1.5, channels),
            self.normal(channels),
            self.normal(channels),
            self.random.uniform(0.5, 1.5, channels),
        )
        return self.op("BatchNormalization", x, *map(self.weight, values), epsilon=2e-5)

    def conv(self, x: str, channels: int, features: int, kernel: int, stride: int) -> str:
        """A convolution with its normalisation: folded, kept, or kept after one with a bias."""
        weights = self.weight(
            self.normal(features, channels, kernel, kernel, scale=(kernel**2 * channels) ** -0.5)
        )
        folded = self.random.random() < self.folded
        biased = folded or self.random.random() < 0.5
        biases = [self.weight(self.normal(features))] * biased
        padding = [kernel // 2] * 4
        x = self.op("Conv", x, weights, *biases, strides=[stride] * 2, pads=padding)
        return x if folded else self.norm(x, features)

    def prelu(self, x: str, channels: int) -> str:
        slope = self.normal(channels)
        if self.spelling == "new":
            return self.op("PRelu", x, self.weight(slope[:, None, None]))
        slope = self.op("Unsqueeze", self.weight(slope), axes=[1, 2])
        return self.op("PRelu", self.op("Identity", x), slope)

    def block(self, x: str, channels: int, features: int, stride: int) -> str:
        y = self.conv(self.norm(x, channels), channels, features, 3, 1)
        y = self.conv(self.prelu(y, features), features, features, 3, stride)
        shortcut = self.conv(x, channels, features, 1, stride) if stride > 1 else x
        operands = (y, shortcut) if self.random.random() < 0.5 else (shortcut, y)
        return self.op("Add", *operands)

    def head(self, x: str, inputs: int) -> str:
        kernel = self.normal(self.embedding_size, inputs, scale=inputs**-0.5)
        bias = self.weight(self.normal(self.embedding_size))
        if self.spelling == "new":
            x = self.op("Flatten", x)
            x = self.op("Gemm", x, self.weight(kernel), bias, transB=1)
        else:
            shape = numpy_helper.from_array(np.array([-1, inputs]))
            x = self.op("Reshape", self.op("Dropout", x), self.op("Constant", value=shape))
            kernel = self.op("Transpose", self.weight(kernel), perm=[1, 0])
            x = self.op("Add", bias, self.op("MatMul", x, kernel))
        return self.norm(x, self.embedding_size)
