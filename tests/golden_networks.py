"""Published PyTorch networks whose numbers are known: tests/golden holds keys, inputs, outputs.

Weights are not stored: each is a pure function of its key and shape.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"

Shapes = dict[str, tuple[int, ...]]


def _random(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)


def make_weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The published network's tensor of that key."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    normal = _random(key).standard_normal(shape)
    if len(shape) >= 2:
        # In place: the largest of these have twenty million numbers.
        normal *= 0.8 / np.sqrt(np.prod(shape[1:]))
        return normal.astype(np.float32)
    if key.endswith("running_var"):
        return (1 + 0.2 * np.abs(normal)).astype(np.float32)
    return (0.1 * normal + key.endswith("weight")).astype(np.float32)


def make_state_dict(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The published network's tensors, from their shapes by key."""
    return {key: make_weight(key, shape) for key, shape in shapes.items()}


def make_picture(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return _random(name).uniform(-1, 1, shape).astype(np.float32)


def make_unit_vector(name: str, shape: tuple[int, ...]) -> np.ndarray:
    value = _random(name).standard_normal(shape)
    return (value / np.linalg.norm(value, axis=-1, keepdims=True)).astype(np.float32)


def read_golden(name: str) -> tuple[Shapes, dict[str, np.ndarray]]:
    """The shapes of a published network's tensors by key, and the outputs it gave."""
    keys = json.loads((GOLDEN / f"{name}.json").read_text())["keys"]
    with np.load(GOLDEN / f"{name}.npz") as outputs:
        return {key: tuple(shape) for key, shape in keys}, dict(outputs)
