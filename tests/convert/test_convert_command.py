"""`faceshifter convert`, from published files of every kind to files that describe themselves."""

import hashlib
import os
import pickle
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from golden_networks import make_weight
from pickle_parts import storage, tensor, text, write_zip
from published_layouts import iresnet
from safetensors.numpy import save_file
from small_disks import small_disk

from faceshifter_jax.cli import main
from faceshifter_jax.networks.file import read_network_file
from faceshifter_jax.swapping.stages import build_embed, load_identity

SHAPES = iresnet((2, 2, 2, 2), width=4, side=2, size=8)


def make_tensors(shapes=SHAPES):
    return {
        key: np.zeros(shape, np.int64) if key.endswith("tracked") else make_weight(key, shape)
        for key, shape in shapes.items()
    }


def write_pth(path, tensors):
    """A state dict as torch.save writes it."""
    parts, values = {}, b""
    for number, (key, value) in enumerate(tensors.items()):
        kind = "LongStorage" if value.dtype == np.int64 else "FloatStorage"
        strides = [stride // value.itemsize for stride in value.strides]
        values += text(key)
        values += tensor(storage(value.size, str(number), kind), value.shape, strides) + b"s"
        parts[f"data/{number}"] = value.tobytes()
    return write_zip(path, b"(d" + values + b".", parts)


@pytest.fixture
def published(tmp_path):
    return write_pth(tmp_path / "some.bin", make_tensors())


def test_a_file_becomes_one_that_describes_itself_and_works(published, tmp_path, capsys):
    out = tmp_path / "arcface.safetensors"
    assert main(["convert", str(published), str(out)]) == 0
    said = capsys.readouterr().out
    assert "found: arcface_torch IResNet-18" in said
    assert "takes 32x32 RGB pictures, scaled as (x - 127.5) / 127.5, gives 8 numbers" in said
    file = read_network_file(out)
    assert file.source["sha256"] == hashlib.sha256(published.read_bytes()).hexdigest()
    assert file.source["file"] == "some.bin"
    network, _ = load_identity(str(out))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    embedding = build_embed(network)(pictures)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)

    bgr = tmp_path / "bgr.safetensors"
    assert main(["convert", str(published), str(bgr), "--channel-order", "bgr"]) == 0
    swapped = build_embed(load_identity(str(bgr))[0])(pictures[..., ::-1].copy())
    np.testing.assert_allclose(swapped, embedding, atol=1e-5)


@pytest.mark.parametrize("size", ["4k", "100k"])
def test_a_full_disk_is_one_line_and_the_old_file_stays(size, published, tmp_path, capsys):
    with small_disk(tmp_path, size) as disk:
        out = disk / "o.safetensors"
        assert main(["convert", str(published), str(out)]) == 2
        assert not list(disk.iterdir())
        out.write_text("old")
        assert main(["convert", str(published), str(out), "--overwrite"]) == 2
        assert [path.read_text() for path in disk.iterdir()] == ["old"]
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith(f"error: cannot write {out}: ")
        assert "No space left on device" in line


def test_files_may_be_read_by_whoever_the_umask_lets(published, tmp_path):
    before = os.umask(0o027)
    try:
        assert main(["convert", str(published), str(tmp_path / "o.safetensors")]) == 0
    finally:
        os.umask(before)
    assert (tmp_path / "o.safetensors").stat().st_mode & 0o777 == 0o640


def test_safetensors_of_the_same_tensors_give_the_same_network(published, tmp_path):
    save_file(make_tensors(), tmp_path / "weights.pth")
    for source, out in ((published, "a.safetensors"), (tmp_path / "weights.pth", "b.safetensors")):
        assert main(["convert", str(source), str(tmp_path / out)]) == 0
    networks = [read_network_file(tmp_path / f"{n}.safetensors").networks for n in "ab"]
    kernels = [n["identity"].variables["params"]["stem"]["kernel"] for n in networks]
    np.testing.assert_array_equal(*kernels)


def test_the_list_names_what_is_understood(capsys):
    assert main(["convert", "--list"]) == 0
    said = capsys.readouterr().out
    for name in ("IResNet", "IR-SE", "ghost", "linknet", "taotaonice", "HEAR-Net", "maum",
                 "ONNX", "MobileFaceNet", "workdir"):  # fmt: skip
        assert name in said


