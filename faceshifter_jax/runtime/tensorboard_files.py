"""Files that `tensorboard --logdir` shows, with clu's writer where TensorFlow is installed."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Writer(Protocol):
    """What of clu's `MetricWriter` is used here."""

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None: ...

    def write_images(self, step: int, images: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class TensorBoardXWriter:
    """Writes the same curves and pictures as clu's writer, without TensorFlow."""

    def __init__(self, folder: Path):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), write_to_disk=True)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes numbers by name."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, float(value), step)
        self._writer.flush()

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Writes pictures (N, H, W, 3), uint8, or float32 in [0, 1], by name."""
        for name, batch in images.items():
            self._writer.add_images(name, np.asarray(batch), step, dataformats="NHWC")
        self._writer.flush()

    def close(self) -> None:
        """Finishes the file."""
        self._writer.close()


def build_writer(folder: Path) -> Writer:
    """Returns a writer of TensorBoard files; it may write in the background until it is closed."""
    if importlib.util.find_spec("tensorflow") is None:
        return TensorBoardXWriter(folder)
    # clu imports TensorFlow, which takes seconds and would by default claim the memory of every
    # GPU.
    import tensorflow as tf
    from clu import metric_writers

    tf.config.set_visible_devices([], "GPU")
    return metric_writers.create_default_writer(folder)
