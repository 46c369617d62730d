"""Recognising the kind of a file by its first bytes, and reading it with the right reader."""

from collections.abc import Callable
from pathlib import Path

from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.convert import families
from faceshifter_jax.convert.families.family import Converted
from faceshifter_jax.convert.mobilefacenet import convert_tflite
from faceshifter_jax.convert.onnx_iresnet import convert_onnx
from faceshifter_jax.convert.torch_file import read_torch_file
from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import open_input
from faceshifter_jax.networks.file import is_network_file

KNOWN = (
    *(f"PyTorch (.pth, .pt, .ckpt, .safetensors)  {line}" for line in families.KNOWN),
    "ONNX                                      IResNet 18, 34, 50, 100, 200 of InsightFace",
    "TFLite                                    MobileFaceNet",
    "a workdir of this project                 identity network, AEI-Net, discriminator, HEAR-Net",
)
"""One line for each supported kind of weights."""


def convert_file(path: Path) -> Converted:
    """Reads weights of any supported kind.

    Args:
      path: a published file, or the workdir of a training run.

    Raises:
      UserError: the file cannot be read, or holds something else.
    """
    if path.is_dir():
        return _convert_workdir(path)
    return _find_reader(path)(path)


def _find_reader(path: Path) -> Callable[[Path], Converted]:
    with open_input(path) as file:
        head = file.read(16)
    if head[4:8] == b"TFL3":
        return convert_tflite
    # A protocol buffer whose first field is the version of the format.
    if head[:1] == b"\x08" and head[8:9] != b"{":
        return convert_onnx
    if is_network_file(path):
        raise UserError(f"{path} is a network file already: use it as it is")
    return _convert_torch


def _convert_torch(path: Path) -> Converted:
    return families.convert_state_dict(read_torch_file(path), str(path))


def _convert_workdir(path: Path) -> Converted:
    weights = read_weights(path)
    if not weights.networks:
        raise UserError(f"{path} holds a training run without any of our networks")
    return Converted(weights.networks, f"training of this project, step {weights.step}")
