"""What identities contribute is computed apart from the attributes; the parameters know nothing."""

import jax
import numpy as np
import pytest
from filling import fill
from flax import traverse_util

from faceshifter_jax.models import AADResBlock, AADSettings, AEINet


def random(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_names_and_shapes_of_a_blocks_parameters():
    block = AADResBlock(6, 4, AADSettings(attribute_kernel=3, mask_kernel=3))
    inputs = random(1, 4, 4, 6, seed=0), random(1, 4, 4, 5, seed=1), random(1, 7, seed=2)
    shapes = jax.eval_shape(lambda *inputs: block.init(jax.random.key(0), *inputs, False), *inputs)
    paths = traverse_util.flatten_dict(shapes["params"], sep="/")
    layer = {
        "gamma_att/kernel": (3, 3, 5, 6),
        "gamma_att/bias": (6,),
        "beta_att/kernel": (3, 3, 5, 6),
        "beta_att/bias": (6,),
        "gamma_id/kernel": (7, 6),
        "gamma_id/bias": (6,),
        "beta_id/kernel": (7, 6),
        "beta_id/bias": (6,),
        "mask/kernel": (3, 3, 6, 1),
        "mask/bias": (1,),
    }
    expected = {
        f"aad_{unit}/{name}": shape for unit in ("0", "1", "skip") for name, shape in layer.items()
    }
    expected |= {
        "conv_0/kernel": (3, 3, 6, 6),
        "conv_1/kernel": (3, 3, 6, 4),
        "conv_skip/kernel": (3, 3, 6, 4),
    }
    assert {path: leaf.shape for path, leaf in paths.items()} == expected


@pytest.mark.parametrize("settings", [AADSettings(), AADSettings(norm="batch", num_units=1)])
def test_swap_by_terms_is_the_swap(settings):
    network = AEINet((4, 6), (8, 6, 4), settings)
    targets, identities = random(3, 8, 8, 3, seed=4), random(3, 5, seed=5)
    variables = fill(network, targets, identities)

    @jax.jit
    def by_terms(targets, identities):
        terms = network.apply(variables, identities, 8, 8, method=network.identity_terms)
        return network.apply(variables, targets, terms, method=network.swap_by_terms).image

    whole = jax.jit(network.apply)(variables, targets, identities).image
    np.testing.assert_allclose(by_terms(targets, identities), whole, atol=1e-5)
    # One row of terms does for all targets.
    same = jax.jit(network.apply)(variables, targets, np.repeat(identities[:1], 3, 0)).image
    np.testing.assert_allclose(by_terms(targets, identities[:1]), same, atol=1e-5)
    assert np.abs(whole - same).max() > 1e-2
