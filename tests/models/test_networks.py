"""Sizes of the networks: parameters, and the shape of everything that they return."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filling import fill
from golden_networks import read_golden

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import (
    AADSettings,
    AEINet,
    AttributeEncoder,
    IResNet,
    MultiscaleDiscriminator,
)

BIG = (32, 64, 128, 256, 512, 1024, 1024)


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def shapes_of(network, *inputs):
    """Shapes of the variables and of what the network returns; nothing is computed."""
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs]
    variables = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    return variables, jax.eval_shape(network.apply, variables, *inputs)


def parameters(network, *inputs):
    return count(shapes_of(network, *inputs)[0]["params"])


def small_aei_net(**settings):
    return AEINet((4, 6, 8), (12, 10, 8, 6), AADSettings(**settings))


def small_count(**settings):
    return parameters(small_aei_net(**settings), (1, 16, 16, 3), (1, 5))


def test_paper_scale_counts():
    assert parameters(AEINet(), (1, 256, 256, 3), (1, 512)) == 184_343_381
    assert parameters(MultiscaleDiscriminator(), (1, 256, 256, 3)) == 46_047_555
    se50 = IResNet(depth=50, squeeze_excitation=True)
    assert parameters(se50, (1, 112, 112, 3)) == 43_797_696


def test_maum_scale_count():
    # 439 million numbers, of which the running statistics are not trained.
    aad = AADSettings(attribute_kernel=3, mask_kernel=3, mask_per_channel=True, norm="batch",
                      conv_bias=True)  # fmt: skip
    network = AEINet(aad=aad, encoder_bias=True, output="sigmoid")
    variables, _ = shapes_of(network, (1, 256, 256, 3), (1, 256))
    assert round(count(variables["params"]), -6) == 439_000_000


@pytest.mark.parametrize(
    ("depth", "variant"),
    [(10, "ir"), (10, "iresnet"), (18, "ir"), (34, "iresnet"), (100, "ir"), (200, "iresnet")],
)
def test_identity_network_of_any_depth(depth, variant):
    network = IResNet(depth, width=4, embedding_size=9, variant=variant)
    variables, embedding = shapes_of(network, (3, 32, 32, 3))
    assert (embedding.shape, embedding.dtype) == ((3, 9), jnp.float32)
    blocks = sum(name.startswith("stage_") for name in variables["params"])
    assert blocks == {10: 4, 18: 8, 34: 16, 50: 24, 100: 49, 152: 50, 200: 98}[depth]


@pytest.mark.parametrize("depth", [18, 50])
def test_published_identity_networks_counts(depth):
    """All that is trained in the published ones; `features.weight` is frozen at 1 there."""
    shapes, _ = read_golden(f"iresnet{depth}")
    not_trained = ("running_mean", "running_var", "num_batches_tracked", "features.weight")
    expected = sum(math.prod(s) for key, s in shapes.items() if not key.endswith(not_trained))
    assert parameters(IResNet(depth, variant="iresnet"), (1, 112, 112, 3)) == expected


def test_squeeze_excitation_adds_its_two_layers_to_every_block():
    plain, attentive = (
        parameters(IResNet(10, 32, 8, squeeze_excitation=se), (1, 32, 32, 3))
        for se in (False, True)
    )
    assert attentive - plain == sum(2 * c * (c // 16) for c in (32, 64, 128, 256))


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("channels", [BIG, (8, 16, 24, 40), (8, 8, 8, 8, 8, 12)])
@pytest.mark.parametrize("skip", ["concat", "add"])
def test_attribute_shapes(size, channels, skip):
    if size % 2 ** len(channels):
        pytest.skip("the picture cannot be halved so often")
    encoder = AttributeEncoder(channels, skip)

    def run(x):
        return encoder.init_with_output(jax.random.key(0), x, False)[0]

    attributes = jax.eval_shape(run, jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32))
    factor = 2 if skip == "concat" else 1
    widths = [channels[-1], *(factor * c for c in channels[-2::-1]), factor * channels[0]]
    start = size // 2 ** len(channels)
    sides = [start * 2**level for level in range(len(channels) + 1)]
    assert sides[-1] == size
    assert [a.shape for a in attributes] == [
        (2, side, side, width) for side, width in zip(sides, widths, strict=True)
    ]


@pytest.mark.parametrize("size", [128, 256])
def test_outputs_at_every_level_at_paper_scale(size):
    _, output = shapes_of(AEINet(), (2, size, size, 3), (2, 512))
    assert (output.image.shape, output.image.dtype) == ((2, size, size, 3), jnp.float32)
    sides = [size // 128 * 2**level for level in range(8)]
    assert [a.shape[1] for a in output.attributes] == sides
    assert [a.shape[3] for a in output.attributes] == [1024, 2048, 1024, 512, 256, 128, 64, 64]
    # Where the width changes, the skip path has a mask of its own.
    assert [len(masks) for masks in output.masks] == [2, 2, 2, 3, 3, 3, 3, 3]
    for masks, side in zip(output.masks, sides, strict=True):
        assert {mask.shape for mask in masks} == {(2, side, side, 1)}


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("skip", ["concat", "add"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_outputs_of_other_widths(size, skip, per_channel):
    aad = AADSettings(mask_per_channel=per_channel)
    network = AEINet((4, 6, 8), (12, 10, 8, 6), aad, skip)
    _, output = shapes_of(network, (3, size, size, 3), (3, 5))
    assert output.image.shape == (3, size, size, 3)
    for level, (masks, width) in enumerate(zip(output.masks, (12, 10, 8, 6), strict=True)):
        side = size // 8 * 2**level
        assert {m.shape for m in masks} == {(3, side, side, width if per_channel else 1)}


def test_pictures_need_not_be_square():
    _, output = shapes_of(small_aei_net(), (1, 16, 32, 3), (1, 5))
    assert output.image.shape == (1, 16, 32, 3)


def test_every_aad_setting_changes_the_parameters_as_it_says():
    widths, outs, attributes = (12, 10, 8, 6), (10, 8, 6, 3), (8, 12, 8, 8)
    # Two units and the skip's in each block: all four change their width.
    into = sum(3 * a * w for a, w in zip(attributes, widths, strict=True))
    usual = small_count()
    assert small_count(attribute_kernel=3) - usual == 8 * 2 * into
    assert small_count(mask_kernel=3) - usual == 8 * 3 * sum(widths)
    assert small_count(mask_per_channel=True) - usual == 3 * sum(w * w - 1 for w in widths)
    assert small_count(norm="batch") - usual == 3 * 2 * sum(widths)
    assert usual - small_count(use_bias=False) == 3 * sum(2 * w + 1 for w in widths)
    assert small_count(conv_bias=True) - usual == sum(
        w + 2 * out for w, out in zip(widths, outs, strict=True)
    )
    assert small_count(identity_skip=False) == usual
    per_unit = [
        2 * (a + 1) * w + 2 * (5 + 1) * w + (w + 1) + 9 * w * w
        for a, w in zip(attributes, widths, strict=True)
    ]
    assert usual - small_count(num_units=1) == sum(per_unit)
    assert small_count(num_units=3) - usual == sum(per_unit)


def test_batch_norm_in_aad_has_running_statistics():
    for norm, expected in (("instance", False), ("batch", True)):
        variables, _ = shapes_of(small_aei_net(norm=norm), (1, 16, 16, 3), (1, 5))
        assert ("generator" in variables["batch_stats"]) == expected


def random_inputs(*shapes):
    return [
        np.random.default_rng(i).uniform(-1, 1, shape).astype(np.float32)
        for i, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("output", ["tanh", "sigmoid"])
def test_masks_are_shares_and_the_image_a_picture(per_channel, output):
    network = small_aei_net(mask_per_channel=per_channel).clone(output=output)
    inputs = random_inputs((2, 16, 16, 3), (2, 5))
    result = jax.jit(network.apply)(fill(network, *inputs, scale=3.0), *inputs)
    for masks in result.masks:
        for mask in masks:
            assert 0 <= mask.min() < mask.max() <= 1
    assert -1 <= result.image.min() < -0.1
    assert 0.1 < result.image.max() <= 1


def test_encode_gives_the_attributes_of_the_whole_network():
    network = small_aei_net()
    picture, identity = random_inputs((1, 16, 16, 3), (1, 5))
    variables = fill(network, picture, identity)
    whole = jax.jit(network.apply)(variables, picture, identity).attributes
    alone = jax.jit(lambda v, x: network.apply(v, x, method="encode"))(variables, picture)
    for a, b in zip(whole, alone, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    ("num_scales", "size", "num_layers", "sides"),
    [(3, 256, 6, [7, 5, 4]), (2, 64, 3, [11, 7]), (1, 32, 4, [5])],
)
def test_discriminator_shapes(num_scales, size, num_layers, sides):
    network = MultiscaleDiscriminator(num_scales, 8, num_layers)
    _, scores = shapes_of(network, (2, size, size, 3))
    assert [s.shape for s in scores] == [(2, side, side, 1) for side in sides]


def test_discriminator_channels_stop_at_512():
    params = shapes_of(MultiscaleDiscriminator(1), (1, 64, 64, 3))[0]["params"]["scale_0"]
    widths = [params[f"conv_{i}"]["kernel"].shape[-1] for i in range(7)]
    assert widths == [64, 128, 256, 512, 512, 512, 512]


@pytest.mark.parametrize("use_norm", [True, False])
def test_discriminator_normalises_if_asked(use_norm):
    """Normalisation after the second convolution takes its bias away again."""
    network = MultiscaleDiscriminator(1, 4, 2, use_norm)
    (x,) = random_inputs((1, 16, 16, 3))
    variables = fill(network, x)
    (before,) = network.apply(variables, x)
    variables["params"]["scale_0"]["conv_1"]["bias"] += 1.0
    (after,) = network.apply(variables, x)
    assert np.allclose(before, after, atol=1e-4) == use_norm


@pytest.mark.parametrize(
    ("network", "shapes"),
    [
        (AEINet((4, 6), (8, 6, 4), AADSettings(norm="batch")), ((2, 8, 8, 3), (2, 5))),
        (MultiscaleDiscriminator(2, 4, 2), ((2, 16, 16, 3),)),
        (IResNet(10, 4, 6, squeeze_excitation=True), ((2, 16, 16, 3),)),
    ],
)
def test_bfloat16_keeps_parameters_and_results_in_float32(network, shapes):
    inputs = random_inputs(*shapes)
    half = network.clone(dtype=jnp.bfloat16)
    variables = fill(half, *inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    exact, rough = (jax.jit(run.apply)(variables, *inputs) for run in (network, half))
    if isinstance(network, AEINet):
        assert {mask.dtype for mask in jax.tree.leaves(rough.masks)} == {jnp.dtype("bfloat16")}
        exact, rough = exact.image, rough.image
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(rough), strict=True):
        assert b.dtype == jnp.float32
        np.testing.assert_allclose(b, a, atol=0.1 * np.abs(a).max())
        assert np.any(a != b)


def test_every_matrix_product_of_aei_net_is_in_bfloat16():
    network = small_aei_net().clone(dtype=jnp.bfloat16)
    inputs = np.zeros((1, 16, 16, 3), np.float32), np.zeros((1, 5), np.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    program = jax.make_jaxpr(network.apply)(variables, *inputs)
    heavy = [line for line in str(program).splitlines() if " = dot_general" in line
             or " = conv_general" in line]  # fmt: skip
    assert len(heavy) > 50
    assert all(":bf16[" in line for line in heavy)


@pytest.mark.parametrize(
    ("network", "inputs", "message"),
    [
        (AEINet((4, 6), (8, 6)), ((1, 8, 8, 3), (1, 5)), "one longer"),
        (
            AEINet((4, 6), (8, 6, 4), output="relu"),
            ((1, 8, 8, 3), (1, 5)),
            "'tanh', 'sigmoid', 'change', 'blend' or 'warp'",
        ),
        (
            AEINet((4, 6), (8, 6, 4), encoder_skip="mean"),
            ((1, 8, 8, 3), (1, 5)),
            "'concat' or 'add'",
        ),
        (IResNet(depth=20), ((1, 32, 32, 3),), "depth must be one of"),
        (IResNet(depth=18, variant="vgg"), ((1, 32, 32, 3),), "'ir' or 'iresnet'"),
    ],
)
def test_wrong_settings_are_refused(network, inputs, message):
    with pytest.raises(UserError, match=message):
        shapes_of(network, *inputs)
