"""Weights as PyTorch 2.13 saved them (make_torch_files.py), and files that are none."""

import argparse
import collections
import datetime
import json
import os
import pathlib
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pickle_parts import NOTHING, items, storage, tensor, write_legacy, write_zip

from faceshifter_jax.convert.torch_file import read_torch_file
from faceshifter_jax.errors import UserError

FILES = Path(__file__).parent / "files"


def count(*shape, dtype=np.float32):
    return np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)


PLAIN = {
    "conv.weight": count(2, 3, 2, 2),
    "transposed": count(2, 3).T,
    "every_other": count(8)[1::2],
    "tied.first": count(6).reshape(2, 3),
    "tied.second": count(10)[4:],
    "half": count(5),
    "brain": count(5),
    "double": count(3),
    "batches": np.array(7),
    "bytes": count(5, dtype=np.uint8),
    "flags": np.array([True, False, True]),
    "none": np.zeros((0, 4), np.float32),
}
TRAINED = {
    "0.weight": count(2, 3),
    "0.bias": count(2),
    "1.weight": count(2),
    "1.bias": count(2),
    "1.running_mean": count(2),
    "1.running_var": count(2),
    "1.num_batches_tracked": np.array(0),
}


def assert_same(tensors, expected):
    assert tensors.keys() == expected.keys()
    for key, array in tensors.items():
        np.testing.assert_array_equal(array, expected[key], strict=True, err_msg=key)
        assert array.flags.c_contiguous, key
        assert array.flags.aligned, key


def refuse(path) -> str:
    """Returns the one line with which a file is refused."""
    with pytest.raises(UserError) as error:
        read_torch_file(path)
    message = str(error.value)
    assert str(path) in message
    assert message.isprintable()
    return message


