"""Published PyTorch networks whose numbers are known: tests/golden holds keys, inputs, outputs.

Weights are not stored: each is a pure function of its key and shape. Every array of our network
is looked up under the published network's key, so nothing is left out and nothing is left over.
"""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

GOLDEN = Path(__file__).parents[1] / "golden"
EPSILON = 1e-5

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "slope": "weight",
    "bias": "bias",
    "start_bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def _random(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)


def make_weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The published network's tensor of that key."""
    normal = _random(key).standard_normal(shape)
    if len(shape) >= 2:
        # In place: the largest of these have twenty million numbers.
        normal *= 0.8 / np.sqrt(np.prod(shape[1:]))
        return normal.astype(np.float32)
    if key.endswith("running_var"):
        return (1 + 0.2 * np.abs(normal)).astype(np.float32)
    return (0.1 * normal + key.endswith("weight")).astype(np.float32)


def make_picture(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return _random(name).uniform(-1, 1, shape).astype(np.float32)


def make_unit_vector(name: str, shape: tuple[int, ...]) -> np.ndarray:
    value = _random(name).standard_normal(shape)
    return (value / np.linalg.norm(value, axis=-1, keepdims=True)).astype(np.float32)


def read_golden(name: str) -> tuple[dict[str, tuple[int, ...]], dict[str, np.ndarray]]:
    """The shapes of a published network's tensors by key, and the outputs it gave."""
    keys = json.loads((GOLDEN / f"{name}.json").read_text())["keys"]
    with np.load(GOLDEN / f"{name}.npz") as outputs:
        return {key: tuple(shape) for key, shape in keys}, dict(outputs)


def _convert(path: tuple[str, ...], value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A PyTorch tensor in the layout of the Flax array at `path`."""
    if path[-1] != "kernel":
        return value
    if path[-2] == "start":  # A transposed convolution of a 1x1 picture: I, O, H, W.
        return value.transpose(0, 2, 3, 1).reshape(shape)
    if path[-2].startswith("up_"):  # I, O, H, W; PyTorch turns the kernel by half a turn.
        return value.transpose(2, 3, 0, 1)[::-1, ::-1]
    if path[-2] == "embedding":  # The flattened picture is C, H, W there and H, W, C here.
        side = round((value.shape[1] // (channels := 512)) ** 0.5)
        value = value.reshape(-1, channels, side, side).transpose(2, 3, 1, 0)
        return value.reshape(shape)
    if len(shape) == 2:
        return value.reshape(value.shape[:2]).T
    return value.transpose(2, 3, 1, 0)


def build_variables(
    network: nn.Module, inputs: tuple[Any, ...], name: str, module_key: Callable[..., str]
) -> dict[str, Any]:
    """The variables of `network`, filled with the tensors of the published network `name`.

    Args:
      network: our network.
      inputs: what it takes, for shapes only.
      name: the fixture.
      module_key: called with a module's path as positional strings, returns its key there.
    """
    shapes = read_golden(name)[0]
    empty = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    variables, used = {}, set()
    for path, leaf in traverse_util.flatten_dict(empty).items():
        parts = [part for part in path[1:-1] if part != "norm"]
        if path[-1] == "start_bias":
            parts.append("start")
        key = f"{module_key(*parts)}.{_LEAVES[path[-1]]}"
        used.add(key)
        value = _convert(path, make_weight(key, shapes[key]), leaf.shape)
        assert value.shape == leaf.shape, (path, key)
        variables[path] = jnp.asarray(value)
    unused = {key for key in shapes if not key.endswith("num_batches_tracked")} - used
    # arcface_torch freezes this scale at 1 and we have none, but the recipe fills it in;
    # a scale is a smaller variance.
    if unused == {"features.weight"}:
        scale = make_weight("features.weight", shapes["features.weight"])
        path = ("batch_stats", "embedding_norm", "norm", "var")
        variables[path] = (variables[path] + EPSILON) / jnp.square(scale) - EPSILON
        unused = set()
    assert not unused
    return traverse_util.unflatten_dict(variables)


def iresnet_key(*path: str) -> str:
    """arcface_torch."""
    names = {
        "stem": "conv1",
        "stem_norm": "bn1",
        "stem_prelu": "prelu",
        "out_norm": "bn2",
        "embedding": "fc",
        "embedding_norm": "features",
        "norm_1": "bn1",
        "conv_1": "conv1",
        "norm_2": "bn2",
        "prelu": "prelu",
        "conv_2": "conv2",
        "norm_3": "bn3",
        "shortcut": "downsample.0",
        "shortcut_norm": "downsample.1",
    }
    if len(path) == 1:
        return names[path[0]]
    _, stage, _, block = path[0].split("_")
    return f"layer{int(stage) + 1}.{block}.{names[path[1]]}"


def ir_se50_key(*path: str) -> str:
    """InsightFace_Pytorch."""
    if len(path) == 1:
        return {
            "stem": "input_layer.0",
            "stem_norm": "input_layer.1",
            "stem_prelu": "input_layer.2",
            "out_norm": "output_layer.0",
            "embedding": "output_layer.3",
            "embedding_norm": "output_layer.4",
        }[path[0]]
    names = {
        "norm_1": "res_layer.0",
        "conv_1": "res_layer.1",
        "prelu": "res_layer.2",
        "conv_2": "res_layer.3",
        "norm_3": "res_layer.4",
        "squeeze_excitation.reduce": "res_layer.5.fc1",
        "squeeze_excitation.expand": "res_layer.5.fc2",
        "shortcut": "shortcut_layer.0",
        "shortcut_norm": "shortcut_layer.1",
    }
    _, stage, _, block = path[0].split("_")
    first = (0, 3, 7, 21)[int(stage)]
    return f"body.{first + int(block)}.{names['.'.join(path[1:])]}"


def discriminator_key(scale: str, conv: str) -> str:
    """taotaonice, after pix2pixHD: the last layer judges the full size."""
    index = 7 if conv == "scores" else int(conv.removeprefix("conv_"))
    return f"layer{2 - int(scale.removeprefix('scale_'))}.{max(0, 3 * index - 1)}"


_AAD = {
    "gamma_att": "conv1",
    "beta_att": "conv2",
    "gamma_id": "fc1",
    "beta_id": "fc2",
    "mask": "conv_h",
}


def _unet_encoder_key(module: str) -> str:
    kind, number = module.rsplit("_", 1)
    names = {
        "down": "conv{}.0",
        "down_norm": "conv{}.1",
        "up": "deconv{}.deconv",
        "up_norm": "deconv{}.bn",
    }
    return "encoder." + names[kind].format(int(number) + 1)


def taotaonice_key(*path: str) -> str:
    if path[0] == "encoder":
        return _unet_encoder_key(path[1])
    if path[1] == "start":
        return "generator.up1"
    block = f"generator.AADBlk{int(path[1].removeprefix('block_')) + 1}"
    kind, unit = path[2].split("_")
    number = {"0": 1, "1": 2, "skip": 3}[unit]
    return f"{block}.conv{number}" if kind == "conv" else f"{block}.AAD{number}.{_AAD[path[3]]}"


def ghost_key(*path: str) -> str:
    if path[0] == "encoder" or path[1] == "start":
        return taotaonice_key(*path)
    block = f"generator.AADBlk{int(path[1].removeprefix('block_')) + 1}"
    kind, unit = path[2].split("_")
    layers, first = ("last_add_block", 0) if unit == "skip" else ("add_blocks", 3 * int(unit))
    if kind == "conv":
        return f"{block}.{layers}.{first + 2}"
    return f"{block}.{layers}.{first}.{_AAD[path[3]]}"


def maum_key(*path: str) -> str:
    if path[0] == "encoder":
        kind, number = path[1].rsplit("_", 1)
        part = "Encoder" if kind.startswith("down") else "Decoder"
        return f"E.{part}.layer_{number}.{int(kind.endswith('norm'))}"
    if path[1] == "start":
        return "G.convt"
    block = f"G.model.layer_{path[1].removeprefix('block_')}"
    kind, unit = path[2].split("_")
    number = {"0": 1, "1": 2, "skip": 3}[unit]
    if kind == "conv":
        return f"{block}.conv{number}"
    names = {**_AAD, "gamma_id": "fc_1", "beta_id": "fc_2", "mask": "conv_f", "batch_norm": "BNorm"}
    return f"{block}.add{number}.{names[path[3]]}"
