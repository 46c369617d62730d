"""What network files say of how their networks are fed, and networks of the other order."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import published_layouts as published
import pytest
from golden_networks import make_picture, make_state_dict
from safetensors.numpy import save_file

from faceshifter_jax.cli import main
from faceshifter_jax.convert.families import convert_state_dict
from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.channels import in_rgb
from faceshifter_jax.networks.contract import ARCFACE_CROP, WHOLE, Contract, View
from faceshifter_jax.networks.file import read_network_file, write_network_file
from faceshifter_jax.networks.network import InputFormat
from faceshifter_jax.swapping.stages import load_stages

FILES = Path(__file__).parent / "files"
DOWN, UP = (4, 6, 10), (14, 14, 12, 6)


def convert(shapes, path="some.pth"):
    (network,) = convert_state_dict(make_state_dict(shapes), path).networks.values()
    return network


def run(network, *inputs):
    output = jax.jit(build_network(network).apply)(network.variables, *inputs)
    return output.image if hasattr(output, "image") else output


@pytest.mark.parametrize(
    ("shapes", "inputs"),
    [
        (published.taotaonice(DOWN, UP, identity=12), 1),
        (published.hear((4, 6, 10)), 2),
        (published.discriminator(2, 2, 4), 1),
    ],
)
def test_a_network_of_bgr_pictures_becomes_the_same_one_of_rgb_pictures(shapes, inputs):
    network = convert(shapes)
    assert network.channel_order == "bgr"
    turned = in_rgb(network)
    assert turned.channel_order == "rgb"
    pictures = [make_picture(f"small{i}", (1, 32, 32, 3))[:, :16, :16] for i in range(inputs)]
    extra = [make_picture("identity", (1, 12))] if network.embedding_size else []
    ours = run(turned, *pictures, *extra)
    theirs = run(network, *(picture[..., ::-1] for picture in pictures), *extra)
    if network.architecture == "MultiscaleDiscriminator":
        for scale, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(scale, other, atol=1e-5)
        return
    np.testing.assert_allclose(ours, np.asarray(theirs)[..., ::-1], atol=1e-5)
    assert np.abs(np.asarray(ours) - theirs).max() > 1e-2
    # The published weights themselves are as they were.
    assert in_rgb(turned) is turned


def test_files_keep_contracts_and_views(tmp_path):
    generator = convert(published.ghost(DOWN, UP, 2, identity=12))
    identity = convert(published.iresnet((1, 1, 1, 1), width=2, side=1, size=12))
    taken = dataclasses.replace(identity.input, alignment="ffhq", view=View(WHOLE, "bilinear"))
    identity = dataclasses.replace(identity, input=taken)
    write_network_file(
        tmp_path / "n.safetensors", {"generator": generator, "identity": identity}, {}
    )
    networks = read_network_file(tmp_path / "n.safetensors").networks
    assert networks["generator"].contract == generator.contract
    assert networks["identity"].input == taken
    contract = networks["generator"].feeding
    assert (contract.alignment, contract.side, contract.embedding) == (
        "insightface-0.2",
        224,
        "raw",
    )
    assert contract.view == View(WHOLE, "corners")
    assert contract.identity.is_one_of_many


def test_files_from_before_contracts_are_fed_as_they_were(caplog):
    generator = read_network_file(FILES / "generator_before_contracts.safetensors").networks
    identity = read_network_file(FILES / "identity_before_contracts.safetensors").networks
    assert generator["generator"].contract is None
    assert generator["generator"].feeding == Contract()
    assert generator["generator"].channel_order == "rgb"
    assert identity["identity"].input == InputFormat(16)
    assert identity["identity"].input.view == View(ARCFACE_CROP, "antialiased")
    stages = load_stages(
        str(FILES / "generator_before_contracts.safetensors"),
        str(FILES / "identity_before_contracts.safetensors"),
    )
    assert "convert the original again to swap as at home" in caplog.text
    assert (stages.square_size, stages.contract.embedding) == (8, "unit")
    squares = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    assert stages.swap(squares, squares).shape == (1, 8, 8, 3)


@pytest.mark.parametrize("fields", [{"alignment": "dlib"}, {"embedding": "short"}, {"side": 0}])
def test_impossible_contracts_are_none(fields):
    with pytest.raises(ValueError, match="impossible contract"):
        Contract(**fields)
    with pytest.raises(ValueError, match="impossible view"):
        View((10, 300))


def converted_with(tmp_path, capsys, shapes, *options):
    save_file(make_state_dict(shapes), tmp_path / "published.pth")
    out = tmp_path / "out.safetensors"
    command = ["convert", str(tmp_path / "published.pth"), str(out), "--overwrite", *options]
    status = main(command)
    said = capsys.readouterr()
    return (status, said.err) if status else (read_network_file(out).networks, said.out)


def test_converting_prints_how_a_network_is_fed(tmp_path, capsys):
    _, said = converted_with(tmp_path, capsys, published.ghost(DOWN, UP, 1, identity=12))
    for line in (
        "pictures in RGB in and out, [-1, 1]",
        "alignment insightface-0.2, squares of 224 pixels, resized to 16",
        "its identity network sees the whole square, bilinear with corners aligned to 112 pixels",
        "embeddings as they are",
        "trained with ghost's own IResNet-100",
    ):
        assert line in said
    _, said = converted_with(tmp_path, capsys, published.maum(DOWN, UP, identity=12))
    assert "pictures in RGB in and out, [0, 1]" in said
    assert "alignment ffhq, squares of 16 pixels" in said
    _, said = converted_with(tmp_path, capsys, published.hear((4, 6)))
    assert "pictures in BGR in and out" in said


def test_options_override_what_the_family_does(tmp_path, capsys):
    shapes = published.taotaonice(DOWN, UP, identity=12)
    options = (
        *("--channel-order", "rgb", "--embedding", "raw", "--side", "224"),
        *("--alignment", "ffhq", "--identity-resize", "bilinear", "--range", "unit"),
        *("--identity-channel-order", "rgb"),
    )
    networks, said = converted_with(tmp_path, capsys, shapes, *options)
    network, contract = networks["generator"], networks["generator"].contract
    assert network.channel_order == "rgb"
    assert network.settings["input_range"] == "unit"
    assert (contract.alignment, contract.side, contract.embedding) == ("ffhq", 224, "raw")
    # The region follows the alignment, unless it is said.
    assert contract.view == View(WHOLE, "bilinear")
    assert contract.identity.channel_order == "rgb"
    assert "alignment ffhq, squares of 224 pixels, resized to 16" in said
    networks, _ = converted_with(tmp_path, capsys, shapes, "--identity-region", "10:246")
    assert networks["generator"].contract.view == View((10, 246), "corners")
    identity = published.iresnet((1, 1, 1, 1), width=2, side=1, size=5)
    networks, _ = converted_with(tmp_path, capsys, identity, "--alignment", "arcface-tight")
    assert networks["identity"].input.view.region == WHOLE


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--embedding", "raw"), "--embedding: for generators, and"),
        (("--identity-region", "0:256", "--side", "9"), "--side --identity-region: for generators"),
    ],
)
def test_options_of_generators_need_one(tmp_path, capsys, options, reason):
    identity = published.iresnet((1, 1, 1, 1), width=2, side=1, size=5)
    status, said = converted_with(tmp_path, capsys, identity, *options)
    assert status != 0
    assert reason in said
    assert not (tmp_path / "out.safetensors").exists()


def test_an_alignment_needs_a_network_that_has_one(tmp_path, capsys):
    shapes = published.hear((4, 6))
    status, said = converted_with(tmp_path, capsys, shapes, "--alignment", "ffhq")
    assert status != 0
    assert "--alignment: for generators and identity networks, and" in said
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--identity-region", "200:100"), "--identity-region must look like 19:237"),
        (("--side", "0"), "--side is from 1 to 4096"),
        (("--identity", "nowhere.safetensors"), "nowhere.safetensors"),
    ],
)
def test_impossible_options_are_refused(tmp_path, capsys, options, reason):
    shapes = published.ghost(DOWN, UP, 1, identity=12)
    status, said = converted_with(tmp_path, capsys, shapes, *options)
    assert status != 0
    assert reason in said
