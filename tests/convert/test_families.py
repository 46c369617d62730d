"""State dicts of published networks are converted; anything else ends in one clear line."""

import math

import jax
import numpy as np
import published_layouts as published
import pytest
from golden_networks import GOLDEN, make_picture, make_state_dict, make_unit_vector

from faceshifter_jax.convert.families import convert_state_dict
from faceshifter_jax.errors import UserError
from faceshifter_jax.models import AADSettings, AEINet, IResNet, MultiscaleDiscriminator

DOWN, UP = (4, 6, 10), (14, 14, 12, 6)
SMALL_IRESNET = published.iresnet((2, 2, 2, 2), width=4, side=1, size=5)


def convert(shapes):
    return convert_state_dict(make_state_dict(shapes), "some.pth")


def only_network(shapes):
    (network,) = convert(shapes).networks.values()
    return network


def build(network):
    classes = {
        "AEINet": AEINet,
        "IResNet": IResNet,
        "MultiscaleDiscriminator": MultiscaleDiscriminator,
    }
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in network.settings.items()}
    if "aad" in settings:
        settings["aad"] = AADSettings(**settings["aad"])
    return classes[network.architecture](**settings)


def run(network, *inputs):
    # Operation by operation: most blocks repeat, so that takes less time than compiling them all.
    return build(network).apply(network.variables, *inputs)


def assert_agrees(ours, name):
    with np.load(GOLDEN / "small_published.npz") as outputs:
        golden = outputs[name]
    assert ours.shape == golden.shape
    error = np.abs(np.asarray(ours) - golden).max() / np.ptp(golden)
    print(f"{name}: {error:.2e} of the range")
    assert error < 1e-4


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("iresnet_34", published.iresnet((3, 4, 6, 3), width=8, side=3, size=64)),
        ("ir_100", published.ir((3, 13, 30, 3), width=4, side=3)),
    ],
)
def test_identity_networks_of_other_depths_and_widths(name, shapes):
    network = only_network(shapes)
    assert network.input.size == 48
    assert_agrees(run(network, make_picture("small", (2, 48, 48, 3))), name)


@pytest.mark.parametrize(
    ("backbone", "blocks"),
    [("linknet", 1), ("linknet", 2), ("linknet", 3), ("unet", 1), ("unet", 3)],
)
def test_ghost(backbone, blocks):
    linknet = backbone == "linknet"
    converted = convert(published.ghost(DOWN, UP, blocks, linknet, identity=12))
    assert converted.family == f"ghost AEI-Net, {backbone}, {blocks} block" + "s" * (blocks > 1)
    network = converted.networks["generator"]
    assert network.settings["encoder_skip"] == ("add" if linknet else "concat")
    assert network.settings["aad"]["num_units"] == blocks
    assert (network.embedding_size, network.image_size) == (12, 16)
    target, identity = make_picture("small", (1, 16, 16, 3)), make_unit_vector("small", (1, 12))
    assert_agrees(run(network, target, identity).image, f"ghost_{backbone}_{blocks}")


def test_discriminator_of_another_size():
    network = only_network(published.discriminator(num_scales=2, num_layers=4, width=6))
    assert network.settings == {"num_scales": 2, "width": 6, "num_layers": 4, "use_norm": True}
    for i, scores in enumerate(run(network, make_picture("small", (1, 64, 64, 3)))):
        assert_agrees(scores, f"discriminator_{i}")


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        (
            published.iresnet((3, 13, 30, 3), width=2, side=1),
            "arcface_torch IResNet-100 of width 2",
        ),
        (
            published.iresnet((6, 26, 60, 6), width=2, side=1),
            "arcface_torch IResNet-200 of width 2",
        ),
        (published.ir((3, 8, 36, 3), width=2, side=1), "InsightFace_Pytorch IR-152 of width 2"),
        (
            published.ir((3, 13, 30, 3), width=16, side=1, attentive=True),
            "InsightFace_Pytorch IR-SE-100 of width 16",
        ),
    ],
)
def test_deep_identity_networks(shapes, family):
    converted = convert(shapes)
    assert converted.family == family
    network = converted.networks["identity"]
    assert network.input.size == 16
    counted = sum(math.prod(shape) for key, shape in shapes.items() if "num_batches" not in key)
    counted -= math.prod(shapes.get("features.weight", (0,)))
    assert sum(leaf.size for leaf in jax.tree.leaves(network.variables)) == counted


def test_pictures_and_channels_of_an_identity_network():
    network = only_network(published.iresnet((2, 2, 2, 2), width=2, side=14))
    assert network.input.size == 224
    assert network.input.channel_order == "rgb"
    assert (network.input.mean, network.input.scale) == (127.5, 127.5)


