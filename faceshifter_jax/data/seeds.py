"""Seeds of the embedded faces, derived so that different datasets share no identity."""

from collections.abc import Sequence

import numpy as np

# Datasets are rendered from smaller seeds, which users choose; people under this seed are held out.
HELD_OUT_SEED = 2**40

_IDENTITY, _ATTRIBUTES, _OCCLUDER = 0, 1, 2


def identity_seed(seed: int, identity: int) -> int:
    """Seed of an identity of the dataset with that seed: 63 bits.

    numpy's SeedSequence hashes (seed, identity), so datasets with different seeds have disjoint
    identities (for two datasets of 1,000 identities, the odds of a collision are 1 to 10^13).
    """
    return _derive(seed, _IDENTITY, identity)


def attribute_seed(seed: int, group: int, picture: int) -> int:
    """Seed of a group's attributes in one picture of each of its identities: 63 bits.

    No two are alike. A group is a single identity unless the dataset was rendered in larger groups.
    """
    return _derive(seed, _ATTRIBUTES, group, picture)


def draw_occluder(attribute_seed: int, share: float, kinds: Sequence[str]) -> str:
    """Returns the name of what covers the face in the picture with these attributes, or "none".

    A share `share` of all pictures is covered, by each of `kinds` equally often.
    """
    sequence = np.random.SeedSequence(attribute_seed, spawn_key=(_OCCLUDER,))
    covered, kind = np.random.default_rng(sequence).random(2)
    return kinds[int(kind * len(kinds))] if covered < share else "none"


def _derive(seed: int, *key: int) -> int:
    words = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))
