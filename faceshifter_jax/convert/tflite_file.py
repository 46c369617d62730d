"""Reads a TFLite file as a graph, without running it."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.convert.graph import Graph, Node, import_extra
from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import UnreadableFile, read_input

_LARGEST_FILE = 2**31 - 1  # offsets in it have 32 bits
_IDENTIFIER = b"TFL3"
_QUANTISED = ("INT4", "INT8", "UINT8", "INT16")
_NUMBERS = {"FLOAT32": "<f4", "FLOAT16": "<f2", "INT32": "<i4"}
_PADDING = {0: "SAME", 1: "VALID"}
# Errors that the bindings raise for invalid offsets and lengths.
_DAMAGE = (struct.error, IndexError, KeyError, TypeError, ValueError, OverflowError)


def read_tflite(path: Path, expected: str) -> Graph:
    """Reads the first graph of a TFLite file.

    Args:
      path: the file.
      expected: what the caller looks for, for messages.

    Returns:
      the graph, tensors named by their numbers, weights as float32. Convolutions have the
      attributes `padding` (`SAME` or `VALID`), `stride` and `dilation` ((rows, columns)), every
      operator `activation`, 0 for none.

    Raises:
      UserError: the file is cut short, damaged or not a TFLite file, its weights are quantised to
        integers, or it does not have exactly one input.
    """
    tflite = import_extra("tflite")
    try:
        data = read_input(path, _LARGEST_FILE)
    except UnreadableFile as error:
        raise UserError(f"{path} cannot be read: {error.reason}") from error
    if data[4:8] != _IDENTIFIER:
        raise UserError(f"{path} is not a TFLite file")
    try:
        return _Reader(tflite, data, path, expected).read()
    except _DAMAGE as error:
        raise UserError(f"{path} is cut short or damaged: {error}") from error


class _Reader:
    """Walks the tables of a TFLite file; raises one of `_DAMAGE` where they are damaged."""

    def __init__(self, tflite: Any, data: bytes, path: Path, expected: str):
        self.tflite, self.data, self.path, self.expected = tflite, data, path, expected
        self.model = tflite.Model.GetRootAs(data)
        self.ops = {
            value: name for name, value in vars(tflite.BuiltinOperator).items() if name.isupper()
        }
        self.types = {
            value: name for name, value in vars(tflite.TensorType).items() if name.isupper()
        }

    def read(self) -> Graph:
        model = self.model
        if not (model.SubgraphsLength() and model.BuffersLength() and model.OperatorCodesLength()):
            raise ValueError("it has no graph")
        graph = model.Subgraphs(0)
        inputs = [graph.Inputs(i) for i in range(self._count(graph.InputsLength()))]
        outputs = [graph.Outputs(i) for i in range(self._count(graph.OutputsLength()))]
        if len(inputs) != 1:
            raise UserError(
                f"{self.path} is not {self.expected}: it takes {len(inputs)} inputs, not one"
            )
        constants, shapes = self._tensors(graph)
        nodes = []
        for i in range(self._count(graph.OperatorsLength())):
            node = self._node(graph.Operators(i))
            if node.op == "DEQUANTIZE" and node.inputs[0] in constants:
                # Weights stored as float16 and widened at run time.
                constants[node.outputs[0]] = constants[node.inputs[0]]
            else:
                nodes.append(node)
        return Graph(
            path=self.path,
            expected=self.expected,
            nodes=tuple(nodes),
            constants=constants,
            input=str(inputs[0]),
            input_shape=shapes[str(inputs[0])],
            outputs=tuple(map(str, outputs)),
        )

    def _count(self, length: int) -> int:
        """Checks a vector's length against the size of the file."""
        if length > len(self.data):
            raise ValueError(f"{length} entries in {len(self.data)} bytes")
        return length

    def _tensors(self, graph: Any) -> tuple[dict[str, np.ndarray], dict[str, tuple]]:
        """Returns the stored tensors and the shapes of all, by name."""
        constants, shapes = {}, {}
        for i in range(self._count(graph.TensorsLength())):
            tensor = graph.Tensors(i)
            shape = tuple(tensor.Shape(k) for k in range(self._count(tensor.ShapeLength())))
            shapes[str(i)] = shape
            stored = self.model.Buffers(tensor.Buffer())
            kind = self.types[tensor.Type()]
            if stored.DataLength() and kind in _QUANTISED:
                raise UserError(
                    f"{self.path} has weights quantised to {kind.lower()}: convert the float file "
                    "that it was made of"
                )
            if stored.DataLength() and kind in _NUMBERS:
                values = stored.DataAsNumpy().view(_NUMBERS[kind]).reshape(shape)
                constants[str(i)] = values if kind == "INT32" else values.astype(np.float32)
        return constants, shapes

    def _node(self, operator: Any) -> Node:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        # Codes up to 127 are in the older of the two fields, and in old files only there.
        op = self.ops[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs = [operator.Inputs(i) for i in range(self._count(operator.InputsLength()))]
        outputs = [operator.Outputs(i) for i in range(self._count(operator.OutputsLength()))]
        if not inputs or not outputs:
            raise ValueError(f"{op} has no inputs or no outputs")
        return Node(
            op,
            tuple("" if i < 0 else str(i) for i in inputs),
            tuple(map(str, outputs)),
            self._attributes(op, operator.BuiltinOptions()),
        )

    def _attributes(self, op: str, table: Any) -> dict[str, Any]:
        kinds = {
            "CONV_2D": self.tflite.Conv2DOptions,
            "DEPTHWISE_CONV_2D": self.tflite.DepthwiseConv2DOptions,
            "ADD": self.tflite.AddOptions,
            "SUB": self.tflite.SubOptions,
            "MUL": self.tflite.MulOptions,
        }
        if op not in kinds or table is None:
            return {"activation": 0}
        options = kinds[op]()
        options.Init(table.Bytes, table.Pos)
        attributes = {"activation": options.FusedActivationFunction()}
        if "CONV_2D" in op:
            attributes["padding"] = _PADDING[options.Padding()]
            attributes["stride"] = (options.StrideH(), options.StrideW())
            attributes["dilation"] = (options.DilationHFactor(), options.DilationWFactor())
        return attributes
