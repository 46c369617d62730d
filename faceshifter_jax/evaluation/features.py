"""Networks that the user names as ONNX files: features, poses and expressions of pictures."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.processes import in_shares
from faceshifter_jax.networks.network import check_finite
from faceshifter_jax.runtime.batches import apply_in_batches

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_BATCH = 32
_HOPENET_BINS, _BIN_DEGREES, _FIRST_BIN_DEGREES = 66, 3.0, -99.0


class OnnxNetwork:
    """A network in an ONNX file, run by onnxruntime on the CPU.

    It has one input, (B, 3, H, W) or (B, H, W, 3), RGB. Pictures are resized bilinearly with
    antialiasing to the size that the file states, or to `default_size` where it states none.
    """

    def __init__(self, path: str, *, range_name: str, default_size: int):
        """Reads the file.

        Args:
          path: the file.
          range_name: one of `protocols.options.RANGES`; uint8 inputs get bytes whatever it is.
          default_size: pixels a side, for a file that leaves it open.

        Raises:
          UserError: onnxruntime or the file is missing, or it is a network of another kind.
        """
        self.path = path
        self._session = _open(path)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise UserError(f"{path} must take one batch of pictures, with four axes")
        self._name, shape = inputs[0].name, inputs[0].shape
        self._bytes = inputs[0].type == "tensor(uint8)"
        self._channels_first = shape[1] == 3
        if not self._channels_first and shape[3] != 3:
            raise UserError(f"{path} must take colour pictures, not {shape}")
        sides = shape[2:] if self._channels_first else shape[1:3]
        self._size = tuple(side if isinstance(side, int) else default_size for side in sides)
        self._batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else _BATCH
        self._range = range_name

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        """Applies it to uint8 pictures (B, S, S, 3); returns its outputs, (B, ...) each."""

        def run(rows: np.ndarray) -> list[np.ndarray]:
            return self._session.run(None, {self._name: self._to_input(rows)})

        return apply_in_batches(run, (pictures,), self._batch)

    def _to_input(self, pictures: np.ndarray) -> np.ndarray:
        height, width = self._size
        resized = np.stack(
            [
                np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BILINEAR))
                for p in pictures
            ]
        )
        values = resized if self._bytes else _scale(resized, self._range)
        return np.ascontiguousarray(
            values.transpose(0, 3, 1, 2) if self._channels_first else values
        )


def describe_network(name: str, path: str | None, **how: str) -> dict[str, str]:
    """Returns what makes two evaluations' networks the same: the file's hash, and how it is used.

    Args:
      name: begins the names of these facts.
      path: the file; None for no network, of which there are no facts.
      how: what else its numbers depend on.
    """
    if path is None:
        return {}
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {f"{name}_sha256": digest} | {f"{name}_{key}": value for key, value in how.items()}


def apply_in_shares(apply: Callable[[np.ndarray], np.ndarray], pictures: np.ndarray) -> np.ndarray:
    """Applies a network of this module to pictures, each process to its share; all processes."""
    found = in_shares(lambda rows: {"rows": apply(pictures[rows])}, len(pictures))["rows"]
    return check_finite(
        found, "the outputs of a network in an ONNX file are not finite numbers: use other weights"
    )


def try_out(apply: Callable[[np.ndarray], np.ndarray]) -> None:
    """Applies a network of this module to a black picture; UserError if it cannot be used."""
    apply(np.zeros((1, 64, 64, 3), np.uint8))


def load_features(path: str, range_name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Reads a network whose first output is taken as features: pictures to float (B, D).

    An output with more axes, as pooled (B, D, 1, 1), is flattened.

    Raises:
      UserError: see `OnnxNetwork`.
    """
    network = OnnxNetwork(path, range_name=range_name, default_size=299)
    return lambda pictures: _flat(network(pictures)[0])


def load_pose(path: str, range_name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Reads an estimator of head poses: pictures to degrees, float (B, 3): yaw, pitch, roll.

    See `decode_pose` for what its outputs may be.

    Raises:
      UserError: see `OnnxNetwork`; outputs of another kind, when it is called.
    """
    network = OnnxNetwork(path, range_name=range_name, default_size=224)
    return lambda pictures: decode_pose(network(pictures), path)


def load_expression(path: str, range_name: str, part: slice) -> Callable[[np.ndarray], np.ndarray]:
    """Reads an estimator of expressions: pictures to float (B, K), `part` of its first output.

    Raises:
      UserError: see `OnnxNetwork`; a part that it does not have, when it is called.
    """
    network = OnnxNetwork(path, range_name=range_name, default_size=224)

    def estimate(pictures: np.ndarray) -> np.ndarray:
        vectors = _flat(network(pictures)[0])
        width = vectors.shape[1]
        if part.start >= width or (part.stop or 0) > width:
            raise UserError(
                f"--expression-part asks for more than the {width} numbers that {path} gives"
            )
        return vectors[:, part]

    return estimate


def decode_pose(outputs: list[np.ndarray], path: str) -> np.ndarray:
    """Degrees (B, 3) from what an estimator of poses gives.

    Hopenet (arXiv 1710.00925) gives three outputs (B, 66) for yaw, pitch and roll, scores of bins
    of 3 degrees; an angle is the expectation of 3 * bin - 99 under their softmax. One output
    (B, 3, 66) is taken for the same; one output (B, 3) is taken for degrees.

    Raises:
      UserError: other outputs.
    """
    shapes = [output.shape[1:] for output in outputs]
    if len(outputs) >= 3 and shapes[:3] == [(_HOPENET_BINS,)] * 3:
        return _expectation(np.stack(outputs[:3], 1))
    if shapes[0] == (3, _HOPENET_BINS):
        return _expectation(outputs[0])
    if shapes[0] == (3,):
        return outputs[0].astype(np.float64)
    raise UserError(
        f"{path} is not a readable estimator of poses: it must give three outputs of 66 bins "
        "(Hopenet), one of 3 x 66, or 3 angles in degrees"
    )


def _expectation(scores: np.ndarray) -> np.ndarray:
    scores = scores.astype(np.float64)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return shares @ (_BIN_DEGREES * np.arange(_HOPENET_BINS) + _FIRST_BIN_DEGREES)


def _flat(output: np.ndarray) -> np.ndarray:
    return output.reshape(len(output), -1).astype(np.float64)


def _scale(pictures: np.ndarray, range_name: str) -> np.ndarray:
    values = pictures.astype(np.float32)
    if range_name == "bytes":
        return values
    if range_name == "signed":
        return values / np.float32(127.5) - 1
    values /= 255
    return (values - _MEAN) / _DEVIATION if range_name == "imagenet" else values


def _open(path: str) -> Any:
    if not Path(path).is_file():
        raise UserError(f"no ONNX file at {path}")
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"{path} needs the package onnxruntime: install it with "
            "pip install 'faceshifter-jax[evaluate]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    # onnxruntime's own exceptions have no common base but this.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path} is not a readable ONNX file: {reason}") from error
