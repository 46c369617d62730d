"""Files that would take for ever, or all memory: refused in a moment, in one line."""

import os
import struct
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pickle_parts import items, numbers, storage, tensor, text, write_zip

from faceshifter_jax import cli
from faceshifter_jax.convert.find_state_dict import without_prefixes
from faceshifter_jax.convert.torch_file import read_torch_file
from faceshifter_jax.errors import UserError


@pytest.fixture(autouse=True)
def soon():
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < 20


def giant(num_bytes):
    """The instruction for a whole number of so many bytes."""
    return b"\x8b" + struct.pack("<i", num_bytes) + b"\7" * num_bytes


def tensor_of(shape: bytes, strides: bytes, source: bytes):
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + source + b"I0\n" + shape + strides + b"I00\nNtR"
    )


def giant_shape():
    return tensor_of(b"(" + giant(10**6) * 40 + b"t", numbers([1] * 40), storage(1))


def giant_strides():
    return tensor_of(numbers([2] * 40), b"(" + giant(10**6) * 40 + b"t", storage(1))


def giant_storage():
    head = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    return tensor_of(numbers([1]), numbers([1]), head + giant(10**6) + b"tQ")


def many_axes():
    return tensor(storage(1), [1] * 100_000, [1] * 100_000)


@pytest.mark.parametrize("make", [giant_shape, giant_strides, giant_storage, many_axes])
def test_tensors_of_giant_numbers(make, tmp_path):
    pickled = b"\x80\x02" + items(weight=make()) + b"."
    path = write_zip(tmp_path / "a.pth", pickled, {"data/0": bytes(4)})
    with pytest.raises(UserError, match="damaged"):
        read_torch_file(path)


def test_keys_with_one_hash(tmp_path):
    keys = b"".join(
        b"\x8a\x10" + (number * (2**61 - 1)).to_bytes(16, "little") + b"N"
        for number in range(60_000)
    )
    pickled = b"\x80\x02}(" + keys + b"u."
    path = write_zip(tmp_path / "a.pth", pickled)
    with pytest.raises(UserError, match="holds no tensors"):
        read_torch_file(path)


def test_a_name_of_nothing_but_prefixes():
    found = without_prefixes({"module." * 100_000: 1})
    assert list(found.values()) == [1]
    assert without_prefixes({"module._orig_mod.a": 1, "module._orig_mod.b": 2}) == {"a": 1, "b": 2}


def save_chain(path, op, length, **attributes):
    """A weight that a chain of operators makes of a stored one."""
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w0")
    nodes = [
        helper.make_node(op, [f"w{i}"] * (2 if op == "Reshape" else 1), [f"w{i + 1}"], **attributes)
        for i in range(length)
    ]
    nodes.append(helper.make_node("Conv", ["picture", f"w{length}"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    onnx.save(helper.make_model(graph), path)


@pytest.mark.parametrize("op", ["Identity", "Transpose", "Reshape"])
def test_a_chain_of_5000_nodes(op, tmp_path, capsys):
    save_chain(tmp_path / "a.onnx", op, 5_000)
    assert cli.main(["convert", str(tmp_path / "a.onnx"), str(tmp_path / "o.safetensors")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert not (tmp_path / "o.safetensors").exists()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "it is a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links|no such file"),
    ],
)
def test_what_never_ends_is_not_read(make, reason, tmp_path, capsys):
    make(tmp_path / "a.pth")
    assert cli.main(["convert", str(tmp_path / "a.pth"), str(tmp_path / "o.safetensors")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert any(words in error for words in reason.split("|")), error


def test_a_name_that_is_too_long(tmp_path, capsys):
    out = tmp_path / ("n" * 300 + ".safetensors")
    (tmp_path / "a.pth").write_bytes(b"none")
    assert cli.main(["convert", str(tmp_path / "a.pth"), str(out)]) == 2
    assert "File name too long" in capsys.readouterr().err
    assert cli.main(["convert", str(tmp_path / ("n" * 300)), str(tmp_path / "o.safetensors")]) == 2
    assert "File name too long" in capsys.readouterr().err
