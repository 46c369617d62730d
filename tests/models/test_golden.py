"""Published networks, converted, give the numbers that they gave in PyTorch."""

import jax
import numpy as np
import pytest
from golden_networks import make_picture, make_state_dict, make_unit_vector, read_golden

from faceshifter_jax.convert.families import convert_state_dict
from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.identity import unit_length


def assert_agrees(ours, golden, tolerance=1e-4):
    assert ours.shape == golden.shape
    error = np.abs(np.asarray(ours) - golden).max() / np.ptp(golden)
    print(f"error: {error:.2e} of the range")
    assert error < tolerance


def convert_golden(name, role):
    """Our network in place of the published one, its description, and the stored outputs."""
    shapes, golden = read_golden(name)
    converted = convert_state_dict(make_state_dict(shapes), f"{name}.pth")
    assert list(converted.networks) == [role]
    network = converted.networks[role]
    module = build_network(network)

    def run(*inputs):
        return jax.jit(module.apply)(network.variables, *inputs)

    return run, network, golden


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("iresnet18", {"depth": 18, "variant": "iresnet", "squeeze_excitation": False}),
        ("iresnet50", {"depth": 50, "variant": "iresnet", "squeeze_excitation": False}),
        ("ir_se50", {"depth": 50, "variant": "ir", "squeeze_excitation": True}),
    ],
)
def test_identity_networks(name, settings):
    run, network, golden = convert_golden(name, "identity")
    assert network.settings == {**settings, "width": 64, "embedding_size": 512}
    assert (network.embedding_size, network.input.size) == (512, 112)
    embedding = run(make_picture(f"{name}.input", (2, 112, 112, 3)))
    embedding = unit_length(embedding) if name == "ir_se50" else embedding
    assert_agrees(embedding, golden["embedding"])


def test_discriminator():
    run, network, golden = convert_golden("discriminator_taotaonice", "discriminator")
    assert network.settings == {"num_scales": 3, "width": 64, "num_layers": 6, "use_norm": True}
    scores = run(make_picture("target", (1, 256, 256, 3)))
    assert len(scores) == len(golden) == 3
    for scale, score in enumerate(scores):
        assert_agrees(score, golden[f"scale{scale}"])


def test_hear_net():
    run, network, golden = convert_golden("hear_taotaonice", "hear")
    assert network.settings == {
        "channels": [64, 128, 256, 512, 512],
        "use_bias": True,
        "input_skip": False,
        "output": "tanh",
    }
    both = make_picture("hear.input", (1, 256, 256, 6))
    picture = run(both[..., :3], both[..., 3:])
    assert_agrees(picture[:, ::4, ::4], golden["output"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aei_unet_taotaonice", "aei_unet_2blocks_ghost"])
def test_aei_net(name):
    run, network, golden = convert_golden(name, "generator")
    assert (network.embedding_size, network.image_size) == (512, 256)
    output = run(make_picture("target", (1, 256, 256, 3)), make_unit_vector("identity", (1, 512)))
    assert_agrees(output.image[:, ::4, ::4], golden["output"])
    for level, attribute in enumerate(output.attributes, 1):
        if f"attribute{level}" in golden:
            rows = max(1, attribute.shape[1] // 8)
            channels = max(1, attribute.shape[3] // 16)
            thinned = attribute[:, ::rows, ::rows, ::channels]
            assert_agrees(thinned, golden[f"attribute{level}"])


@pytest.mark.slow
def test_aei_net_of_maum():
    """It takes and gives pictures in [0, 1] there, which here are in [-1, 1] as all others."""
    run, network, golden = convert_golden("aei_maum", "generator")
    assert (network.embedding_size, network.image_size) == (256, 256)
    target = make_picture("target", (1, 256, 256, 3))
    image = run(target, make_unit_vector("identity256", (1, 256))).image
    assert_agrees(image[:, ::4, ::4] / 2 + 0.5, golden["output"])
