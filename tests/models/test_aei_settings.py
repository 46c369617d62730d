"""The settings of AEI-Net that no published network has: what each of them is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filling import fill

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import AADSettings, AEINet
from faceshifter_jax.models.aad import AADLayer, AADResBlock
from faceshifter_jax.models.folding import fold
from faceshifter_jax.models.layers import instance_norm, robust_norm, upsample_centred

CHANNELS = {"encoder_channels": (4, 6), "generator_channels": (6, 6, 4)}


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape), jnp.float32)


def unit(*shape, seed=1):
    rows = random(*shape, seed=seed)
    return rows / jnp.linalg.norm(rows, axis=-1, keepdims=True)


TARGET, IDENTITY = random(2, 16, 16, 3), unit(2, 8)


def build(**settings):
    aad = AADSettings(**settings.pop("aad", {}))
    network = AEINet(**CHANNELS, aad=aad, **settings)
    return network, fill(network, TARGET, IDENTITY)


def with_spike(x):
    return x.at[:, 3, 4].set(1000.0)


def places_without_spike(x):
    return np.delete(np.asarray(x).reshape(x.shape[0], -1, x.shape[-1]), 3 * x.shape[2] + 4, 1)


def test_a_spike_rules_instance_norm_and_not_the_robust_one():
    x = random(2, 16, 16, 5)
    moved = {
        norm.__name__: np.abs(
            places_without_spike(norm(with_spike(x))) - places_without_spike(norm(x))
        ).mean()
        for norm in (instance_norm, robust_norm)
    }
    scale = np.abs(np.asarray(instance_norm(x))).mean()
    assert moved["instance_norm"] > 0.9 * scale
    assert np.abs(robust_norm(with_spike(x))).max() <= 4


def test_robust_norm_is_near_instance_norm_without_spikes():
    x = 7 + 3 * jnp.asarray(np.random.default_rng(0).standard_normal((1, 32, 32, 4)), jnp.float32)
    # The mean absolute deviation of a normal distribution is sqrt(2 / pi) of the standard one.
    expected = np.asarray(instance_norm(x)) * np.sqrt(np.pi / 2)
    np.testing.assert_allclose(robust_norm(x), 4 * np.tanh(expected / 4), atol=0.05)


def test_with_demodulation_a_spike_changes_no_other_places_scale():
    x, attribute, identity = random(2, 16, 16, 5), random(2, 16, 16, 3), unit(2, 8)
    changes = {}
    for norm in ("instance", "demodulation"):
        layer = AADLayer(5, AADSettings(norm=norm))
        variables = fill(layer, x, attribute, identity, False)

        def run(x, layer=layer, variables=variables):
            return layer.apply(variables, x, attribute, identity, False)[0]

        changes[norm] = np.abs(places_without_spike(run(with_spike(x)) - run(x))).max()
    assert changes["instance"] > 0.1
    assert changes["demodulation"] == 0


@pytest.mark.parametrize("gain", [0.1, 1.0, 10.0])
def test_demodulation_keeps_magnitudes_whatever_the_kernel(gain):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 16, 16, 16)), jnp.float32)
    attribute, identity = random(4, 16, 16, 8), unit(4, 8)
    block = AADResBlock(16, 16, AADSettings(norm="demodulation"))
    variables = fill(block, x, attribute, identity, False, scale=1.0)
    for conv in variables["params"]:
        if conv.startswith("conv"):
            variables["params"][conv]["kernel"] *= gain
    out, _ = block.apply(variables, x, attribute, identity, False)
    assert 0.4 < float(jnp.std(out)) < 2.5


def test_centred_upsampling_is_half_pixel_interpolation():
    x = random(2, 5, 4, 3)
    expected = jax.image.resize(x, (2, 10, 8, 3), "linear")
    np.testing.assert_allclose(upsample_centred(x), expected, atol=1e-6)


@pytest.mark.parametrize("output", ["change", "blend", "warp"])
def test_pictures_stay_in_range(output):
    network, variables = build(output=output)
    variables = jax.tree.map(lambda leaf: 5 * leaf, variables)
    image = network.apply(variables, TARGET, IDENTITY).image
    assert image.shape == TARGET.shape
    assert np.abs(image).max() <= 1


@pytest.mark.parametrize("output", ["change", "warp"])
def test_a_change_of_nothing_is_the_target(output):
    network, variables = build(output=output)
    block = variables["params"]["generator"]["block_2"]
    for name in block:
        if name.startswith("conv"):
            block[name] = jax.tree.map(np.zeros_like, block[name])
    # Its width differs from that of its input: all of the last block's paths end in a convolution.
    image = network.apply(variables, TARGET, IDENTITY).image
    np.testing.assert_allclose(image, TARGET, atol=1e-6)


@pytest.mark.parametrize("output", ["change", "warp"])
def test_a_reduced_network_works_on_smaller_targets_and_keeps_fine_detail(output):
    target = random(2, 32, 32, 3)
    network, variables = build(output=output)
    reduced = network.clone(reduction=2)
    whole = jax.eval_shape(reduced.init, jax.random.key(0), target, IDENTITY)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, whole)
    result = reduced.apply(variables, target, IDENTITY)
    assert result.image.shape == target.shape
    assert result.masks[-1][0].shape[1] == 16
    smaller = target.reshape(2, 16, 2, 16, 2, 3).mean((2, 4))
    for ours, expected in zip(
        result.attributes, network.apply(variables, smaller, IDENTITY).attributes, strict=True
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    # Without any output the result is the target itself, which the network never saw so fine.
    block = variables["params"]["generator"]["block_2"]
    for name in block:
        if name.startswith("conv"):
            block[name] = jax.tree.map(np.zeros_like, block[name])
    np.testing.assert_allclose(reduced.apply(variables, target, IDENTITY).image, target, atol=1e-6)


@pytest.mark.parametrize("settings", [{"reduction": 3, "output": "warp"}, {"reduction": 2}])
def test_reductions_that_cannot_work_are_refused(settings):
    with pytest.raises(UserError, match="reduction must be 1, or one of 2, 4, 8 with output"):
        AEINet(**CHANNELS, **settings).init(jax.random.key(0), TARGET, IDENTITY)


@pytest.mark.parametrize("settings", [{"change_pixels": 3, "output": "warp"}, {"change_pixels": 4}])
def test_changes_that_cannot_be_coarse_are_refused(settings):
    with pytest.raises(UserError, match="change_pixels must be 1, or one of 2, 4, 8 with output"):
        AEINet(**CHANNELS, **settings).init(jax.random.key(0), TARGET, IDENTITY)


@pytest.mark.parametrize("settings", [{"flow_pixels": 3, "output": "warp"}, {"flow_pixels": 1}])
def test_flows_that_cannot_be_coarse_are_refused(settings):
    with pytest.raises(UserError, match="flow_pixels must be 4, or one of 1, 2, 8 with output"):
        AEINet(**CHANNELS, **settings).init(jax.random.key(0), TARGET, IDENTITY)


def test_squares_larger_than_the_coarsest_output_are_refused():
    network = AEINet((4, 6), (6,), output="warp", flow_pixels=8)
    with pytest.raises(UserError, match="squares of 8 pixels a side do not fit into 4x4"):
        network.init(jax.random.key(0), TARGET, IDENTITY)


@pytest.mark.parametrize(("output", "flow"), [("change", {}), ("warp", {"flow_pixels": 1})])
def test_a_generator_may_leave_out_its_finest_levels(output, flow):
    network = AEINet((4, 6), (6, 4), output=output, encoder_up="resize", **flow)
    variables = fill(network, TARGET, IDENTITY)
    assert set(variables["params"]["encoder"]) == {
        *("down_0", "down_norm_0", "down_1", "down_norm_1", "up_0", "up_norm_0"),
    }
    swap, attributes, masks = network.apply(variables, TARGET, IDENTITY)
    assert swap.shape == TARGET.shape
    assert [level.shape[1] for level in attributes] == [4, 8]
    assert len(masks) == 2
    assert np.abs(swap - network.apply(variables, TARGET, unit(2, 8, seed=3)).image).max() > 1e-3
    folded, folded_variables = fold(network, variables)
    np.testing.assert_allclose(
        folded.apply(folded_variables, TARGET, IDENTITY).image, swap, atol=1e-5
    )


@pytest.mark.parametrize(
    ("channels", "output", "message"),
    [
        ((6, 4), "tanh", "must be one longer"),
        ((6, 6, 4, 4), "warp", "at most one longer"),
        ((), "warp", "at most one longer"),
    ],
)
def test_levels_that_do_not_fit_the_encoder_are_refused(channels, output, message):
    with pytest.raises(UserError, match=message):
        AEINet((4, 6), channels, output=output).init(jax.random.key(0), TARGET, IDENTITY)


def test_pictures_that_cannot_be_reduced_are_refused():
    network = AEINet(**CHANNELS, output="warp", reduction=8)
    with pytest.raises(UserError, match="must be a multiple of it, not 36x36"):
        network.init(jax.random.key(0), random(1, 36, 36, 3), IDENTITY)


def test_clipped_pixels_of_a_change_keep_their_gradient():
    network, variables = build(output="change")
    variables = jax.tree.map(lambda leaf: 20 * leaf, variables)

    def run(target):
        return network.apply(variables, target, IDENTITY).image

    image, pull = jax.vjp(run, TARGET)
    assert (np.abs(image) == 1).mean() > 0.2
    (gradient,) = pull(jnp.ones_like(image))
    assert np.isfinite(gradient).all()
    assert (gradient != 0).mean() > 0.9


def test_length_sqrt_scales_the_embedding():
    network, variables = build(identity_length="sqrt")
    plain = network.clone(identity_length="unit")
    np.testing.assert_allclose(
        network.apply(variables, TARGET, IDENTITY).image,
        plain.apply(variables, TARGET, IDENTITY * 8**0.5).image,
        atol=1e-5,
    )


@pytest.mark.parametrize("norm", ["robust", "demodulation"])
def test_resized_attributes_fold(norm):
    network, variables = build(
        encoder_up="resize", generator_up="centres", output="change", aad={"norm": norm}
    )
    module, folded = fold(network, variables)
    np.testing.assert_allclose(
        module.apply(folded, TARGET, IDENTITY).image,
        network.apply(variables, TARGET, IDENTITY).image,
        atol=2e-4,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"output": "picture"},
        {"encoder_up": "bilinear"},
        {"generator_up": "middle"},
        {"identity_length": "raw"},
        {"aad": {"norm": "layer"}},
    ],
)
def test_unknown_settings_name_the_known_ones(settings):
    with pytest.raises(UserError, match="must be"):
        build(**settings)
