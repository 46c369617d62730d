"""Pictures a second of the data pipeline, stage by stage and as a whole.

    python benchmarks/data.py                          # some five minutes
    python benchmarks/data.py --output benchmarks/results/data.json
    python benchmarks/data.py --pictures 8 --sizes 64 --workers 1 --seconds 0.2 --rounds 1

It renders faces into a temporary folder, prepares them as JPEG files of quality 95 like
photographs, and reads them back in pairs: in turn with our loader, and with a loop as PyTorch
training scripts have it (pillow_loader.py). Both have the same number of workers: ours are threads,
theirs processes. A picture is one of a pair. Every figure is the median of several rounds, one
loader's workers at rest while the other is timed.
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
from common import Parser, above_zero, at_least, check_output, machine, print_table, write_json
from PIL import Image
from pillow_loader import JITTER, PictureFolder, batches, opponent_name

from faceshifter_jax.data import (
    Loader,
    PreparedDataset,
    build_loader,
    prepare_embedded,
    prepare_folder,
)
from faceshifter_jax.data.augment import augment
from faceshifter_jax.data.occlusion.cutouts_embedded import EmbeddedCutouts
from faceshifter_jax.data.occlusion.cutouts_folder import FolderCutouts
from faceshifter_jax.data.occlusion.occlude import occlude
from faceshifter_jax.media.images import decode_picture

_BATCH_SIZE = 16
_CUTOUTS = 20
_ENDLESS = 2**30
_AHEAD = 2  # batches in the making of each worker, as of torch's DataLoader

VARIANTS = {
    "plain": {},
    "mirrored, colours": {"horizontal_flip": True, "colour_jitter": JITTER},
    "mirrored, colours, half occluded": {
        "horizontal_flip": True,
        "colour_jitter": JITTER,
        "occlusion_share": 0.5,
    },
    "mirrored, colours, kept in memory": {
        "horizontal_flip": True,
        "colour_jitter": JITTER,
        "cache_megabytes": 4096.0,
    },
}
"""name -> settings of the loader."""
_BY_OPPONENT = {"plain": False, "mirrored, colours": True}
"""The variants that the opponent has, and whether it augments there."""


def main() -> int:
    arguments = _parse(sys.argv[1:])
    measured_on = _machine()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _render(root, arguments.pictures, max(arguments.sizes))
        record = {
            "machine": measured_on,
            "opponent": opponent_name(),
            "settings": {name: getattr(arguments, name) for name in ("pictures", "rounds")},
            "stages": [],
            "whole": [],
        }
        for size in arguments.sizes:
            dataset = _prepare(root, size)
            record["stages"] += _measure_stages(root, dataset, arguments)
            record["whole"] += _measure_whole(root, dataset, arguments)
    print(f"\n{record['machine']['cores']} cores of {record['machine']['processor']}\n")
    print_table(_stage_table(record["stages"]))
    print(f"\nThe opponent: {record['opponent']}\n")
    print_table(_whole_table(record["whole"]))
    if arguments.output:
        write_json(arguments.output, record)
        print(f"wrote {arguments.output}")
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--pictures", type=at_least(4), default=48, help="rendered faces (48)")
    parser.add_argument("--sizes", type=at_least(1), nargs="+", default=[64, 256], help="64 256")
    parser.add_argument("--workers", type=at_least(1), nargs="+", default=[1, 2], help="1 2")
    parser.add_argument("--seconds", type=above_zero, default=1.0, help="of each measurement (1)")
    parser.add_argument("--rounds", type=at_least(1), default=5, help="measurements of each (5)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file to write")
    arguments = parser.parse_args(words)
    check_output(parser, arguments.output)
    return arguments


def _render(root: Path, number: int, size: int) -> None:
    """Writes PNG files a quarter larger than needed, so that preparing them makes JPEG files."""
    faces = root / "faces"
    counts = {"num_identities": -(-number // 2), "pictures_per_identity": 2}
    prepare_embedded(faces, **counts, size=size + size // 4)
    dataset = PreparedDataset(faces)
    for index in range(dataset.num_pictures):
        path = root / "photos" / f"{dataset.identities[index]}" / f"{index:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dataset.record(index)["image"])


def _prepare(root: Path, size: int) -> PreparedDataset:
    """Makes a dataset of that size, a folder of its JPEG files, and one of cut-outs."""
    dataset = PreparedDataset(prepare_folder(root / "photos", root / f"data_{size}", size=size))
    files, cutouts = root / f"files_{size}", root / f"cutouts_{size}"
    files.mkdir()
    cutouts.mkdir()
    for index in range(dataset.num_pictures):
        (files / f"{index:05}.jpg").write_bytes(dataset.record(index)["image"])
    rendered = EmbeddedCutouts(size)
    for index in range(_CUTOUTS):
        Image.fromarray(rendered[index].pixels).save(cutouts / f"{index}.png")
    return dataset


def _measure_stages(
    root: Path, dataset: PreparedDataset, arguments: argparse.Namespace
) -> list[dict]:
    """Times the stages of a loader one by one, in one thread."""
    size, number = dataset.image_size, dataset.num_pictures
    encoded = [dataset.record(index)["image"] for index in range(number)]
    pictures = [decode_picture(content) for content in encoded]
    cutouts = FolderCutouts(root / f"cutouts_{size}", size)
    rendered, fresh = EmbeddedCutouts(size), iter(range(_CUTOUTS, 500))
    rng = np.random.default_rng(0)
    batch = np.empty((_BATCH_SIZE, size, size, 3), np.uint8)

    def copy(index: int) -> None:
        batch[index % _BATCH_SIZE] = pictures[index % number]

    stages: dict[str, Callable[[int], object]] = {
        "read a record": lambda i: dataset.record(i % number),
        "decode": lambda i: decode_picture(encoded[i % number]),
        "decode with Pillow": lambda i: _decode_with_pillow(encoded[i % number]),
        "mirror every second": lambda i: augment(
            pictures[i % number], rng, horizontal_flip=True, colour_jitter=0.0
        ),
        "mirror and colours": lambda i: augment(
            pictures[i % number], rng, horizontal_flip=True, colour_jitter=JITTER
        ),
        "occlude": lambda i: occlude(pictures[i % number], cutouts[i % len(cutouts)], rng),
        "copy into a batch": copy,
    }
    seconds = {name: [] for name in stages}
    for stage in stages.values():
        stage(0)
    for _ in range(arguments.rounds):
        for name, stage in stages.items():
            seconds[name].append(_time_calls(stage, arguments.seconds / 8))
    once = statistics.median(
        _time_calls(lambda _: rendered[next(fresh)], 0) for _ in range(arguments.rounds)
    )
    rows = [
        {"size": size, "stage": name, "microseconds": 1e6 * statistics.median(values)}
        for name, values in seconds.items()
    ]
    rows.append({"size": size, "stage": "render a cut-out, once", "microseconds": 1e6 * once})
    kilobytes = statistics.mean(map(len, encoded)) / 1000
    return [row | {"kilobytes_a_picture": kilobytes} for row in rows]


def _decode_with_pillow(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
        return np.array(image.convert("RGB"))


def _time_calls(function: Callable[[int], object], seconds: float) -> float:
    """Calls a function for so many seconds, at least once; returns the CPU seconds of one call."""
    number, begin = 0, time.thread_time()
    while True:
        function(number)
        number += 1
        elapsed = time.thread_time() - begin
        if elapsed >= seconds:
            return elapsed / number


def _measure_whole(
    root: Path, dataset: PreparedDataset, arguments: argparse.Namespace
) -> list[dict]:
    """Times both loaders in turn, all variants and numbers of workers."""
    return [
        {
            "size": dataset.image_size,
            "workers": workers,
            "variant": name,
            **_measure_variant(root, dataset, name, workers, arguments),
        }
        for workers in arguments.workers
        for name in VARIANTS
    ]


def _measure_variant(
    root: Path,
    dataset: PreparedDataset,
    name: str,
    workers: int,
    arguments: argparse.Namespace,
) -> dict:
    """Pictures a second of a variant, and of the opponent's where it has one."""
    sources = {"ours": _open_ours(root, dataset, VARIANTS[name], workers)}
    if name in _BY_OPPONENT:
        files = root / f"files_{dataset.image_size}"
        pictures = PictureFolder(files, augmented=_BY_OPPONENT[name], length=_ENDLESS)
        sources["opponent"] = batches(pictures, batch_size=_BATCH_SIZE, num_workers=workers)
    rates = {player: [] for player in sources}
    cores = []
    with contextlib.ExitStack() as stack:
        for source in sources.values():
            stack.callback(source.close)
            # Once round, so that what is kept in memory is there.
            _take(source, -(-dataset.num_pictures // _BATCH_SIZE))
        for _ in range(arguments.rounds + 1):
            for player, source in sources.items():
                rate, used = _take_turn(source, workers, arguments.seconds)
                rates[player].append(rate)
                if player == "ours":
                    cores.append(used)
    # The first round ran while all of them prepared batches ahead.
    medians = {player: statistics.median(values[1:]) for player, values in rates.items()}
    return {
        "pictures_per_second": medians["ours"],
        "cores": statistics.median(cores[1:]),
        "opponent_pictures_per_second": medians.get("opponent"),
    }


def _open_ours(root: Path, dataset: PreparedDataset, settings: dict, workers: int) -> Loader:
    settings = {"path": str(dataset.path), "cache_megabytes": 0.0, **settings}
    if settings.get("occlusion_share"):
        settings["occluders"] = str(root / f"cutouts_{dataset.image_size}")
    threads = {"num_threads": workers, "prefetch_batches": _AHEAD * workers}
    return build_loader(
        "pairs", settings | threads, seed=0, batch_size=_BATCH_SIZE, image_size=dataset.image_size
    )


def _take_turn(source: Iterator, workers: int, seconds: float) -> tuple[float, float]:
    """`_time_batches` of a loader, which then does nothing until its next turn."""
    # What was made ahead does not count.
    _take(source, _AHEAD * workers + 1)
    rate, used = _time_batches(source, seconds)
    # Half as long again as the workers need for all that they make ahead: then they wait, too,
    # and no longer compute during the other loader's turn.
    time.sleep(1.5 * _AHEAD * workers * 2 * _BATCH_SIZE / rate)
    return rate, used


def _take(source: Iterator, number: int) -> None:
    for _ in range(number):
        next(source)


def _time_batches(source: Iterator, seconds: float) -> tuple[float, float]:
    """Takes batches for so many seconds; returns pictures a second, and cores that this process
    kept busy on average."""
    number, begin, used = 0, time.perf_counter(), time.process_time()
    while True:
        next(source)
        number += 1
        elapsed = time.perf_counter() - begin
        if elapsed >= seconds:
            pictures = 2 * _BATCH_SIZE * number
            return pictures / elapsed, (time.process_time() - used) / elapsed


def _machine() -> dict:
    packages = ("grain", "numpy", "pillow", "simplejpeg")
    return machine() | {name: metadata.version(name) for name in packages}


def _stage_table(stages: list[dict]) -> list[dict]:
    """A row a stage and a column a size."""
    rows: dict[str, dict] = {}
    for found in stages:
        row = rows.setdefault(found["stage"], {"CPU microseconds a picture": found["stage"]})
        row[f"{found['size']} px"] = found["microseconds"]
    return list(rows.values())


def _whole_table(whole: list[dict]) -> list[dict]:
    rows = []
    for found in whole:
        ours, theirs = found["pictures_per_second"], found["opponent_pictures_per_second"]
        rows.append(
            {
                "size": found["size"],
                "workers": found["workers"],
                "pictures a second": found["variant"],
                "ours": ours,
                "opponent": theirs,
                "times": ours / theirs if theirs else None,
                "cores kept busy": found["cores"],
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
