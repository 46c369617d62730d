"""Warping: against scipy's bilinear sampling, at the border, and its gradient by the flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from faceshifter_jax.models.warp import enlarge, move_and_add, reduce, smooth_flow, warp

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.uniform(-1, 1, (2, 12, 9, 3)).astype(np.float32)


@pytest.mark.parametrize("reach", [0.0, 0.7, 3.0, 40.0])
def test_it_is_bilinear_sampling_with_the_border_repeated(reach):
    flow = RANDOM.uniform(-reach, reach, (2, 12, 9, 2)).astype(np.float32)
    grid = np.stack(np.meshgrid(np.arange(12), np.arange(9), indexing="ij"), -1)
    expected = np.empty_like(PICTURE)
    for row, (places, picture) in enumerate(zip(grid + flow, PICTURE, strict=True)):
        for channel in range(3):
            expected[row, ..., channel] = map_coordinates(
                picture[..., channel], [places[..., 0], places[..., 1]], order=1, mode="nearest"
            )
    np.testing.assert_allclose(warp(PICTURE, flow), expected, atol=1e-5)


def test_whole_pixels_move_exactly():
    flow = jnp.broadcast_to(jnp.array([2.0, -1.0]), (2, 12, 9, 2))
    moved = warp(PICTURE, flow)
    np.testing.assert_array_equal(moved[:, :10, 1:], PICTURE[:, 2:, :-1])


def test_gradient_by_the_flow_points_along_the_picture():
    ramp = jnp.broadcast_to(0.1 * jnp.arange(12.0)[:, None, None], (1, 12, 9, 1))
    flow = jnp.full((1, 12, 9, 2), 0.25)
    gradient = jax.grad(lambda flow: warp(ramp, flow).sum())(flow)
    np.testing.assert_allclose(gradient[:, :-1, ..., 0], 0.1, atol=1e-6)
    np.testing.assert_allclose(gradient[..., 1], 0, atol=1e-6)


def test_a_reduced_output_moves_the_same_part_of_the_side():
    """The same numbers mean the same flow, whether the network works at full or at half size."""
    target = enlarge(jnp.asarray(RANDOM.uniform(-1, 1, (1, 8, 8, 3)), jnp.float32), 8)
    x = jnp.concatenate([jnp.full((1, 64, 64, 3), 0.1), jnp.full((1, 64, 64, 2), 2.0)], -1)
    whole, half = move_and_add(target, x), move_and_add(target, reduce(x, 2))
    np.testing.assert_allclose(half, whole, atol=1e-6)
    moved = whole[:, :62, :62] - target[:, 2:, 2:]
    np.testing.assert_allclose(moved, moved[0, 0, 0, 0], atol=1e-6)
    assert abs(float(moved[0, 0, 0, 0])) > 0.01


def test_a_smooth_flow_has_steps_of_pixels_and_no_edges():
    constant = smooth_flow(jnp.ones((1, 128, 128, 2)))
    np.testing.assert_allclose(constant, 2, atol=1e-6)
    noise = smooth_flow(jnp.asarray(RANDOM.standard_normal((1, 128, 128, 2)), jnp.float32))
    assert np.abs(np.diff(noise, axis=1)).max() < 1
    assert np.abs(np.diff(noise, axis=2)).max() < 1
    assert float(jnp.std(noise)) > 0.2


def test_a_coarse_change_tints_and_cannot_draw():
    target = jnp.zeros((1, 64, 64, 3))
    still = jnp.zeros((1, 32, 32, 2))
    noise = jnp.asarray(RANDOM.standard_normal((1, 32, 32, 3)), jnp.float32)
    fine = move_and_add(target, jnp.concatenate([noise, still], -1))
    coarse = move_and_add(target, jnp.concatenate([noise, still], -1), 4)
    assert np.abs(np.diff(fine, axis=1)).max() > 0.2
    # Squares of 4 of the output's pixels are 8 of the target's.
    assert np.abs(np.diff(coarse, axis=1)).max() < 0.06
    np.testing.assert_allclose(coarse.mean(), fine.mean(), atol=1e-3)
    tint = jnp.concatenate([jnp.full((1, 32, 32, 3), 0.4), still], -1)
    np.testing.assert_allclose(move_and_add(target, tint, 4), 0.1, atol=1e-6)
