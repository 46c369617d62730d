"""The opponent of benchmarks/data.py: pictures as PyTorch training usually reads them.

A folder of JPEG files, each opened by Pillow in worker processes, mirrored and recoloured by
Pillow step by step as torchvision's ColorJitter does it, and collated into batches: by
`torch.utils.data.DataLoader` where torch is installed, else by a pool of processes.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

JITTER, MOST_HUE = 0.3, 20 / 360
_AHEAD = 2


class PictureFolder:
    """Pairs of pictures of a folder: item `index` is drawn by a generator seeded with it.

    `augmented` mirrors half the pictures and changes the colours of all. An item is source and
    target, each uint8 (S, S, 3), and whether they are the same picture (a fifth are).
    """

    def __init__(self, folder: Path, *, augmented: bool, length: int):
        self._paths = sorted(folder.iterdir())
        self._augmented = augmented
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.float32]:
        rng = np.random.default_rng(index)
        target = self._read(index % len(self._paths), rng)
        if rng.random() < 0.2:
            return target, target, np.float32(1)
        return self._read(int(rng.integers(len(self._paths))), rng), target, np.float32(0)

    def _read(self, number: int, rng: np.random.Generator) -> np.ndarray:
        with Image.open(self._paths[number], formats=("JPEG", "PNG")) as file:
            image = file.convert("RGB")
        return np.array(_augment(image, rng) if self._augmented else image)


def _augment(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(1 + JITTER * rng.uniform(-1, 1))
    hue, saturation, value = image.convert("HSV").split()
    turn = round(255 * MOST_HUE * JITTER * rng.uniform(-1, 1))
    turned = Image.fromarray(np.asarray(hue) + np.uint8(turn % 256))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def batches(dataset: PictureFolder, *, batch_size: int, num_workers: int) -> Iterator[object]:
    """Yields collated batches, made in `num_workers` processes; close it to end them."""
    try:
        from torch.utils.data import DataLoader
    except ImportError:
        yield from _pooled(dataset, batch_size, num_workers)
        return
    yield from DataLoader(
        dataset, batch_size, num_workers=num_workers, multiprocessing_context="spawn"
    )


def opponent_name() -> str:
    """Names which of the two loaders `batches` is."""
    try:
        import torch
    except ImportError:
        return "folder of JPEG files, Pillow, a pool of processes"
    return f"folder of JPEG files, Pillow, DataLoader of torch {torch.__version__}"


def _pooled(dataset: PictureFolder, batch_size: int, num_workers: int) -> Iterator[object]:
    # Not multiprocessing.Pool: it kills its workers, and waits forever for the lock of one that
    # was just taking its next task.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, _start, (dataset, batch_size)) as pool:
        coming = [pool.submit(_collate, index) for index in range(_AHEAD * num_workers)]
        for index in range(len(coming), len(dataset) // batch_size):
            yield coming.pop(0).result()
            coming.append(pool.submit(_collate, index))


_work: tuple[PictureFolder, int]


def _start(dataset: PictureFolder, batch_size: int) -> None:
    global _work
    _work = dataset, batch_size


def _collate(index: int) -> list[np.ndarray]:
    dataset, size = _work
    rows = [dataset[i] for i in range(index * size, (index + 1) * size)]
    return [np.stack(column) for column in zip(*rows, strict=True)]
