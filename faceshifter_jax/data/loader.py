"""Batches for a training run: random access by step, prepared in the background by grain."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np

from faceshifter_jax.data.order import build_mixture
from faceshifter_jax.data.prepared import PreparedDataset
from faceshifter_jax.data.rows import Part, Row, build_row_makers
from faceshifter_jax.data.settings import DataSettings, read_settings
from faceshifter_jax.data.sources import Source, read_sources
from faceshifter_jax.data.subset import list_targets
from faceshifter_jax.errors import UserError

_ENDLESS_STEPS = 2**40


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Facts about one dataset of a loader, and the share of the rows that come from it.

    `alignment` of its faces, None where nobody said it.
    """

    path: str
    share: float
    num_pictures: int
    num_identities: int
    alignment: str | None


@dataclasses.dataclass(frozen=True)
class LoaderInfo:
    """Facts about all datasets of a loader together.

    `image_size` in pixels, `fingerprint` a hash of the pictures, targets and shares.
    """

    num_pictures: int
    num_identities: int
    image_size: int
    fingerprint: str
    datasets: tuple[DatasetInfo, ...] = ()


class Loader(Iterator[dict[str, np.ndarray]]):
    """Yields batches forever, from the first step on; threads prepare the next ones.

    Attributes:
        info: facts of the dataset.
        wait_seconds: how long `next` has blocked so far, in seconds.
    """

    def __init__(self, info: LoaderInfo, batches: grain.DatasetIterator):
        self.info = info
        self.wait_seconds = 0.0
        self._batches = batches

    def __next__(self) -> dict[str, np.ndarray]:
        begin = time.perf_counter()
        batch = next(self._batches)
        self.wait_seconds += time.perf_counter() - begin
        return batch

    def close(self) -> None:
        """Stops the threads; no batch can be read afterwards."""
        self._batches.close()


def build_loader(
    kind: str,
    settings: Mapping[str, Any],
    *,
    seed: int,
    batch_size: int,
    image_size: int,
    first_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Loader:
    """Builds the loader of a training run.

    A batch is a function of (seed, step), each row of it of (seed, step, index in the global
    batch): the same in any process, with any number of threads, and from any first step on.
    Over the steps, each picture is the target (or, for "identities", the picture) equally often:
    row `index` of step `step` takes place `step * batch_size + index` in `order.visit`. With
    several datasets each has its share of the rows (see `order.Mixture`), both pictures of a pair
    come from the same one, and each picture comes equally often among the rows of its dataset.

    Args:
        kind: "pairs" or "identities"; `rows.build_row_makers` says what batches hold.
        settings: mapping or ConfigDict with the keys of `DataSettings`.
        seed: of the training run, not negative.
        batch_size: rows of the global batch. B is `batch_size / process_count`: process p gets
            the contiguous rows p * B to (p + 1) * B - 1 of it.
        image_size: S in pixels; must be the size the dataset was prepared with.
        first_step: the step of the first batch.
        process_index: this process among `process_count`.
        process_count: number of processes that share the global batch.

    Raises:
        UserError: unknown or invalid settings, no prepared dataset, another size, too few pictures,
            a batch size that cannot be divided, or no folder of cut-outs with alpha.
    """
    checked = read_settings(kind, settings)
    _check_numbers(seed, batch_size, process_index, process_count)
    sources = read_sources(checked.path)
    parts = _open_parts(sources, checked, image_size)
    makers = build_row_makers(kind, parts, checked, seed)
    mixture = build_mixture(sources, seed)
    local_size = batch_size // process_count

    def make_row(step: int, index: int) -> Row:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(step, index)))
        dataset, position = mixture.locate(step * batch_size + index)
        row = makers[dataset](position, rng)
        # Drawn last, so that everything else in the row is the same with and without views.
        return row | _view_seed(rng) if checked.identity_views else row

    def make_batch(step: int) -> Row:
        first = process_index * local_size
        return _stack((make_row(step, first + i) for i in range(local_size)), local_size)

    options = grain.ReadOptions(checked.num_threads, checked.prefetch_batches)
    steps = grain.MapDataset.range(_ENDLESS_STEPS).map(make_batch)
    batches = iter(steps.to_iter_dataset(options))
    batches.set_state({"next_index": first_step})
    return Loader(_describe(parts, checked), batches)


