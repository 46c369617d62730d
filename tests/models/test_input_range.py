"""AEI-Nets trained on [0, 1] pictures take the same [-1, 1] pictures as all others."""

import jax
import numpy as np
import pytest
from filling import fill

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import AEINet

SIGNED = AEINet((4, 6), (8, 6, 4))


def test_unit_range_maps_the_input_and_nothing_else():
    target = np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)
    identity = np.ones((1, 5), np.float32)
    variables = fill(SIGNED, target, identity)
    unit = SIGNED.clone(input_range="unit")
    ours = unit.apply(variables, target, identity)
    theirs = SIGNED.apply(variables, target / 2 + 0.5, identity)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)
    encoded = unit.apply(variables, target, method="encode")
    jax.tree.map(np.testing.assert_array_equal, encoded, ours.attributes)


def test_any_other_range_is_refused():
    inputs = np.zeros((1, 8, 8, 3), np.float32), np.zeros((1, 5), np.float32)
    with pytest.raises(UserError, match="'signed' or 'unit', not 'bytes'"):
        SIGNED.clone(input_range="bytes").init(jax.random.key(0), *inputs)
