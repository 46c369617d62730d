"""Network files: what is written comes back, and nothing else is taken for one."""

import dataclasses
import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from faceshifter_jax.errors import UserError
from faceshifter_jax.networks import file as network_file
from faceshifter_jax.networks.file import is_network_file, read_network_file, write_network_file
from faceshifter_jax.networks.network import InputFormat, Network

SOURCE = {"family": "arcface_torch IResNet-18", "file": "backbone.pth", "sha256": "ab"}


def make_network(**changes):
    random = np.random.default_rng(0)
    network = Network(
        architecture="IResNet",
        settings={"depth": 18, "channels": [1, 2], "aad": {"norm": "batch"}},
        variables={
            "params": {"stem": {"kernel": random.normal(size=(3, 3, 3, 8)).astype(np.float32)}},
            "batch_stats": {"norm": {"mean": np.zeros(8, np.float32)}},
        },
        embedding_size=512,
        input=InputFormat(112, "bgr", 127.5, 128.0),
    )
    return dataclasses.replace(network, **changes)


@pytest.fixture
def path(tmp_path):
    write_network_file(tmp_path / "a.safetensors", {"identity": make_network()}, SOURCE)
    return tmp_path / "a.safetensors"


def test_a_network_comes_back_whole(path):
    read = read_network_file(path)
    assert read.source == SOURCE
    network, written = read.networks["identity"], make_network()
    for field in dataclasses.fields(Network):
        if field.name != "variables":
            assert getattr(network, field.name) == getattr(written, field.name)
    kernel = network.variables["params"]["stem"]["kernel"]
    np.testing.assert_array_equal(kernel, written.variables["params"]["stem"]["kernel"])
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(network.variables["batch_stats"]["norm"]["mean"], np.zeros(8))
    assert is_network_file(path)


def test_several_networks_and_transposed_arrays(tmp_path):
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    networks = {
        "generator": make_network(variables={"params": {"w": transposed}, "batch_stats": {}}),
        "discriminator": make_network(input=None, embedding_size=None),
    }
    write_network_file(tmp_path / "two.safetensors", networks, {})
    read = read_network_file(tmp_path / "two.safetensors").networks
    np.testing.assert_array_equal(read["generator"].variables["params"]["w"], transposed)
    assert read["generator"].variables["batch_stats"] == {}
    assert read["discriminator"].input is None


def test_the_hash_is_of_the_content_alone(path, tmp_path):
    again = write_network_file(tmp_path / "b.safetensors", {"identity": make_network()}, SOURCE)
    assert again == read_network_file(path).sha256
    other = write_network_file(
        tmp_path / "c.safetensors", {"identity": make_network(embedding_size=256)}, SOURCE
    )
    assert other != again


def refuse(path, message):
    with pytest.raises(UserError, match=message) as error:
        read_network_file(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def change_header(path, change):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    ours = json.loads(header["__metadata__"]["faceshifter_jax"])
    change(ours)
    header["__metadata__"]["faceshifter_jax"] = json.dumps(ours)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda ours: ours["networks"]["identity"]["settings"].update(depth=34),
        lambda ours: ours["networks"]["identity"]["input"].update(channel_order="rgb"),
        lambda ours: ours["source"].update(family="mine"),
        lambda ours: ours.pop("sha256"),
        lambda ours: ours.pop("format_version"),
        lambda ours: ours.pop("networks"),
    ],
)
def test_a_header_edited_by_hand_is_refused(path, change):
    change_header(path, change)
    refuse(path, "was changed after it was written: convert the original again")


def test_a_header_that_is_no_json_is_refused(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    for text in ("[" * 100_000, "{", "[]", "null"):
        header["__metadata__"]["faceshifter_jax"] = text
        packed = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(packed)) + packed + data[8 + length :])
        refuse(path, "was changed after it was written")


@pytest.mark.parametrize(
    "change", [{"channel_order": "gbr"}, {"size": 0}, {"scale": 0}, {"depth": 3}]
)
def test_a_network_of_another_version_is_refused(path, change, monkeypatch):
    """Written with the right hash, as a later version might."""
    network = make_network()
    described = network_file.describe_network(network)
    described["input"] |= change
    monkeypatch.setattr(network_file, "describe_network", lambda _: described)
    write_network_file(path, {"identity": network}, SOURCE)
    refuse(path, "in a way that this version does not know")


@pytest.mark.parametrize("name", ["kernel", "var"])
def test_weights_that_give_no_numbers_are_not_written(name, tmp_path):
    bad = {"kernel": np.array([1, np.inf], np.float32), "var": np.array([1, -1], np.float32)}
    network = make_network(variables={"params": {name: bad[name]}, "batch_stats": {}})
    with pytest.raises(UserError, match=f"damaged: identity/params/{name} holds"):
        write_network_file(tmp_path / "a.safetensors", {"identity": network}, SOURCE)
    assert not list(tmp_path.iterdir())


def test_weights_edited_by_hand_are_refused(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    refuse(path, "was changed after it was written")


def test_a_newer_format_is_refused(path):
    change_header(path, lambda ours: ours.update(format_version=2))
    refuse(path, "has network file format 2, this version reads format 1")


@pytest.mark.parametrize("length", [0, 7, 100, -5])
def test_a_file_cut_short_is_refused(path, length):
    path.write_bytes(path.read_bytes()[:length])
    refuse(path, "damaged")


def test_other_files_are_refused(tmp_path):
    refuse(tmp_path / "nothing.safetensors", "there is no such file")
    (tmp_path / "text").write_text("hello, this is a text")
    refuse(tmp_path / "text", "not a network file")
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "plain.safetensors")
    refuse(tmp_path / "plain.safetensors", "faceshifter convert")
    assert not is_network_file(tmp_path / "plain.safetensors")
    assert not is_network_file(tmp_path / "text")


def test_a_file_is_replaced_when_complete_or_not_at_all(path, tmp_path):
    write_network_file(path, {"identity": make_network(embedding_size=7)}, SOURCE)
    assert read_network_file(path).networks["identity"].embedding_size == 7
    with pytest.raises(UserError, match="cannot write"):
        write_network_file(tmp_path / "no" / "a.safetensors", {"identity": make_network()}, {})
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
