"""Random numbers that are the same in every process and on every platform."""

import numpy as np

from faceshifter_jax.errors import UserError

IDENTITY, ATTRIBUTES, HAIR, BACKGROUND, OCCLUDER = 1, 2, 3, 4, 5


def seeded(seed: int, purpose: int) -> np.random.Generator:
    """A generator for one purpose of a seed. Raises UserError unless `seed` is an int >= 0."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"a seed must be a whole number of at least 0, not {seed!r}")
    return np.random.Generator(np.random.PCG64([int(seed), purpose]))
