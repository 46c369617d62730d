"""The order of the rows of a training run: of which dataset each is, and of which picture."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from faceshifter_jax.data.sources import Source, block_length


def visit(seed: int, position: int, num_pictures: int) -> int:
    """Returns the picture (0 … num_pictures - 1) that is visited at a position (0, 1, 2, …).

    Every run of `num_pictures` positions that starts at a multiple of it visits every picture once,
    in a new order. Any position can be requested directly.
    """
    epoch, position_in_epoch = divmod(position, num_pictures)
    return int(_permutation(seed, epoch, num_pictures)[position_in_epoch])


# Whole permutations, kept: a million pictures take 8 MB and some 20 ms an epoch, where grain's
# index shuffle, which stores nothing, walks cycles for 4 ms at every call on ten pictures. Each
# dataset is in its own epoch, sometimes in two.
@functools.lru_cache(maxsize=16)
def _permutation(seed: int, epoch: int, num_pictures: int) -> np.ndarray:
    sequence = np.random.SeedSequence(seed, spawn_key=(epoch,))
    return np.random.default_rng(sequence).permutation(num_pictures)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """The dataset of each row: shares hold in every block of rows, not just on average.

    A block has as many rows as the shares need to come out whole, 10 for 0.7 and 0.3, in its own
    random order.
    """

    seed: int
    counts: tuple[int, ...]
    """Rows of each dataset in a block."""

    def locate(self, position: int) -> tuple[int, int]:
        """Returns the dataset of a row, and the row's place among all rows of that dataset.

        Args:
            position: of the row in the training run, 0, 1, 2, …; any can be requested directly.
        """
        if len(self.counts) == 1:
            return 0, position
        block, place = divmod(position, sum(self.counts))
        datasets, places = _order(self.seed, block, self.counts)
        dataset = int(datasets[place])
        return dataset, block * self.counts[dataset] + int(places[place])


def build_mixture(sources: Sequence[Source], seed: int) -> Mixture:
    """Builds the mixture of datasets with these shares; `seed` is the training run's."""
    length = block_length(sources)
    return Mixture(seed, tuple(int(source.share * length) for source in sources))


# Rows are read in order, by several threads ahead: only a few blocks are in use at a time.
@functools.lru_cache(maxsize=64)
def _order(seed: int, block: int, counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the dataset of each row of a block, and how many rows of that dataset precede it."""
    # Two numbers are a row's key, one is an epoch's (see `loader` and `visit`).
    sequence = np.random.SeedSequence(seed, spawn_key=(block, 0, 0))
    datasets = np.repeat(np.arange(len(counts)), counts)
    datasets = np.random.default_rng(sequence).permutation(datasets)
    places = np.empty_like(datasets)
    for dataset, count in enumerate(counts):
        places[datasets == dataset] = np.arange(count)
    return datasets, places