@pytest.mark.parametrize("identity", [256, 512])
def test_taotaonice(identity):
    network = only_network(published.taotaonice(DOWN, UP, identity))
    assert network.embedding_size == identity
    assert network.settings == {
        "encoder_channels": [4, 6, 10],
        "generator_channels": [14, 14, 12, 6],
        "aad": {
            "attribute_kernel": 1,
            "mask_kernel": 1,
            "mask_per_channel": False,
            "norm": "instance",
            "use_bias": True,
            "conv_bias": False,
            "num_units": 2,
            "identity_skip": True,
        },
        "encoder_skip": "concat",
        "encoder_up": "transposed",
        "generator_up": "corners",
        "change_pixels": 1,
        "flow_pixels": 4,
        "reduction": 1,
        "identity_length": "unit",
        "encoder_bias": False,
        "output": "tanh",
        "input_range": "signed",
    }


def test_kernels_masks_and_biases_are_read_from_the_shapes():
    shapes = published.taotaonice(DOWN, UP)
    for key, shape in list(shapes.items()):
        if ".AAD" in key and ".conv" in key:
            if key.endswith("bias"):
                del shapes[key]
            else:
                out = shape[1] if "conv_h" in key else shape[0]
                shapes[key] = (out, shape[1], 3, 3)
    aad = only_network(shapes).settings["aad"]
    assert (aad["attribute_kernel"], aad["mask_kernel"], aad["mask_per_channel"]) == (3, 3, True)
    assert not aad["use_bias"]


def test_maum_leaves_out_the_other_networks_of_its_training():
    shapes = published.maum(DOWN, UP)
    others = {"Z.conv1.weight": (64, 3, 7, 7), "Z.fc.bias": (256,), "D.layer0.3.bias": (128,)}
    converted = convert({**shapes, **others})
    assert [note[:30] for note in converted.notes] == [
        "left out: 2 tensors under Z., ",
        "left out: 1 tensors under D., ",
    ]
    network = converted.networks["generator"]
    assert network.settings["aad"]["norm"] == "batch"
    assert network.settings["output"] == "sigmoid"
    assert network.settings["input_range"] == "unit"
    assert network.settings["encoder_bias"]
    assert network.embedding_size == 256


def test_a_prefix_of_all_keys_does_not_matter():
    shapes = {f"net.generator_ema.{key}": s for key, s in published.taotaonice(DOWN, UP).items()}
    tensors = {
        key.removeprefix("net.generator_ema."): t for key, t in make_state_dict(shapes).items()
    }
    plain = convert_state_dict(tensors, "plain.pth").networks["generator"]
    converted = convert(shapes)
    assert converted.notes == ("all keys start with net.generator_ema., which was left out",)
    jax.tree.map(
        np.testing.assert_array_equal, converted.networks["generator"].variables, plain.variables
    )


def test_one_scale_is_not_taken_for_a_prefix():
    assert only_network(published.discriminator(1, 3, 4)).settings["num_scales"] == 1


def test_half_precision_becomes_float32_arrays_of_their_own():
    tensors = {key: t.astype(np.float16) for key, t in make_state_dict(SMALL_IRESNET).items()}
    variables = convert_state_dict(tensors, "half.pth").networks["identity"].variables
    for leaf in jax.tree.leaves(variables):
        assert leaf.dtype == np.float32
        assert leaf.flags.c_contiguous
        assert leaf.flags.owndata


def test_a_last_scale_of_1_changes_nothing():
    tensors = make_state_dict(SMALL_IRESNET)
    tensors["features.weight"] = np.ones(5, np.float32)
    converted = convert_state_dict(tensors, "some.pth")
    assert converted.notes == ()
    params = converted.networks["identity"].variables["params"]
    np.testing.assert_array_equal(params["embedding"]["kernel"], tensors["fc.weight"].T)


def test_a_last_scale_of_any_sign_scales_the_embedding():
    tensors = make_state_dict(SMALL_IRESNET)
    pictures = make_picture("small", (2, 16, 16, 3))
    shift = tensors["features.bias"]
    embeddings = []
    for scale in (np.ones(5, np.float32), np.array([-1, 0, 2, -0.5, 1e-4], np.float32)):
        tensors["features.weight"] = scale
        network = convert_state_dict(tensors, "some.pth").networks["identity"]
        embeddings.append((np.asarray(run(network, pictures)) - shift) / np.where(scale, scale, 1))
    embeddings[0][:, 1] = 0
    np.testing.assert_allclose(embeddings[1], embeddings[0], rtol=1e-3, atol=1e-3)


def torchvision_resnet():
    shapes = {"conv1.weight": (64, 3, 7, 7), **published.batch_norm("bn1", 64)}
    for stage, width in enumerate((64, 128), 1):
        shapes |= published.conv(f"layer{stage}.0.conv1", 64, width, 3)
        shapes |= published.batch_norm(f"layer{stage}.0.bn1", width)
    return {**shapes, "fc.weight": (1000, 512), "fc.bias": (1000,)}


def changed(shapes, **changes):
    """`shapes` with some tensors of other shapes, or with None left out; `__` for a dot."""
    changes = {key.replace("__", "."): shape for key, shape in changes.items()}
    return {key: shape for key, shape in {**shapes, **changes}.items() if shape is not None}


