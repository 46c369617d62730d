"""The AAD layer and its residual block against their formulas, written out in numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filling import fill

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import AADLayer, AADResBlock, AADSettings, AEINet

ROWS, COLUMNS, CHANNELS, ATTRIBUTES, IDENTITY = 4, 5, 6, 3, 7


def random(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X = random(2, ROWS, COLUMNS, CHANNELS, seed=1)
ATTRIBUTE = random(2, ROWS, COLUMNS, ATTRIBUTES, seed=2)
VECTOR = random(2, IDENTITY, seed=3)


def build(module):
    return fill(module, X, ATTRIBUTE, VECTOR, False, scale=1.0)


def convolve(x, kernel, bias=0.0):
    size = kernel.shape[0]
    border = size // 2
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    result = np.zeros((*x.shape[:3], kernel.shape[3]), np.float64)
    for row in range(size):
        for column in range(size):
            window = padded[:, row : row + x.shape[1], column : column + x.shape[2]]
            result += window @ kernel[row, column].astype(np.float64)
    return result + bias


def layer_by_hand(params, h, attribute, vector):
    def conv(name, x):
        return convolve(x, params[name]["kernel"], params[name].get("bias", 0.0))

    def dense(name):
        return (vector @ params[name]["kernel"] + params[name]["bias"])[:, None, None]

    mask = 1 / (1 + np.exp(-conv("mask", h)))
    from_attribute = conv("gamma_att", attribute) * h + conv("beta_att", attribute)
    from_identity = dense("gamma_id") * h + dense("beta_id")
    return (1 - mask) * from_attribute + mask * from_identity, mask


def instance_norm(x):
    deviation = np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    return (x - x.mean((1, 2), keepdims=True)) / deviation


@pytest.mark.parametrize("attribute_kernel", [1, 3])
@pytest.mark.parametrize("mask_kernel", [1, 3])
@pytest.mark.parametrize("mask_per_channel", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_layer(attribute_kernel, mask_kernel, mask_per_channel, use_bias):
    settings = AADSettings(attribute_kernel, mask_kernel, mask_per_channel, "instance", use_bias)
    layer = AADLayer(CHANNELS, settings)
    variables = build(layer)
    out, mask = layer.apply(variables, X, ATTRIBUTE, VECTOR, False)
    expected, expected_mask = layer_by_hand(
        variables["params"], instance_norm(X), ATTRIBUTE, VECTOR
    )
    assert mask.shape == (2, ROWS, COLUMNS, CHANNELS if mask_per_channel else 1)
    np.testing.assert_allclose(mask, expected_mask, atol=1e-5)
    np.testing.assert_allclose(out, expected, atol=1e-4)
    assert ("bias" in variables["params"]["gamma_att"]) == use_bias
    assert variables["params"]["gamma_att"]["kernel"].shape[:2] == (attribute_kernel,) * 2
    assert variables["params"]["mask"]["kernel"].shape[:2] == (mask_kernel,) * 2


@pytest.mark.parametrize("train", [False, True])
def test_layer_with_batch_norm(train):
    layer = AADLayer(CHANNELS, AADSettings(norm="batch"))
    variables = build(layer)
    (out, _), updated = layer.apply(variables, X, ATTRIBUTE, VECTOR, train, mutable=["batch_stats"])
    norm, stats = (variables[part]["batch_norm"]["norm"] for part in ("params", "batch_stats"))
    mean = X.mean((0, 1, 2)) if train else stats["mean"]
    variance = X.var((0, 1, 2)) if train else stats["var"]
    h = (X - mean) / np.sqrt(variance + 1e-5) * norm["scale"] + norm["bias"]
    expected, _ = layer_by_hand(variables["params"], h, ATTRIBUTE, VECTOR)
    np.testing.assert_allclose(out, expected, atol=1e-4)
    moved = updated["batch_stats"]["batch_norm"]["norm"]["mean"]
    assert np.array_equal(moved, stats["mean"]) == (not train)


def test_mask_of_one_is_the_identity_alone_and_of_zero_the_attributes_alone():
    layer = AADLayer(CHANNELS)
    params = build(layer)["params"]

    def run(bias, attribute, vector):
        shut = {"kernel": 0 * params["mask"]["kernel"], "bias": np.full(1, bias, np.float32)}
        return layer.apply({"params": {**params, "mask": shut}}, X, attribute, vector, False)[0]

    np.testing.assert_array_equal(run(200.0, ATTRIBUTE, VECTOR), run(200.0, ATTRIBUTE + 1, VECTOR))
    assert np.abs(run(200.0, ATTRIBUTE, VECTOR) - run(200.0, ATTRIBUTE, VECTOR + 1)).max() > 0.1
    np.testing.assert_array_equal(
        run(-200.0, ATTRIBUTE, VECTOR), run(-200.0, ATTRIBUTE, VECTOR + 1)
    )


def block_by_hand(params, settings, features):
    def unit(x, name):
        h, _ = layer_by_hand(params[f"aad_{name}"], instance_norm(x), ATTRIBUTE, VECTOR)
        conv = params[f"conv_{name}"]
        return convolve(np.maximum(h, 0), conv["kernel"], conv.get("bias", 0.0))

    out = X
    for i in range(settings.num_units):
        out = unit(out, str(i))
    if features != CHANNELS:
        return out + unit(X, "skip")
    return out + X if settings.identity_skip else out


@pytest.mark.parametrize("features", [CHANNELS, 4])
@pytest.mark.parametrize("num_units", [1, 2, 3])
@pytest.mark.parametrize(("identity_skip", "conv_bias"), [(True, False), (False, True)])
def test_block(features, num_units, identity_skip, conv_bias):
    settings = AADSettings(num_units=num_units, identity_skip=identity_skip, conv_bias=conv_bias)
    block = AADResBlock(CHANNELS, features, settings)
    variables = build(block)
    out, masks = block.apply(variables, X, ATTRIBUTE, VECTOR, False)
    assert out.shape == (2, ROWS, COLUMNS, features)
    assert len(masks) == num_units + (features != CHANNELS)
    expected = block_by_hand(variables["params"], settings, features)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=2e-3 * np.abs(expected).max())
    assert ("bias" in variables["params"]["conv_0"]) == conv_bias


def test_unknown_norm_is_refused():
    with pytest.raises(UserError, match="one of instance, batch, robust, demodulation"):
        build(AADLayer(CHANNELS, AADSettings(norm="layer")))


def test_recomputed_blocks_have_the_same_parameters_results_and_gradients():
    plain = AEINet((4,), (6, 4), AADSettings(norm="batch", num_units=1))
    inputs = random(2, 8, 8, 3, seed=4), random(2, 5, seed=5)
    variables = fill(plain, *inputs)

    @partial(jax.jit, static_argnums=0)
    def run(network, variables):
        def total(params):
            output, updated = network.apply(
                {**variables, "params": params}, *inputs, train=True, mutable=["batch_stats"]
            )
            return jnp.sum(output.image**3), (output, updated)

        return jax.value_and_grad(total, has_aux=True)(variables["params"])

    again = plain.clone(remat=True)
    assert "remat" in str(jax.make_jaxpr(run, static_argnums=0)(again, variables))

    expected = run(plain, variables)
    # A bias in front of a normalisation has no gradient but rounding, of the size of the others'.
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected[1]))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * largest),
        run(again, variables),
        expected,
    )
    shapes = [
        jax.tree.map(jnp.shape, jax.eval_shape(network.init, jax.random.key(0), *inputs))
        for network in (plain, again)
    ]
    assert shapes[0] == shapes[1]
