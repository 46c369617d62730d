"""Random views: a function of seed and picture, differentiable, in range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceshifter_jax.networks.views import random_views, split_seeds

SIZE = 24


@pytest.fixture(scope="module")
def pictures():
    return jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4, 64, 64, 3)), jnp.float32)


@pytest.fixture(scope="module")
def view():
    return jax.jit(lambda pictures, seeds: random_views(pictures, seeds, SIZE))


def test_a_view_depends_on_its_own_seed_and_picture_alone(view, pictures):
    seeds = jnp.array([3, 4, 5, 6], jnp.uint32)
    turned = view(pictures[::-1], seeds[::-1])[::-1]
    np.testing.assert_allclose(view(pictures, seeds), turned, atol=1e-6)


def test_other_seeds_are_other_views(view, pictures):
    first = view(jnp.tile(pictures[:1], (4, 1, 1, 1)), jnp.arange(4, dtype=jnp.uint32))
    for i in range(1, 4):
        assert np.abs(first[0] - first[i]).mean() > 0.02


def test_views_are_pictures_in_range(view, pictures):
    views = view(pictures, jnp.arange(4, dtype=jnp.uint32))
    assert views.shape == (4, SIZE, SIZE, 3)
    assert np.isfinite(views).all()
    assert np.abs(views).max() <= 1


def test_on_average_a_view_is_the_crop_of_the_identity_network(view):
    # A ramp from left to right: its value tells which column a view's pixel comes from.
    ramp = jnp.broadcast_to(jnp.linspace(-0.4, 0.4, 256)[None, None, :, None], (1, 256, 256, 3))
    views = view(jnp.tile(ramp, (400, 1, 1, 1)), jnp.arange(400, dtype=jnp.uint32))
    columns = np.median(np.asarray(views), axis=(0, 1, 3))
    # Columns 19 to 237 of 256: the first pixel's centre is 19 + 218 / 48. The colours' random
    # shift moves all columns alike.
    exact = 0.8 * (19 + 218 / 24 * (np.arange(24) + 0.5) - 128) / 256
    np.testing.assert_allclose(columns - columns.mean(), exact, atol=0.01)


def test_gradients_reach_most_of_the_face(view, pictures):
    gradient = jax.grad(lambda p: view(p, jnp.arange(4, dtype=jnp.uint32)).sum())(pictures)
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient[:, 12:52, 12:52]) > 0).mean() > 0.5


def test_seeds_of_several_views_differ():
    seeds = split_seeds(jnp.arange(5, dtype=jnp.uint32), 3)
    assert seeds.shape == (3, 5)
    assert len(np.unique(seeds)) == 15