SMALL_GHOST = published.ghost(DOWN, UP, 2, identity=12)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            torchvision_resnet(),
            r"some.pth .* but conv1.weight \(64, 3, 7, 7\), bn1.weight \(64,\), bn1.bias \(64,\) "
            r"and 14 more: .*convert --list",
        ),
        ({}, "some.pth holds no weights"),
        ({"steps.num_batches_tracked": ()}, "some.pth holds no weights"),
        ({"mean": ()}, r"but mean \(\):"),
        (
            changed(SMALL_IRESNET, layer3__1__conv2__weight=None),
            r"some.pth looks like arcface_torch IResNet-18 of width 4, but "
            r"layer3.1.conv2.weight \(16, 16, 3, 3\) is missing$",
        ),
        (
            changed(SMALL_IRESNET, layer2__0__conv1__weight=(8, 4, 1, 1)),
            r"layer2.0.conv1.weight has shape \(8, 4, 1, 1\), needed is \(8, 4, 3, 3\)$",
        ),
        (
            changed(SMALL_IRESNET, layer1__0__se__fc__weight=(2, 4)),
            r"layer1.0.se.fc.weight \(2, 4\) belongs to nothing$",
        ),
        (changed(SMALL_IRESNET, fc__weight=None), "incomplete: it has no tensor fc.weight"),
        (changed(SMALL_IRESNET, features__weight=None), "has no tensor features.weight"),
        (changed(SMALL_IRESNET, features__weight=(7,)), r"features.weight has shape \(7,\)"),
        (changed(SMALL_IRESNET, fc__weight=(5, 96)), "fc.weight takes 96 numbers, .* 32 channels"),
        (changed(SMALL_IRESNET, conv1__weight=(4,)), "conv1.weight has shape .* 4 dimensions"),
        (published.iresnet((3, 4, 14, 2), 4, 1, 5), r"\(3, 4, 14, 2\) residual blocks .* 50:"),
        (published.ir((2, 2, 2), 4, 1), r"\(2, 2, 2\) residual blocks"),
        (changed(SMALL_GHOST, encoder__conv2__0__weight=None), "no tensor encoder.conv2.0.weight"),
        (
            changed(SMALL_GHOST, generator__AADBlk2__add_blocks__0__fc1__bias=None),
            r"ghost AEI-Net, but generator.AADBlk2.add_blocks.0.fc1.bias \(14,\) is missing$",
        ),
        (
            changed(SMALL_GHOST, generator__AADBlk1__add_blocks__0__conv_h__weight=(1, 14, 2, 2)),
            "some.pth: aad.mask_kernel must be odd, not 2",
        ),
        (published.ghost(DOWN, UP, 4, identity=12), "of 4 blocks; 3 is the most"),
        (
            changed(SMALL_GHOST, encoder__conv0__weight=(64, 3, 7, 7)),
            "resnet backbone, which is not supported",
        ),
        (
            {key: s for key, s in SMALL_GHOST.items() if key.startswith("generator")},
            "no tensor encoder.conv1.0.weight",
        ),
        (
            published.discriminator(2, 3, 4) | published.batch_norm("layer0.3", 8),
            "batch normalisation, which is not supported",
        ),
        (
            changed(published.discriminator(2, 3, 4), layer7__0__weight=(4, 3, 4, 4)),
            "layer2.0.weight",
        ),
        (
            changed(published.hear((4, 6)), up2__weight=None),
            r"up2.weight \(3, 8, 3, 3\) is missing",
        ),
        (SMALL_IRESNET | published.hear((4, 6)), "more than one network"),
    ],
)
def test_what_does_not_fit_is_named(shapes, message):
    with pytest.raises(UserError, match=message) as refusal:
        convert(shapes)
    assert "\n" not in str(refusal.value)


def test_only_the_first_misfits_are_named():
    shapes = {key: s for key, s in SMALL_IRESNET.items() if not key.startswith("layer2.1.")}
    shapes |= {"layer2.1.prelu.weight": (8,)}
    with pytest.raises(UserError) as refusal:
        convert(shapes)
    assert str(refusal.value).count("is missing") == 3
    assert str(refusal.value).endswith("; and 11 more")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(value):
    tensors = make_state_dict(SMALL_IRESNET)
    tensors["layer1.0.conv1.weight"][1, 2, 0, 0] = value
    with pytest.raises(
        UserError, match=r"layer1.0.conv1.weight holds .* not finite: it is damaged"
    ):
        convert_state_dict(tensors, "some.pth")


def test_whole_numbers_are_refused():
    tensors = make_state_dict(SMALL_IRESNET)
    tensors["fc.weight"] = np.ones((5, 32), np.int8)
    with pytest.raises(UserError, match=r"fc.weight holds int8 numbers"):
        convert_state_dict(tensors, "some.pth")
