"""MediaPipe's face networks: their weights, which come with the package, and running them."""

import dataclasses
import functools
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from threadpoolctl import ThreadpoolController

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces import blaze_face
from faceshifter_jax.faces.cpu_layers import CpuLayers

FOLDER = Path(__file__).parent / "pretrained"
_BATCH = 8  # pictures that go through a network together on an accelerator


@dataclasses.dataclass(frozen=True)
class FaceNetwork:
    """One of the networks.

    Attributes:
      size: side in pixels of the pictures that it takes.
      mean, scale: a grey level g enters it as (g - mean) / scale.
      original: name of the TFLite file that it was read from.
      sha256: of the file with its weights.
    """

    size: int
    mean: float
    scale: float
    original: str
    sha256: str

    def scaled(self, pictures: np.ndarray) -> np.ndarray:
        """Returns what the network takes for pictures, uint8 (B, S, S, 3): float32, the same."""
        return (pictures.astype(np.float32) - np.float32(self.mean)) / np.float32(self.scale)


NETWORKS = {
    "short_range": FaceNetwork(
        *(128, 127.5, 127.5, "face_detection_short_range.tflite"),
        "d0edd5373151a8ec438a88569302e264c25668f42a6946bcd2ab184926197e35",
    ),
    "full_range": FaceNetwork(
        *(192, 127.5, 127.5, "face_detection_full_range.tflite"),
        "7339bc05edf144923d86ebe63ef6b118a7315ecbffeb46ed92751df22d78017c",
    ),
    "face_mesh": FaceNetwork(
        *(192, 0.0, 255.0, "face_landmark.tflite"),
        "8f159a1adf432a4308ef153e74f93a1254bc72b10bc7c57e60a2819c6ea8cd24",
    ),
}
"""Name, as that of its function in `blaze_face` -> network; its file is NAME.safetensors."""

Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Pictures, uint8 (B, S, S, 3) with B >= 1, to both results of the network."""


def read_weights(name: str) -> dict[str, np.ndarray]:
    """Reads a network's parameters, name -> float32.

    Raises:
      UserError: the file is missing, or is not the one that came with this version.
    """
    file = FOLDER / f"{name}.safetensors"
    try:
        if hashlib.sha256(file.read_bytes()).hexdigest() != NETWORKS[name].sha256:
            raise UserError(f"{file} has changed since it was installed: install the package again")
        with safe_open(file, "numpy") as stored:
            arrays = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {file} ({error}): install the package again") from error
    return {key: array.astype(np.float32) for key, array in arrays.items()}


@functools.cache
def load_network(name: str, *, with_jax: bool) -> Run:
    """Loads one of `NETWORKS`, once a process.

    Args:
      name: its name.
      with_jax: whether it runs as a linen module on jax's device, compiled when it is first
        called; else by numpy, on the CPU.

    Raises:
      UserError: see `read_weights`.
    """
    network, weights = NETWORKS[name], read_weights(name)
    if with_jax:
        return _run_in_batches(network, _linen(name, weights))
    layers = CpuLayers(lambda key, shape: weights[key].reshape(shape))
    function = getattr(blaze_face, name)
    libraries = ThreadpoolController()

    def apply(x: np.ndarray) -> Any:
        # The products are small: threads gain little, and next to other work they wait for each
        # other many times as long as the product takes.
        with libraries.limit(limits=1, user_api="blas"):
            return function(layers, x)

    return _run_in_batches(network, apply, batch=1)


def has_accelerator() -> bool:
    """Whether jax is in use and has one; on a CPU the networks run without it."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.default_backend() != "cpu"


def _linen(name: str, weights: dict[str, np.ndarray]) -> Callable[[Any], Any]:
    import jax
    from flax import traverse_util

    from faceshifter_jax.faces.linen_layers import FaceNetworkModule

    module = FaceNetworkModule(name)
    params = jax.device_put(traverse_util.unflatten_dict(weights, sep="/"))
    apply = jax.jit(lambda params, x: module.apply({"params": params}, x))
    return lambda x: jax.device_get(apply(params, x))


def _run_in_batches(network: FaceNetwork, apply: Callable[[Any], Any], batch: int = _BATCH) -> Run:
    """Runs any number of pictures, `batch` at a time; the last batch is filled up."""

    def run(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        results = []
        for start in range(0, len(pictures), batch):
            part = network.scaled(pictures[start : start + batch])
            filled = np.zeros((batch, *part.shape[1:]), np.float32)
            filled[: len(part)] = part
            first, second = apply(filled)
            results.append((first[: len(part)], second[: len(part)]))
        firsts, seconds = zip(*results, strict=True)
        return np.concatenate(firsts), np.concatenate(seconds)

    return run