@pytest.mark.parametrize("name", ["plain_zip.pth", "plain_legacy.pth", "plain.safetensors"])
def test_every_layout_and_dtype_whatever_the_files_name(name, tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes((FILES / name).read_bytes())
    assert_same(read_torch_file(path), PLAIN)


@pytest.mark.parametrize("name", ["training_zip.pth", "training_legacy.pth"])
def test_the_weights_of_a_training_checkpoint(name):
    assert_same(read_torch_file(FILES / name), TRAINED)


def test_float32_is_not_copied():
    tensors = read_torch_file(FILES / "plain_zip.pth")
    assert np.shares_memory(tensors["tied.first"], tensors["tied.second"])
    assert not tensors["conv.weight"].flags.owndata


def test_a_view_of_a_legacy_storage(tmp_path):
    part = storage(10, more=b"(S'view'\nI4\nI3\nt")
    pickled = items(whole=tensor(storage(10), [10], [1]), part=tensor(part, [2], [1], offset=1))
    path = write_legacy(tmp_path / "a.pth", pickled + b".", {"0": count(10)})
    tensors = read_torch_file(path)
    np.testing.assert_array_equal(tensors["part"], [5, 6])
    outside = items(part=tensor(storage(10, more=b"(S'view'\nI8\nI3\nt"), [2], [1]))
    assert "damaged" in refuse(write_legacy(path, outside + b".", {"0": count(10)}))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_objects_beside_the_weights_are_ignored_in_every_protocol(protocol, tmp_path):
    beside = {
        "options": argparse.Namespace(a=[1, {"b": None}], c=frozenset({2.5, -1, 10**30})),
        "paths": [pathlib.PurePosixPath("a/b"), datetime.timedelta(3)],
        "array": [np.arange(3), np.float32(1), np.dtype(np.int64), b"\xff\x00", True, ()],
        "counter": collections.Counter("abca"),
        ("a", "b"): collections.defaultdict(list, x=[1]),
        7: {1, 2, "\u20ac"},
        "cycle": [],
    }
    beside["cycle"].append(beside)
    rest = pickle.dumps(beside, protocol=protocol)[2 if protocol >= 2 else 0 : -1]
    pickled = items(w=tensor(storage(2), [2], [1]), beside=rest)
    path = write_zip(tmp_path / "a.pth", pickled + b".", {"data/0": count(2).tobytes()})
    assert_same(read_torch_file(path), {"w": count(2)})


def test_lightning_checkpoints_hold_objects_of_lightning(tmp_path):
    pickled = items(
        hparams=b"comegaconf.dictconfig\nDictConfig\n)\x81}S'x'\nctyping\nAny\nsb",
        callbacks=b"}cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n}s",
        state=b"cpytorch_lightning.trainer.states\nTrainerFn\n(S'fit'\ntR(I1\ne",
        settings=b"cpytorch_lightning.utilities.parsing\nAttributeDict\n)R(S'a'\nI1\nu",
        state_dict=items(w=tensor(storage(2), [2], [1])),
    )
    path = write_zip(tmp_path / "a.ckpt", pickled + b".", {"data/0": count(2).tobytes()})
    assert_same(read_torch_file(path), {"w": count(2)})


@pytest.mark.parametrize("kind", ["sparse", "quantised", "complex"])
def test_tensors_of_other_kinds_are_refused_by_name(kind):
    assert f"the tensor w is {kind}" in refuse(FILES / f"{kind}.pth")


def test_a_tensor_without_data():
    assert "the tensor w is without data" in refuse(FILES / "meta.pth")


def test_a_whole_module_and_a_script_say_what_to_save_instead():
    message = refuse(FILES / "module.pth")
    assert "torch.nn.modules.container.Sequential" in message
    assert "nothing was run" in message
    assert "save model.state_dict()" in message
    assert "torch.jit.load(FILE).state_dict()" in refuse(FILES / "script.pt")


def test_what_is_no_file_of_weights(tmp_path):
    path = tmp_path / "a.pth"
    assert "cannot read" in refuse(path)
    assert "directory" in refuse(tmp_path)
    path.touch()
    assert "is empty" in refuse(path)
    os.mkfifo(tmp_path / "pipe")
    assert "not an ordinary file" in refuse(tmp_path / "pipe")
    for content in (
        b"<!DOCTYPE html><html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x89PNG\r\n\x1a\n",
        b".",
        b"\x80",
        b"{}",
        np.random.default_rng(0).bytes(5000),
    ):
        path.write_bytes(content)
        assert "not a file of weights" in refuse(path)
    path.write_bytes(b"\x80\x04K\x01.")
    assert "is a pickle, but not one that torch.save wrote" in refuse(path)
    np.savez(tmp_path / "b.npz", a=count(3))
    assert "is a zip archive, but not one" in refuse(tmp_path / "b.npz")


def test_files_without_tensors_say_what_they_hold(tmp_path):
    path = tmp_path / "a.pth"
    assert "no tensors by name: it is a saved list" in refuse(write_zip(path, b"(l."))
    assert "no tensors by name: it is an empty dict" in refuse(write_zip(path, b"(d."))
    state = tensor(storage(2), [2], [1])
    adam = items(state=items(a=state), param_groups=b"(l") + b"."
    parts = {"data/0": count(2).tobytes()}
    assert "no tensors by name: its keys are state, param_groups" in refuse(
        write_zip(path, adam, parts)
    )
    path.write_bytes(struct.pack("<Q", 2) + b"{}")
    assert "no tensors" in refuse(path)


@pytest.mark.parametrize(
    "name", ["plain_zip.pth", "plain_legacy.pth", "plain.safetensors", "training_legacy.pth"]
)
def test_files_cut_anywhere_are_refused(name, tmp_path):
    content = (FILES / name).read_bytes()
    path = tmp_path / name
    for size in [*range(1, len(content), 29), *range(len(content) - 8, len(content))]:
        path.write_bytes(content[:size])
        message = refuse(path)
        # Of the first few bytes nothing can tell what they were.
        too_short = size < 20 and "not a file of weights" in message
        assert "damaged or incomplete" in message or too_short, size


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("name", ["plain_zip.pth", "plain_legacy.pth", "plain.safetensors"])
def test_files_with_wrong_bytes_are_refused_or_read(name, tmp_path):
    content = np.frombuffer((FILES / name).read_bytes(), np.uint8)
    path = tmp_path / name
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        changed = content.copy()
        changed[rng.integers(len(content), size=3)] = rng.integers(256, size=3)
        path.write_bytes(changed.tobytes())
        try:
            tensors = read_torch_file(path)
        except UserError:
            refused += 1
            refuse(path)
        else:
            assert all(array.size < 1000 for array in tensors.values())
    assert 20 < refused < 400


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ([3], [1], 0),
        ([2], [1], 1),
        ([2], [2], 0),
        ([2, 2], [1, 1], 0),
        ([1], [1], 2**70),
        ([2], [2**70], 0),
        ([2], [-1], 1),
        ([2], [1], -1),
        ([-1], [1], 0),
        ([2], [1, 1], 0),
        ([2**70, 0], [1, 1], 0),
        ([2**62, 2**62, 0], [1, 1, 1], 0),
        ([1] * 65, [1] * 65, 0),
    ],
)
def test_tensors_outside_of_their_data_are_refused(shape, strides, offset, tmp_path):
    pickled = items(w=tensor(storage(2), shape, strides, offset)) + b"."
    path = write_zip(tmp_path / "a.pth", pickled, {"data/0": count(2).tobytes()})
    assert "damaged or incomplete" in refuse(path)
    assert "damaged or incomplete" in refuse(write_legacy(path, pickled, {"0": count(2)}))


