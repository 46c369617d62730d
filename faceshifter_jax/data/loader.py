"""Batches for a training: random access by step, prepared in the background by grain."""

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grain
import numpy as np

from faceshifter_jax.data.answers import AnswerGrid
from faceshifter_jax.data.augment import Change, apply_change, draw_change
from faceshifter_jax.data.occlusion.cutouts import Cutouts
from faceshifter_jax.data.occlusion.cutouts_embedded import EmbeddedCutouts
from faceshifter_jax.data.occlusion.cutouts_folder import FolderCutouts
from faceshifter_jax.data.occlusion.occlude import draw_layer, lay_over, layer_alpha
from faceshifter_jax.data.pairs import Pair, build_pair_chooser
from faceshifter_jax.data.prepared import PreparedDataset
from faceshifter_jax.data.settings import DataSettings, read_settings
from faceshifter_jax.data.subset import read_subset
from faceshifter_jax.errors import UserError

_ENDLESS_STEPS = 2**40


def visit(seed: int, position: int, num_pictures: int) -> int:
    """Gives the picture (0 … num_pictures - 1) that is visited at a position (0, 1, 2, …).

    Every run of `num_pictures` positions that starts at a multiple of it visits every picture
    once, in an order of its own. Any position can be asked for at once.
    """
    epoch, position_in_epoch = divmod(position, num_pictures)
    return int(_permutation(seed, epoch, num_pictures)[position_in_epoch])


# Whole permutations, kept: a million pictures take 8 MB and some 20 ms an epoch, where grain's
# index shuffle, which stores nothing, walks cycles for 4 ms at every call on ten pictures.
@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, num_pictures: int) -> np.ndarray:
    sequence = np.random.SeedSequence(seed, spawn_key=(epoch,))
    return np.random.default_rng(sequence).permutation(num_pictures)


Row = dict[str, np.ndarray]
"""Arrays or numpy's scalars; of a whole batch with one more axis in front."""
MakeRow = Callable[[int, np.random.Generator], Row]
"""(position in the order of visits, the row's own random generator) -> one row of a batch."""


@dataclasses.dataclass(frozen=True)
class LoaderInfo:
    """Facts of the dataset behind a loader; `image_size` in pixels, `fingerprint` a hash."""

    num_pictures: int
    num_identities: int
    image_size: int
    fingerprint: str


class Loader(Iterator[dict[str, np.ndarray]]):
    """Yields batches for ever, from the first step on; threads prepare the coming ones.

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
        """Ends the threads; no batch can be asked for afterwards."""
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
    """Builds the loader of a training.

    A batch is a function of (seed, step), each row of it of (seed, step, index in the global
    batch): the same in any process, with any number of threads, and from any first step on.
    Over the steps, each picture is the target (or, for "identities", the picture) equally often:
    row `index` of step `step` takes place `step * batch_size + index` in `visiting.visit`.

    Args:
        kind: "pairs" for batches {"source": uint8 (B, S, S, 3), "target": uint8 (B, S, S, 3),
            "same": float32 (B,)}, where `same` is 1 for the same picture twice; "identities" for
            {"image": uint8 (B, S, S, 3), "label": int32 (B,)}, labels from 0 to
            num_identities - 1. Pictures are RGB. With occlusions (`occlusion_share` above 0) pairs
            also have "occluder": uint8 (B, S, S), the alpha of what was laid over the target, 255
            where it hides it; the source stays without, and `same` is what it would be.
            With `answer_share` above 0 pairs also have "answer": uint8 (B, S, S, 3), what a swap
            of the row should show, and "answered": float32 (B,), 1 where it is known. Elsewhere
            the target stands in. An answer is mirrored, recoloured and covered as the target is.
        settings: mapping or ConfigDict with the keys of `DataSettings`.
        seed: of the training, not negative.
        batch_size: rows of the global batch. B is `batch_size / process_count`: process p gets
            the contiguous rows p * B to (p + 1) * B - 1 of it.
        image_size: S in pixels; must be the size the dataset was prepared with.
        first_step: the step of the first batch.
        process_index: this process among `process_count`.
        process_count: number of processes that share the global batch.

    Raises:
        UserError: unknown or senseless settings, no prepared dataset, another size, too few
            pictures, a batch that does not divide, or no folder of cut-outs with alpha.
    """
    checked = read_settings(kind, settings)
    _check_numbers(seed, batch_size, process_index, process_count)
    dataset = _open_dataset(checked, image_size)
    make_row = _ROW_MAKERS[kind](dataset, checked, seed)
    local_size = batch_size // process_count

    def make_row_at(step: int, index: int) -> Row:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(step, index)))
        return make_row(step * batch_size + index, rng)

    def make_batch(step: int) -> Row:
        first = process_index * local_size
        rows = (make_row_at(step, first + index) for index in range(local_size))
        return _stack(rows, local_size)

    options = grain.ReadOptions(checked.num_threads, checked.prefetch_batches)
    steps = grain.MapDataset.range(_ENDLESS_STEPS).map(make_batch)
    batches = iter(steps.to_iter_dataset(options))
    batches.set_state({"next_index": first_step})
    return Loader(_describe(dataset, checked), batches)


def _stack(rows: Iterable[Row], number: int) -> Row:
    """Lays `number` rows into one array each, each row while it is in the processor's cache."""
    batch: Row = {}
    for index, row in enumerate(rows):
        for name, value in row.items():
            if not index:
                batch[name] = np.empty((number, *value.shape), value.dtype)
            batch[name][index] = value
    return batch


