"""Instance normalisation of maps whose mean is large compared with their deviation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceshifter_jax.models.layers import instance_norm


@pytest.mark.parametrize(
    ("dtype", "mean", "tolerance"),
    [(jnp.float32, 100, 1e-4), (jnp.float32, 3000, 3e-3), (jnp.bfloat16, 100, 2e-2)],
)
def test_mean_that_is_large_beside_the_deviation(dtype, mean, tolerance):
    random = np.random.default_rng(0)
    x = jnp.asarray(mean + random.standard_normal((2, 32, 32, 5)), dtype)
    result = jax.jit(instance_norm)(x)
    assert result.dtype == dtype
    exact = np.asarray(x, np.float64)
    exact = (exact - exact.mean((1, 2), keepdims=True)) / np.sqrt(
        exact.var((1, 2), keepdims=True) + 1e-5
    )
    np.testing.assert_allclose(np.asarray(result, np.float64), exact, atol=tolerance)
