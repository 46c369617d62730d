"""Swaps the face of an aligned picture with an exported file, onnxruntime and numpy alone.

faceshifter export shipped:hear swap.onnx --format onnx
python scripts/swap_onnx.py swap.onnx source.png target.png result.png

Pictures are squares that show an aligned face, such as `faceshifter prepare` writes. Pillow reads
and writes them; any other library will do.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, PngImagePlugin


def main(network: str, source: str, target: str, result: str) -> None:
    """Swaps, and writes into the result where it comes from."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["faceshifter_jax"])
    squares = {}
    for name, path in (("source", source), ("target", target)):
        side = facts["inputs"][name]["shape"][1]
        picture = (
            Image.open(path, formats=("PNG", "JPEG"))
            .convert("RGB")
            .resize((side, side), Image.Resampling.LANCZOS)
        )
        squares[name] = np.asarray(picture)[None]  # (1, side, side, 3) uint8, RGB
    (swapped,) = session.run(None, squares)
    told = PngImagePlugin.PngInfo()
    for key, value in facts["provenance"].items():
        told.add_text(key, value)
    Image.fromarray(swapped[0]).save(result, pnginfo=told)


if __name__ == "__main__":
    main(*sys.argv[1:])