def refuse(arguments, message, capsys):
    assert main(["convert", *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said


class Runs:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def write_malicious(path):
    path.write_bytes(pickle.dumps(Runs(path.with_name("marker"))))


def write_broken(path, key, value):
    tensors = make_tensors()
    tensors[key].flat[1] = value
    write_pth(path, tensors)


def write_shape(path, key, shape):
    tensors = make_tensors()
    tensors[key] = make_weight(key, shape)
    write_pth(path, tensors)


BAD_FILES = {
    "nothing of ours": (
        lambda path: write_pth(path, {"head.weight": np.ones((3, 2), np.float32)}),
        "head.weight",
    ),
    "a tensor too small": (
        lambda path: write_shape(path, "layer1.0.conv1.weight", (4, 4, 1, 1)),
        "layer1.0.conv1.weight",
    ),
    "a number that is none": (
        lambda path: write_broken(path, "layer2.0.conv1.weight", np.nan),
        "not finite",
    ),
    "a negative variance": (
        lambda path: write_broken(path, "bn1.running_var", -1),
        "negative variances",
    ),
    "an endless key": (
        lambda path: write_zip(path, b"(d\x8b" + struct.pack("<i", 2500) + 2500 * b"1" + b"I1\ns."),
        "its keys are int",
    ),
    "two networks": (
        lambda path: write_pth(
            path,
            {f"{name}.{key}": value for name in "ab" for key, value in make_tensors().items()},
        ),
        "more than one network: save the state_dict of one",
    ),
    "a malicious pickle": (write_malicious, "system"),
    "a text": (lambda path: path.write_text("<html>not found</html>"), "bad"),
    "nothing": (lambda path: path.write_bytes(b""), "empty"),
    "a truncated zip": (
        lambda path: path.write_bytes(write_pth(path, make_tensors()).read_bytes()[:5000]),
        "damaged",
    ),
    "a truncated tflite": (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(9)), "bad"),
    "a truncated onnx": (lambda path: path.write_bytes(b"\x08\x06\x12\x07pytor"), "bad"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_end_in_one_line_and_leave_nothing(name, tmp_path, capsys):
    write, message = BAD_FILES[name]
    source = tmp_path / "bad"
    write(source)
    refuse([source, tmp_path / "out.safetensors"], message, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_bad_paths(published, tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    refuse([tmp_path / "none.pth", out], "no such file", capsys)
    refuse([published, tmp_path / "out.npz"], "must end in .safetensors", capsys)
    refuse([published, tmp_path / "no" / "out.safetensors"], "a directory that exists", capsys)
    refuse([published], "name a file and where to write", capsys)
    refuse([published, tmp_path / (300 * "o" + ".safetensors")], "File name too long", capsys)
    refuse([tmp_path, out], "no training run has saved a checkpoint", capsys)
    out.write_text("precious")
    refuse([published, out], "--overwrite", capsys)
    assert out.read_text() == "precious"
    assert main(["convert", str(published), str(out), "--overwrite"]) == 0
    capsys.readouterr()
    refuse([out, tmp_path / "again.safetensors"], "is a network file already", capsys)
    before = out.read_bytes()
    refuse([out, out, "--overwrite"], "name another file", capsys)
    assert out.read_bytes() == before


def test_missing_packages_are_named(tmp_path):
    """In a process without the extra packages, as a plain install has it."""
    blocker = tmp_path / "site" / "onnx"
    blocker.mkdir(parents=True)
    (blocker / "__init__.py").write_text("raise ModuleNotFoundError('No module onnx', name='onnx')")
    source = tmp_path / "some.onnx"
    source.write_bytes(b"\x08\x06" + bytes(20))
    words = ["-m", "faceshifter_jax.cli", "convert", source, tmp_path / "out.safetensors"]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "[convert]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_disk_leaves_nothing(published, tmp_path):
    """The file system is a tiny one where that can be made, else the case is not tested."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs the right to mount")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount")
    try:
        assert main(["convert", str(published), str(small / "out.safetensors")]) == 2
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