def count_identities(path: str) -> int:
    """Counts the known identities of `data.path`: the labels that batches of "identities" have.

    Raises:
        UserError: there is no prepared dataset, or several are not named correctly.
    """
    return sum(PreparedDataset(source.path).num_identities for source in read_sources(path))


def _view_seed(rng: np.random.Generator) -> Row:
    return {"view_seed": rng.integers(2**32, dtype=np.uint32)}


def _stack(rows: Iterable[Row], number: int) -> Row:
    """Copies `number` rows into one array each, each row while it is in the processor's cache."""
    batch: Row = {}
    for index, row in enumerate(rows):
        for name, value in row.items():
            if not index:
                batch[name] = np.empty((number, *value.shape), value.dtype)
            batch[name][index] = value
    return batch


def _open_parts(sources: Sequence[Source], settings: DataSettings, image_size: int) -> list[Part]:
    datasets = _open_datasets(sources, settings, image_size)
    targets = list_targets(datasets, settings.subset)
    shares = [source.share for source in sources]
    return [Part(*part) for part in zip(datasets, targets, shares, strict=True)]


def _describe(parts: Sequence[Part], settings: DataSettings) -> LoaderInfo:
    datasets = [
        DatasetInfo(
            path=str(part.dataset.path),
            share=float(part.share),
            num_pictures=part.dataset.num_pictures,
            num_identities=part.dataset.num_identities,
            alignment=part.dataset.alignment,
        )
        for part in parts
    ]
    return LoaderInfo(
        num_pictures=sum(dataset.num_pictures for dataset in datasets),
        num_identities=sum(dataset.num_identities for dataset in datasets),
        image_size=parts[0].dataset.image_size,
        fingerprint=_fingerprint(parts, settings),
        datasets=tuple(datasets),
    )


def _fingerprint(parts: Sequence[Part], settings: DataSettings) -> str:
    """Hashes pictures, targets and shares, so that other data never go unnoticed in a run."""
    fingerprint = parts[0].dataset.fingerprint
    if len(parts) > 1:
        facts = json.dumps([[part.dataset.fingerprint, str(part.share)] for part in parts])
        fingerprint = hashlib.sha256(facts.encode()).hexdigest()
    if settings.subset:
        listed = b"".join(part.targets.tobytes() for part in parts)
        fingerprint = hashlib.sha256(fingerprint.encode() + listed).hexdigest()
    return fingerprint


def _check_numbers(seed: int, batch_size: int, process_index: int, process_count: int) -> None:
    if seed < 0:
        raise UserError(f"the seed must not be negative, got {seed}")
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch_size must be a positive multiple of the number of processes: {batch_size} "
            f"cannot be divided among {process_count}"
        )
    if not 0 <= process_index < process_count:
        raise ValueError(f"there is no process {process_index} among {process_count}")


def _open_datasets(
    sources: Sequence[Source], settings: DataSettings, image_size: int
) -> list[PreparedDataset]:
    datasets: list[PreparedDataset] = []
    megabytes = settings.cache_megabytes
    for source in sources:
        dataset = PreparedDataset(source.path, cache_megabytes=megabytes)
        if dataset.image_size != image_size:
            raise UserError(
                f"the dataset in {source.path} has pictures of {dataset.image_size} pixels, the "
                f"training run needs {image_size}: prepare it again with --size {image_size}, or "
                f"set image_size to {dataset.image_size}"
            )
        if not dataset.is_aligned_by(settings.alignment):
            raise UserError(
                f"the faces in {source.path} are aligned by {dataset.alignment}, the training "
                f"run wants {settings.alignment}: prepare the photos again with --alignment "
                f"{settings.alignment}, or set data.alignment to {dataset.alignment}"
            )
        if dataset.num_pictures < 2:
            raise UserError(f"the dataset in {source.path} has a single picture: 2 are needed")
        megabytes -= dataset.cache_bytes / 2**20
        datasets.append(dataset)
    return datasets
