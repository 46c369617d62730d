"""The way from an aligned picture to its embedding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from faceshifter_jax.networks.identity import (
    IdentityNetwork,
    crop_for_identity,
    to_input_format,
    unit_length,
)
from faceshifter_jax.networks.network import InputFormat


class Flatten(nn.Module):
    """An 'identity network' that embeds a picture as its pixels."""

    @nn.compact
    def __call__(self, x):
        return x.reshape(x.shape[0], -1)


def gradient_picture(size):
    """Rows in the first channel, columns in the second, in parts of the picture's side."""
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    rows, columns = np.meshgrid(centres, centres, indexing="ij")
    return np.stack([rows, columns, 0 * rows], -1)[None]


def test_crop_of_a_256_picture_at_its_own_size_is_rows_and_columns_19_to_237():
    picture = np.random.default_rng(0).uniform(-1, 1, (2, 256, 256, 3)).astype(np.float32)
    crop = crop_for_identity(picture, 218)
    np.testing.assert_allclose(crop, picture[:, 19:237, 19:237], atol=1e-5)


@pytest.mark.parametrize(("size", "input_size"), [(256, 112), (128, 56), (64, 56), (64, 24)])
def test_crop_shows_the_same_part_of_a_picture_of_any_size(size, input_size):
    crop = crop_for_identity(gradient_picture(size), input_size)
    assert crop.shape == (1, input_size, input_size, 3)
    inner = crop[0, 2:-2, 2:-2]
    centres = (np.arange(input_size) + 0.5) / input_size
    expected = (19 + centres * 218) / 256
    # At 64 pixels the edges are rounded to whole pixels: at most half a pixel.
    np.testing.assert_allclose(inner[:, 5, 0], expected[2:-2], atol=0.5 / size + 1e-4)
    np.testing.assert_allclose(inner[5, :, 1], expected[2:-2], atol=0.5 / size + 1e-4)


def test_crop_is_antialiased():
    checkers = np.indices((256, 256)).sum(0) % 2 * 2.0 - 1
    picture = np.broadcast_to(checkers[None, :, :, None], (1, 256, 256, 3)).astype(np.float32)
    assert np.abs(crop_for_identity(picture, 56)[:, 2:-2, 2:-2]).max() < 0.05


def test_crop_hands_gradients_to_what_it_shows_and_to_nothing_else():
    picture = np.zeros((1, 64, 64, 3), np.float32)
    gradient = jax.grad(lambda x: crop_for_identity(x, 28).sum())(picture)[0]
    shown = np.zeros((64, 64, 3), bool)
    shown[5:59, 5:59] = True
    assert (gradient[shown] > 0).all()
    assert (gradient[~shown] == 0).all()


def test_unit_length():
    vectors = np.array([[3, 4], [0, -2], [1e-4, 0], [1e4, 1e4]], np.float32)
    expected = [[0.6, 0.8], [0, -1], [1, 0], [0.70711, 0.70711]]
    np.testing.assert_allclose(unit_length(vectors), expected, atol=1e-4)


def test_unit_length_of_zeros_is_finite_and_has_a_finite_gradient():
    zeros = np.zeros((1, 3), np.float32)
    np.testing.assert_array_equal(unit_length(zeros), zeros)
    assert np.isfinite(jax.grad(lambda x: unit_length(x)[0, 0])(zeros)).all()


def test_unit_length_of_bfloat16_is_float32():
    result = unit_length(jnp.full((1, 64), 3, jnp.bfloat16))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(jnp.linalg.norm(result), 1, atol=1e-6)


def test_embed_is_the_direction_of_the_networks_answer_to_the_crop():
    network = IdentityNetwork({}, Flatten(), InputFormat(12))
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    embedding = network.embed(pictures)
    flat = np.asarray(crop_for_identity(pictures, 12)).reshape(2, -1)
    expected = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_allclose(embedding, expected, atol=1e-5)


@pytest.mark.parametrize(("mean", "scale"), [(127.5, 127.5), (127.5, 128.0), (0.0, 255.0), (0, 1)])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_pictures_enter_a_network_as_its_file_says(mean, scale, order):
    levels = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3)).astype(np.float32)
    wanted = (levels if order == "rgb" else levels[..., [2, 1, 0]]) - mean
    given = to_input_format(levels / 127.5 - 1, InputFormat(4, order, mean, scale))
    np.testing.assert_allclose(given, wanted / scale, rtol=1e-4, atol=1e-4)


def test_embedding_depends_on_the_input_format():
    pictures = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    swapped = IdentityNetwork({}, Flatten(), InputFormat(12, "bgr")).embed(pictures)
    plain = IdentityNetwork({}, Flatten(), InputFormat(12)).embed(pictures[..., ::-1])
    np.testing.assert_allclose(swapped, plain, atol=1e-6)


def test_only_the_variables_are_leaves():
    network = IdentityNetwork({"params": {"a": np.ones(3)}}, Flatten(), InputFormat(12))
    assert len(jax.tree.leaves(network)) == 1
    doubled = jax.tree.map(lambda x: 2 * x, network)
    assert doubled.input == InputFormat(12)
    assert doubled.module == network.module
