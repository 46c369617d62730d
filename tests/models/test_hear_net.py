"""HEAR-Net: what it returns, what it refuses, and that both of its pictures matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filling import fill

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import HEARNet

SMALL = HEARNet(channels=(4, 6, 8))


def random(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_paper_scale():
    picture = jax.ShapeDtypeStruct((2, 256, 256, 3), jnp.float32)
    variables = jax.eval_shape(HEARNet().init, jax.random.key(0), picture, picture)
    result = jax.eval_shape(HEARNet().apply, variables, picture, picture)
    assert (result.shape, result.dtype) == ((2, 256, 256, 3), jnp.float32)
    widths = {name: kernel["kernel"].shape[-2:] for name, kernel in variables["params"].items()
              if "kernel" in kernel}  # fmt: skip
    assert widths == {
        "down_0": (6, 64),
        "down_1": (64, 128),
        "down_2": (128, 256),
        "down_3": (256, 512),
        "down_4": (512, 512),
        "up_0": (512, 512),
        "up_1": (1024, 256),
        "up_2": (512, 128),
        "up_3": (256, 64),
        "picture": (128, 3),
    }


def test_pictures_are_in_range_and_each_input_has_a_gradient():
    swap, error = random(2, 16, 24, 3), 2 * random(2, 16, 24, 3, seed=1)
    variables = fill(SMALL, swap, error, scale=2)

    def refine(swap, error):
        return SMALL.apply(variables, swap, error)

    picture, pull_back = jax.vjp(refine, swap, error)
    assert picture.shape == (2, 16, 24, 3)
    assert np.abs(picture).max() <= 1
    for gradient in pull_back(random(2, 16, 24, 3, seed=2)):
        assert np.isfinite(gradient).all()
        assert (gradient != 0).mean() > 0.9
    assert np.abs(refine(error, swap) - picture).max() > 0.01


def test_a_gate_gives_the_error_back_and_its_own_correction():
    """With all kernels at zero the share is sigmoid of its bias, the correction tanh of its own."""
    module = SMALL.clone(output="gated", input_skip=True)
    swap, error = 0.3 * random(1, 16, 16, 3), 0.3 * random(1, 16, 16, 3, seed=1)
    variables = jax.tree.map(jnp.zeros_like, module.init(jax.random.key(0), swap, error))
    np.testing.assert_allclose(module.apply(variables, swap, error), swap + 0.5 * error, atol=1e-6)
    variables["params"]["gate"]["bias"] = jnp.array([99.0, -99, 0, 0, 0, 0.1])
    share, correction = np.array([1, 0, 0.5]), np.array([0, 0, np.tanh(0.1)])
    expected = swap + share * error + correction
    np.testing.assert_allclose(module.apply(variables, swap, error), expected, atol=1e-6)
    bright = module.apply(variables, np.ones_like(swap), np.ones_like(swap))
    assert float(jnp.max(bright)) == 1, "what lies beyond white is clipped"


def test_a_blend_shows_the_target_by_its_share():
    """With all kernels at zero the share is the sigmoid of its bias, everywhere."""
    module = SMALL.clone(output="blend", input_skip=True)
    swap, error, target = (random(1, 16, 16, 3, seed=seed) for seed in range(3))
    variables = module.init(jax.random.key(0), swap, error, target)
    assert variables["params"]["down_0"]["kernel"].shape == (4, 4, 9, 4)
    variables = jax.tree.map(jnp.zeros_like, variables)
    for bias, share in ((0, 0.5), (99, 1), (-99, 0)):
        variables["params"]["share"]["bias"] = jnp.array([bias], jnp.float32)
        result = module.apply(variables, swap, error, target)
        np.testing.assert_allclose(result, swap + share * (target - swap), atol=1e-6)
    with pytest.raises(ValueError, match="needs the targets"):
        module.apply(variables, swap, error)


def test_a_blend_reads_where_the_error_is():
    module = SMALL.clone(output="blend", input_skip=True)
    swap, error, target = (random(1, 16, 16, 3, seed=seed) for seed in range(3))
    variables = fill(module, swap, error, target)
    results = [module.apply(variables, swap, factor * error, target) for factor in (0, 1)]
    assert np.abs(results[1] - results[0]).max() > 0.01


def test_no_channels_are_refused():
    picture = np.zeros((1, 8, 8, 3), np.float32)
    with pytest.raises(UserError, match=r"model.channels is empty"):
        HEARNet(channels=()).init(jax.random.key(0), picture, picture)


def test_an_unknown_output_is_refused():
    picture = np.zeros((1, 8, 8, 3), np.float32)
    with pytest.raises(UserError, match=r"must be 'tanh', 'gated' or 'blend', not 'gate'"):
        SMALL.clone(output="gate").init(jax.random.key(0), picture, picture)


def test_training_updates_the_running_statistics():
    swap, error = random(2, 8, 8, 3), random(2, 8, 8, 3, seed=1)
    variables = fill(SMALL, swap, error)
    _, updated = SMALL.apply(variables, swap, error, train=True, mutable=["batch_stats"])
    before, after = variables["batch_stats"], updated["batch_stats"]
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert all((b != a).any() for b, a in zip(*map(jax.tree.leaves, (before, after)), strict=True))


def test_bfloat16_gives_a_float32_picture_close_to_it():
    swap, error = random(1, 16, 16, 3), random(1, 16, 16, 3, seed=1)
    variables = fill(SMALL, swap, error)
    exact = SMALL.apply(variables, swap, error)
    rough = SMALL.clone(dtype=jnp.bfloat16).apply(variables, swap, error)
    assert rough.dtype == jnp.float32
    assert 0 < np.abs(rough - exact).max() < 0.1


def test_without_biases():
    picture = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    module = SMALL.clone(use_bias=False)
    params = jax.eval_shape(module.init, jax.random.key(0), picture, picture)["params"]
    assert not any("kernel" in layer and "bias" in layer for layer in params.values())


@pytest.mark.parametrize(("height", "width"), [(12, 8), (8, 20), (4, 4)])
def test_sizes_that_cannot_be_halved_so_often_are_refused(height, width):
    picture = np.zeros((1, height, width, 3), np.float32)
    with pytest.raises(UserError, match=f"multiple of 8, not {height}x{width}"):
        SMALL.init(jax.random.key(0), picture, picture)
