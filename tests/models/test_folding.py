"""Folded networks compute what the plain ones do in evaluation mode."""

import jax
import numpy as np
import pytest
from filling import fill

from faceshifter_jax.models import AADSettings, AEINet, HEARNet, IResNet, MobileFaceNet, fold


def pictures(seed):
    return np.random.default_rng(seed).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)


def assert_folds(network, *inputs, rtol=1e-4, atol=2e-5):
    """Folded and plain network agree, for statistics, scales and biases that matter."""
    variables = fill(network, *inputs, scale=1.0)
    module, folded = fold(network, variables)
    plain = jax.jit(network.apply)(variables, *inputs)
    ours = jax.jit(module.apply)(folded, *inputs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, atol), ours, plain)
    wanted = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    assert jax.tree.map(np.shape, folded) == jax.tree.map(lambda leaf: leaf.shape, wanted)
    return folded


@pytest.mark.parametrize(("skip", "bias"), [("concat", False), ("add", True)])
def test_aei_net(skip, bias):
    network = AEINet((4, 6, 8), (10, 8, 6, 4), encoder_skip=skip, encoder_bias=bias)
    identity = np.random.default_rng(1).standard_normal((2, 5)).astype(np.float32)
    folded = assert_folds(network, pictures(0), identity)
    assert "batch_stats" not in folded
    assert set(folded["params"]["encoder"]) == {*(f"down_{i}" for i in range(3)), "up_0", "up_1"}


def test_normalisations_of_aad_layers_stay():
    network = AEINet((4, 6), (8, 6, 4), AADSettings(norm="batch"))
    identity = np.random.default_rng(1).standard_normal((2, 5)).astype(np.float32)
    folded = assert_folds(network, pictures(0), identity)
    assert set(folded["batch_stats"]) == {"generator"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_bias": False},
        {"input_skip": True, "output": "gated"},
        {"input_skip": True, "output": "blend"},
    ],
)
def test_hear_net(settings):
    network = HEARNet((4, 6, 8), **settings)
    folded = assert_folds(network, pictures(0), pictures(1), pictures(2))
    assert "batch_stats" not in folded


@pytest.mark.parametrize("squeeze_excitation", [False, True])
@pytest.mark.parametrize(("variant", "depth"), [("ir", 10), ("iresnet", 18)])
def test_iresnet(variant, depth, squeeze_excitation):
    network = IResNet(depth, 4, 6, variant, squeeze_excitation)
    folded = assert_folds(network, pictures(0), rtol=1e-5, atol=1e-5)
    assert not {"stem_norm", "out_norm", "embedding_norm"} & set(folded["params"])
    for block in folded["batch_stats"].values():
        assert set(block) == {"norm_1"}


def test_other_networks_stay_as_they_are():
    network = MobileFaceNet(6, 4, ((2, 4, 1, 1),), 4)
    variables = fill(network, pictures(0))
    module, same = fold(network, variables)
    assert module is network
    assert same == variables