def test_a_storage_that_is_shorter_than_it_says_is_refused(tmp_path):
    pickled = items(w=tensor(storage(3), [3], [1])) + b"."
    path = tmp_path / "a.pth"
    assert "the tensor w" in refuse(write_zip(path, pickled, {"data/0": count(2).tobytes()}))
    assert "the tensor w" in refuse(write_zip(path, pickled))
    assert "damaged" in refuse(write_legacy(path, pickled, {"0": count(2)}))
    assert "damaged" in refuse(write_legacy(path, pickled))


def test_a_tensor_may_repeat_its_data_but_not_fill_the_memory(tmp_path):
    path = tmp_path / "a.pth"
    parts = {"data/0": count(2).tobytes()}
    small = items(w=tensor(storage(2), [3, 2], [0, 1])) + b"."
    assert_same(read_torch_file(write_zip(path, small, parts)), {"w": np.tile(count(2), (3, 1))})
    for shape in ([2**20, 2**20], [2**70, 1]):
        large = items(w=tensor(storage(2), shape, [0, 0])) + b"."
        assert "not an ordinary checkpoint" in refuse(write_zip(path, large, parts))
    one = tensor(storage(2), [2**20], [0])
    many = items(first=one + b"p1\n", **{f"w{index}": b"g1\n" for index in range(30)}) + b"."
    assert "not an ordinary checkpoint" in refuse(write_zip(path, many, parts))


def test_a_memo_of_any_size_takes_no_memory(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\xff.")
    assert "is a pickle, but not one" in refuse(path)


def test_dicts_within_dicts_without_end(tmp_path):
    doubling = b"(dp0\n0" + b"".join(
        b"(dS'a'\ng%d\nsS'b'\ng%d\nsp%d\n0" % (level, level, level + 1) for level in range(200)
    )
    path = write_zip(tmp_path / "a.pth", doubling + b"g200\n.")
    assert "no tensors" in refuse(path)
    deep = b"}S'a'\n" * 5000 + b"N" + b"s" * 5000 + b"."
    assert "no tensors" in refuse(write_zip(path, deep))
    nested_key = b"(d" + b")" + b"\x85" * 300_000 + b"Ns" + b"."
    assert "no tensors" in refuse(write_zip(path, nested_key))
    nested_set = b"\x8f(" + b")" + b"\x85" * 300_000 + b"\x90" + b"."
    assert "no tensors" in refuse(write_zip(path, nested_set))


def test_archives_that_torch_save_does_not_write(tmp_path):
    path = tmp_path / "a.pth"
    pickled = items(w=tensor(storage(2), [2], [1])) + b"."
    parts = {"data/0": count(2).tobytes()}
    big = {**parts, "byteorder": b"big"}
    assert "big-endian" in refuse(write_zip(path, pickled, big))
    packed = write_zip(path, pickled, parts, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in refuse(packed)
    write_zip(path, pickled, parts)
    start = path.read_bytes().index(b"PK\3\4", 1)
    path.write_bytes(path.read_bytes()[:start] + b"XX" + path.read_bytes()[start + 2 :])
    assert "archive/data/0 is cut short" in refuse(path)
    assert "not one that torch.save wrote" in refuse(write_zip_without_pickle(path))


def write_zip_without_pickle(path):
    with zipfile.ZipFile(path, "w"):
        pass
    return path


def test_wrong_checksums_do_not_matter(tmp_path):
    """torch.save can be told not to compute them."""
    path = write_zip(
        tmp_path / "a.pth",
        items(w=tensor(storage(2), [2], [1])) + b".",
        {"data/0": count(2).tobytes()},
    )
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            content = content.replace(struct.pack("<I", member.CRC), b"\0\0\0\0")
    path.write_bytes(content)
    assert_same(read_torch_file(path), {"w": count(2)})


def test_a_legacy_file_of_another_version(tmp_path):
    content = (FILES / "plain_legacy.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(content.replace(b"\x80\x02M\xe9\x03.", b"\x80\x02M\xea\x03."))
    assert "unknown version" in refuse(tmp_path / "a.pth")
    path = write_legacy(tmp_path / "a.pth", NOTHING)
    assert "no tensors by name: it is a saved NoneType" in refuse(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
        {"dtype": "object", "shape": [2], "data_offsets": [0, 8]},
        {"shape": [2]},
        3,
    ],
)
def test_damaged_safetensors(entry, tmp_path):
    header = json.dumps({"w": entry}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    assert "damaged or incomplete" in refuse(path)


def test_safetensors_of_a_rare_dtype(tmp_path):
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(2))
    assert "the tensor w is of dtype F8_E4M3" in refuse(path)


def test_names_from_a_file_do_not_break_the_line(tmp_path):
    name = "a\nb\x1b[31m" + "c" * 1000
    key = b"X" + struct.pack("<I", len(name)) + name.encode()
    pickled = b"(d" + key + tensor(storage(2, kind="ComplexFloatStorage"), [2], [1]) + b"s."
    message = refuse(write_zip(tmp_path / "a.pth", pickled, {"data/0": bytes(16)}))
    assert "is complex" in message
    assert len(message) < 400
