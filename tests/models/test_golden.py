"""Our networks, filled with a published network's weights, give that network's numbers."""

import jax
import numpy as np
import pytest
from golden_networks import (
    build_variables,
    discriminator_key,
    ghost_key,
    ir_se50_key,
    iresnet_key,
    make_picture,
    make_unit_vector,
    maum_key,
    read_golden,
    taotaonice_key,
)

from faceshifter_jax.identity import unit_length
from faceshifter_jax.models import AADSettings, AEINet, IResNet, MultiscaleDiscriminator


def assert_agrees(ours, golden, tolerance=1e-4):
    assert ours.shape == golden.shape
    error = np.abs(np.asarray(ours) - golden).max() / np.ptp(golden)
    print(f"error: {error:.2e} of the range")
    assert error < tolerance


@pytest.mark.parametrize(
    ("name", "settings", "key"),
    [
        ("iresnet18", {"depth": 18, "variant": "iresnet"}, iresnet_key),
        ("iresnet50", {"depth": 50, "variant": "iresnet"}, iresnet_key),
        ("ir_se50", {"depth": 50, "squeeze_excitation": True}, ir_se50_key),
    ],
)
def test_identity_networks(name, settings, key):
    network = IResNet(**settings)
    pictures = make_picture(f"{name}.input", (2, 112, 112, 3))
    variables = build_variables(network, (pictures,), name, key)
    embedding = jax.jit(network.apply)(variables, pictures)
    embedding = unit_length(embedding) if name == "ir_se50" else embedding
    assert_agrees(embedding, read_golden(name)[1]["embedding"])


def test_discriminator():
    network = MultiscaleDiscriminator()
    picture = make_picture("target", (1, 256, 256, 3))
    name = "discriminator_taotaonice"
    variables = build_variables(network, (picture,), name, discriminator_key)
    scores = jax.jit(network.apply)(variables, picture)
    golden = read_golden(name)[1]
    assert len(scores) == len(golden) == 3
    for scale, score in enumerate(scores):
        assert_agrees(score, golden[f"scale{scale}"])


def run_aei_net(network, name, key, target, identity):
    variables = build_variables(network, (target, identity), name, key)
    run = jax.jit(lambda *inputs: network.apply(*inputs)[:2])
    return run(variables, target, identity)


@pytest.mark.slow
def test_aei_net_of_taotaonice():
    name = "aei_unet_taotaonice"
    target = make_picture("target", (1, 256, 256, 3))
    identity = make_unit_vector("identity", (1, 512))
    image, attributes = run_aei_net(AEINet(), name, taotaonice_key, target, identity)
    golden = read_golden(name)[1]
    assert_agrees(image[:, ::4, ::4], golden["output"])
    for level, attribute in enumerate(attributes):
        rows = max(1, attribute.shape[1] // 8)
        channels = max(1, attribute.shape[3] // 16)
        assert_agrees(attribute[:, ::rows, ::rows, ::channels], golden[f"attribute{level + 1}"])


@pytest.mark.slow
def test_aei_net_of_ghost():
    name = "aei_unet_2blocks_ghost"
    target = make_picture("target", (1, 256, 256, 3))
    identity = make_unit_vector("identity", (1, 512))
    image, _ = run_aei_net(AEINet(), name, ghost_key, target, identity)
    assert_agrees(image[:, ::4, ::4], read_golden(name)[1]["output"])


@pytest.mark.slow
def test_aei_net_of_maum():
    """Pictures in [0, 1] both ways, BatchNorm, 3x3 kernels, a mask a channel, biases."""
    aad = AADSettings(
        attribute_kernel=3, mask_kernel=3, mask_per_channel=True, norm="batch", conv_bias=True
    )
    network = AEINet(aad=aad, encoder_bias=True, output="sigmoid")
    target = make_picture("target", (1, 256, 256, 3)) * 0.5 + 0.5
    identity = make_unit_vector("identity256", (1, 256))
    image, _ = run_aei_net(network, "aei_maum", maum_key, target, identity)
    assert_agrees(image[:, ::4, ::4] / 2 + 0.5, read_golden("aei_maum")[1]["output"])
