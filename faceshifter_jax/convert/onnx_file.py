"""Reading an ONNX file as a graph, without running it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.convert.graph import Graph, Node, import_extra
from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import UnreadableFile, read_input

# Operators that do not change the numbers of a network in evaluation mode.
_PASSED_THROUGH = ("Identity", "Dropout", "Cast")
# Operators that exporters put between a weight and its use.
_FOLDED = ("Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Transpose")
_LONGEST_CHAIN = 12
_LARGEST_FILE = 2**31 - 1  # of a protocol buffer
# Kinds of attributes that hold a value.
_ATTRIBUTES = ("FLOAT", "INT", "STRING", "TENSOR", "FLOATS", "INTS")


def read_onnx(path: Path, expected: str) -> Graph:
    """Reads the graph of an ONNX file; weights kept in a file next to it are read from there.

    Args:
      path: the file.
      expected: what the caller looks for, for messages.

    Returns:
      the graph, floating-point weights as float32, without operators that do nothing.

    Raises:
      UserError: the file is cut short, damaged or not an ONNX file, does not have exactly one
        input, or keeps weights outside its own folder.
    """
    onnx = import_extra("onnx")
    protobuf = import_extra("google.protobuf.message")
    try:
        model = onnx.load_model_from_string(read_input(path, _LARGEST_FILE))
    except UnreadableFile as error:
        raise UserError(f"{path} cannot be read: {error.reason}") from error
    except protobuf.DecodeError as error:
        raise UserError(f"{path} is cut short, damaged or not an ONNX file") from error
    graph = model.graph
    if not graph.node:
        raise UserError(f"{path} is cut short, damaged or not an ONNX file: it has no operators")
    constants = _Constants(onnx, path)
    for tensor in graph.initializer:
        constants.add(tensor.name, tensor)
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise UserError(f"{path} is not {expected}: it takes {len(inputs)} inputs, not one")
    same: dict[str, str] = {}
    return Graph(
        path=path,
        expected=expected,
        nodes=tuple(_simplify(onnx, graph, constants, same)),
        constants=constants,
        input=inputs[0].name,
        input_shape=tuple(
            size.dim_value if size.HasField("dim_value") and size.dim_value > 0 else None
            for size in inputs[0].type.tensor_type.shape.dim
        ),
        outputs=tuple(same.get(name, name) for name in [str(v.name) for v in graph.output]),
    )


def _simplify(
    onnx: Any, graph: Any, constants: "_Constants", same: dict[str, str]
) -> Iterator[Node]:
    """Yields the operators that matter.

    Constants among the others go to `constants`, names of results that equal another to `same`.
    """
    for proto in graph.node:
        names = (proto.op_type, *proto.input, *proto.output)
        # Names that are not text come as bytes.
        if not proto.output or not all(isinstance(name, str) for name in names):
            raise UserError(f"{constants.path} is damaged: an operator has no type or no result")
        attributes = {
            attribute.name: onnx.helper.get_attribute_value(attribute)
            for attribute in proto.attribute
            if onnx.AttributeProto.AttributeType.Name(attribute.type) in _ATTRIBUTES
        }
        inputs = tuple(same.get(name, name) for name in map(str, proto.input))
        if proto.op_type == "Constant" and len(attributes) == 1:
            constants.add(proto.output[0], *attributes.values())
        elif proto.op_type in _FOLDED and inputs and all(name in constants for name in inputs):
            constants.add_result(proto.output[0], proto.op_type, attributes, inputs)
        elif proto.op_type in _PASSED_THROUGH and inputs:
            same[proto.output[0]] = inputs[0]
        elif proto.op_type != "Shape":
            # Only the flattening for the dense layer depends on a shape, and its width gives that.
            yield Node(proto.op_type, inputs, tuple(proto.output), attributes)


def _fold(op: str, attributes: dict[str, Any], inputs: list[np.ndarray]) -> np.ndarray:
    """Evaluates one of the operators in `_FOLDED`."""
    value = inputs[0]
    if op == "Transpose":
        return value.transpose(attributes.get("perm"))
    if op == "Reshape":
        return value.reshape(inputs[1])
    # An attribute up to opset 12, an input after that.
    axes = attributes.get("axes", inputs[1] if len(inputs) > 1 else None)
    if op == "Unsqueeze":
        return np.expand_dims(value, tuple(axes))
    if op == "Squeeze":
        return np.squeeze(value, None if axes is None else tuple(axes))
    return value


class _Constants(Mapping[str, np.ndarray]):
    """Weights by name, decoded on use, so that not all of them are in memory twice."""

    def __init__(self, onnx: Any, path: Path):
        self.path, self._onnx = path, onnx
        self._stored: dict[str, Any] = {}
        self._results: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {}
        self._depths: dict[str, int] = {}

    def add(self, name: str, value: Any) -> None:
        """Adds a stored tensor or plain numbers."""
        self._stored[self._new(name)] = value

    def add_result(
        self, name: str, op: str, attributes: dict[str, Any], inputs: tuple[str, ...]
    ) -> None:
        """Adds the result of an operator on constants."""
        depth = 1 + max(self._depths.get(name, 0) for name in inputs)
        if depth > _LONGEST_CHAIN:
            raise UserError(
                f"{self.path} makes a weight by a chain of more than {_LONGEST_CHAIN} operators: "
                "simplify the network, or export it anew"
            )
        self._depths[name] = depth
        self._results[self._new(name)] = (op, attributes, inputs)

    def _new(self, name: str) -> str:
        if name in self:
            raise UserError(f"{self.path} is damaged: two of its tensors have the same name")
        return name

    def __contains__(self, name: object) -> bool:
        return name in self._stored or name in self._results

    def __iter__(self) -> Iterator[str]:
        yield from self._stored
        yield from self._results

    def __len__(self) -> int:
        return len(self._stored) + len(self._results)

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._results:
            op, attributes, inputs = self._results[name]
            try:
                value = _fold(op, attributes, [self[name] for name in inputs])
            except (ValueError, IndexError, TypeError) as error:
                raise UserError(f"{self.path} is damaged: {op} does not fit its input") from error
        else:
            value = self._decode(self._stored[name])
        return value.astype(np.float32, copy=False) if value.dtype.kind == "f" else value

    def _decode(self, tensor: Any) -> np.ndarray:
        if not isinstance(tensor, self._onnx.TensorProto):
            return np.asarray(tensor)
        # onnx itself refuses locations outside the folder, links, and offsets past the end.
        try:
            return self._onnx.numpy_helper.to_array(tensor, str(self.path.parent))
        except (
            ValueError,
            TypeError,
            KeyError,
            OSError,
            self._onnx.checker.ValidationError,
        ) as error:
            raise UserError(
                f"{self.path}: weights of shape {list(tensor.dims)} cannot be read; the file is "
                "cut short or damaged, or the file with its weights is not next to it "
                f"({str(error).splitlines()[0]})"
            ) from error