def _describe(dataset: PreparedDataset, settings: DataSettings) -> LoaderInfo:
    fingerprint = dataset.fingerprint
    if settings.subset:
        # Other targets are other data: a training must not go on with them unnoticed.
        listed = _list_targets(dataset, settings).tobytes()
        fingerprint = hashlib.sha256(fingerprint.encode() + listed).hexdigest()
    return LoaderInfo(
        num_pictures=dataset.num_pictures,
        num_identities=dataset.num_identities,
        image_size=dataset.image_size,
        fingerprint=fingerprint,
    )


def _check_numbers(seed: int, batch_size: int, process_index: int, process_count: int) -> None:
    if seed < 0:
        raise UserError(f"the seed must not be negative, got {seed}")
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch_size must be a positive multiple of the number of processes: {batch_size} "
            f"does not divide among {process_count}"
        )
    if not 0 <= process_index < process_count:
        raise ValueError(f"there is no process {process_index} among {process_count}")


def _open_dataset(settings: DataSettings, image_size: int) -> PreparedDataset:
    dataset = PreparedDataset(settings.path, cache_megabytes=settings.cache_megabytes)
    if dataset.image_size != image_size:
        raise UserError(
            f"the dataset in {settings.path} has pictures of {dataset.image_size} pixels, the "
            f"training wants {image_size}: prepare it again with --size {image_size}, or set "
            f"image_size to {dataset.image_size}"
        )
    if dataset.num_pictures < 2:
        raise UserError(f"the dataset in {settings.path} has a single picture: 2 are the least")
    return dataset


def _build_pair_rows(dataset: PreparedDataset, settings: DataSettings, seed: int) -> MakeRow:
    targets = _list_targets(dataset, settings)
    chooser = build_pair_chooser(
        dataset.identities,
        settings.same_picture_share,
        settings.same_identity_share,
        targets,
        answers=_find_answers(dataset, settings),
        answer_share=settings.answer_share,
    )
    cutouts = _open_cutouts(settings, dataset.image_size)

    def make_row(position: int, rng: np.random.Generator) -> Row:
        pair = chooser.choose(int(targets[visit(seed, position, len(targets))]), rng)
        row = _make_pair(dataset, pair, settings, rng)
        # Drawn last: all else in the row is the same with and without occlusions.
        return row if cutouts is None else _cover(row, cutouts, settings.occlusion_share, rng)

    return make_row


def _make_pair(
    dataset: PreparedDataset, pair: Pair, settings: DataSettings, rng: np.random.Generator
) -> Row:
    """A row of pairs before anything is laid over it."""
    target = dataset.picture(pair.target)
    change = _draw_change(target, settings, rng)
    target = apply_change(target, change)
    source = target
    if not pair.same_picture:
        source = dataset.picture(pair.source)
        of_source = _draw_change(source, settings, rng)
        if pair.answer is not None:
            # Mirrored, nobody looks quite the same: source and answer show the same person.
            of_source = of_source._replace(mirrored=change.mirrored)
        source = apply_change(source, of_source)
    same = pair.same_picture or (pair.same_identity and settings.reconstruct_same_identity)
    row = {"source": source, "target": target, "same": np.float32(same)}
    if settings.answer_share > 0:
        answered = pair.answer is not None
        answer = apply_change(dataset.picture(pair.answer), change) if answered else target
        row |= {"answer": answer, "answered": np.float32(answered)}
    return row


def _cover(row: Row, cutouts: Cutouts, share: float, rng: np.random.Generator) -> Row:
    """Lays something over the target, and over the answer in the same place, now and then."""
    if rng.random() >= share:
        return row | {"occluder": np.zeros(row["target"].shape[:2], np.uint8)}
    layer = draw_layer(row["target"], cutouts[int(rng.integers(len(cutouts)))], rng)
    covered = {name: lay_over(row[name], layer) for name in ("target", "answer") if name in row}
    return row | covered | {"occluder": layer_alpha(layer, len(row["target"]))}


def _find_answers(dataset: PreparedDataset, settings: DataSettings) -> AnswerGrid | None:
    if settings.answer_share > 0 and dataset.answers is None:
        raise UserError(
            f"data.answer_share is {settings.answer_share:g}, but the dataset in {dataset.path} "
            "holds no right answers: render one with `faceshifter render OUT --group-size 4`, or "
            "set the share to 0"
        )
    return dataset.answers


def _list_targets(dataset: PreparedDataset, settings: DataSettings) -> np.ndarray:
    if settings.subset:
        return read_subset(settings.subset, dataset)
    return np.arange(dataset.num_pictures)


def _open_cutouts(settings: DataSettings, image_size: int) -> Cutouts | None:
    if settings.occlusion_share == 0:
        return None
    if settings.occluders:
        return FolderCutouts(settings.occluders, image_size)
    return EmbeddedCutouts(image_size)


def _build_identity_rows(dataset: PreparedDataset, settings: DataSettings, seed: int) -> MakeRow:
    if dataset.num_identities < 2:
        raise UserError(
            f"the dataset in {settings.path} has {dataset.num_identities} known identities, 2 are "
            "the least: prepare a folder with one sub-folder per identity"
        )
    labelled = np.flatnonzero(dataset.identities >= 0)

    def make_row(position: int, rng: np.random.Generator) -> Row:
        picture = int(labelled[visit(seed, position, len(labelled))])
        image = dataset.picture(picture)
        return {
            "image": apply_change(image, _draw_change(image, settings, rng)),
            "label": np.int32(dataset.identities[picture]),
        }

    return make_row


def _draw_change(picture: np.ndarray, settings: DataSettings, rng: np.random.Generator) -> Change:
    return draw_change(
        picture,
        rng,
        horizontal_flip=settings.horizontal_flip,
        colour_jitter=settings.colour_jitter,
    )


_ROW_MAKERS = {"pairs": _build_pair_rows, "identities": _build_identity_rows}
