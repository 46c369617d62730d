"""TensorBoard files: what both writers write is what TensorBoard's own reader gives back."""

import importlib.util
import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from faceshifter_jax.runtime import tensorboard_files

SCALARS = {0: {"loss": 0.5, "nearer": np.float32(0.25)}, 10: {"loss": 0.125}}
GRID = np.random.default_rng(0).integers(0, 256, (1, 20, 30, 3), dtype=np.uint8)


def write(folder):
    writer = tensorboard_files.build_writer(folder)
    for step, scalars in SCALARS.items():
        writer.write_scalars(step, scalars)
    writer.write_images(10, {"samples": GRID})
    writer.close()
    return EventAccumulator(str(folder)).Reload()


def curve(events, name):
    """Step -> value, whether stored as a number or as a tensor."""
    tags = events.Tags()
    if name in tags["scalars"]:
        return {event.step: event.value for event in events.Scalars(name)}
    return {event.step: float(make_ndarray(event.tensor_proto)) for event in events.Tensors(name)}


def picture(events, name):
    """(step, pixels) of the only picture."""
    tags = events.Tags()
    if name in tags["images"]:
        (event,) = events.Images(name)
        encoded = event.encoded_image_string
    else:
        (event,) = events.Tensors(name)
        # Width and height come first.
        encoded = make_ndarray(event.tensor_proto)[2]
    return event.step, np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


@pytest.mark.parametrize("has_tensorflow", [True, False])
def test_curves_and_pictures_come_back(tmp_path, monkeypatch, has_tensorflow):
    if not has_tensorflow:
        find_spec = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *more: None if name == "tensorflow" else find_spec(name, *more),
        )
    events = write(tmp_path)
    assert curve(events, "loss") == {0: 0.5, 10: 0.125}
    assert curve(events, "nearer") == {0: 0.25}
    step, pixels = picture(events, "samples")
    assert step == 10
    np.testing.assert_array_equal(pixels, GRID[0])
