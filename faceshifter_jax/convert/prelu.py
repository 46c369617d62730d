"""Reading PReLU in the forms in which graphs express it."""

import numpy as np

from faceshifter_jax.convert.graph import Graph, Node

# Slopes of a function for positive and for negative numbers, each () or (C,) float32.
_Slopes = tuple[np.ndarray, np.ndarray]


def read_activation(graph: Graph, x: str, channels: int) -> tuple[np.ndarray | None, str]:
    """Reads the activation that follows a tensor in a TFLite graph.

    Every operator up to the next layer is taken as a function with one slope for positive and
    one for negative numbers. So `relu(x) + a (x - |x|)` is recognised as PReLU of slope 2 a.

    Args:
      graph: the network.
      x: name of the tensor, of shape (B, H, W, channels).

    Returns:
      the slopes for negative numbers, (channels,) float32, and the name of the result; None and
      `x` where no activation follows.

    Raises:
      UserError: something other than PReLU follows.
    """
    one = np.ones((), np.float32)
    known: dict[str, _Slopes] = {x: (one, one)}
    waiting = list(graph.users(x))
    while waiting:
        node = waiting.pop(0)
        result = node.outputs[0]
        slopes = None if result in known else _apply(graph, node, known, channels)
        if slopes is not None:
            known[result] = slopes
            waiting += graph.users(result)
    ends = [
        name
        for name in known
        if name in graph.outputs or any(user.outputs[0] not in known for user in graph.users(name))
    ]
    if ends == [x]:
        return None, x
    if len(ends) != 1 or np.any(known[ends[0]][0] != 1):
        graph.refuse(x, "PReLU")
    return np.broadcast_to(known[ends[0]][1], (channels,)).copy(), ends[0]


def _apply(graph: Graph, node: Node, known: dict[str, _Slopes], channels: int) -> _Slopes | None:
    """The slopes of a node's result; None if they are not known (yet)."""
    if node.attributes["activation"]:
        return None
    inputs = [known.get(name) for name in node.inputs]
    constants = [graph.constants[name] for name in node.inputs if name in graph.constants]
    if any(constant.size not in (1, channels) for constant in constants):
        return None
    positive, negative = next(slopes for slopes in inputs if slopes is not None)
    if constants:
        factor = constants[0].reshape(-1)
        if node.op == "MUL":
            return positive * factor, negative * factor
        if node.op == "PRELU":
            return (
                np.where(positive >= 0, positive, positive * factor),
                np.where(negative <= 0, negative, negative * factor),
            )
        return None
    if node.op == "RELU":
        return np.maximum(positive, 0), np.minimum(negative, 0)
    if node.op == "ABS":
        return abs(positive), -abs(negative)
    if node.op == "NEG":
        return -positive, -negative
    known_inputs = [slopes for slopes in inputs if slopes is not None]
    if node.op in ("ADD", "SUB") and len(inputs) == len(known_inputs) == 2:
        (p, n), (q, m) = known_inputs
        return (p + q, n + m) if node.op == "ADD" else (p - q, n - m)
    return None
