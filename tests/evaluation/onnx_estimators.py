"""Tiny ONNX files whose answers can be worked out by hand."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BINS = 66


def save_model(path, nodes, outputs, constants=(), shape=("B", 3, 8, 8), dtype=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("picture", dtype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return str(path)


def save_mean_colour(path, shape=("B", 3, 8, 8)):
    """The mean of each channel, (B, 3): features, an expression, or angles in degrees."""
    axes = (2, 3) if shape[1] == 3 else (1, 2)
    nodes = [helper.make_node("ReduceMean", ["picture"], ["mean"], axes=axes, keepdims=0)]
    return save_model(path, nodes, ["mean"], shape=shape)


def save_hopenet_like(path, sharpness=50.0):
    """Scores of three times 66 bins that peak where 66 times the mean of a channel lies."""
    nodes = [helper.make_node("ReduceMean", ["picture"], ["mean"], axes=(2, 3), keepdims=1)]
    constants = [
        ("bins", (np.arange(BINS, dtype=np.float32) / BINS).reshape(1, 1, BINS)),
        ("sharpness", np.float32(-sharpness * BINS)),
        ("flat", np.array([0, BINS], np.int64)),
        ("row", np.array([0, -1, 1], np.int64)),
    ]
    nodes += [
        helper.make_node("Reshape", ["mean", "row"], ["column"]),
        helper.make_node("Sub", ["column", "bins"], ["away"]),
        helper.make_node("Abs", ["away"], ["distance"]),
        helper.make_node("Mul", ["distance", "sharpness"], ["scores"]),
        helper.make_node("Split", ["scores"], ["s0", "s1", "s2"], axis=1),
    ]
    names = ["yaw", "pitch", "roll"]
    nodes += [helper.make_node("Reshape", [f"s{k}", "all"], [name]) for k, name in enumerate(names)]
    constants.append(("all", np.array([-1, BINS], np.int64)))
    return save_model(path, nodes, names, constants[:2] + constants[3:])
