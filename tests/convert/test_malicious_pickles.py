"""Pickles that run code when they are unpickled: they are refused, and run nothing."""

import copyreg
import functools
import operator
import os
import pickle
import sys

import pytest
from pickle_parts import (
    EMPTY_DICT,
    LEGACY_HEAD,
    items,
    storage,
    tensor,
    text,
    write_legacy,
    write_zip,
)

from faceshifter_jax.convert.torch_file import read_torch_file
from faceshifter_jax.errors import UserError

EXTENSION = 240


class Call:
    """Pickled, it is a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def routes(marker):
    """Yields (pickle, refused name); `pickle.loads` makes `marker` of each."""
    command = f"touch {marker}"
    for protocol in range(6):
        pickled = pickle.dumps({"state_dict": Call(os.system, command)}, protocol=protocol)
        yield pickled, "posix.system"
    arguments = b"(" + text(command)
    yield arguments + b"iposix\nsystem\n.", "posix.system"
    yield b"(cposix\nsystem\n" + text(command) + b"o.", "posix.system"
    name = b"\x8c\x05posix\x8c\x06system\x93"
    yield b"\x80\x04" + name + arguments + b"tR.", "posix.system"
    yield b"(" + name + b"\x94" + b"1h\x00" + arguments + b"tR.", "posix.system"
    opened = f"open({str(marker)!r}, 'w')"
    calls = {
        "__builtin__.eval": Call(eval, opened),
        "__builtin__.exec": Call(exec, opened),
        f"{open.__module__}.open": Call(open, str(marker), "w"),
        "functools.partial": Call(functools.partial(os.system, command)),
        "operator.methodcaller": Call(operator.methodcaller("touch"), marker),
    }
    for refused, call in calls.items():
        yield pickle.dumps(call, protocol=2), refused
    path = pickle.dumps(marker, protocol=2)[2:-1]
    method = b"c__builtin__\ngetattr\n(" + path + b"S'touch'\ntR"
    yield method + b")R.", "__builtin__.getattr"


@pytest.fixture
def extension():
    """`os.system` as a number that this process has used already."""
    copyreg.add_extension("posix", "system", EXTENSION)
    assert pickle.loads(b"\x82\xf0.") is os.system
    yield
    copyreg.remove_extension("posix", "system", EXTENSION)


def files_with(pickled, path):
    """Yields `path`, written anew with the pickle at each place that a file has for one."""
    yield write_zip(path, pickled)
    yield write_legacy(path, pickled)
    legacy = [*LEGACY_HEAD, EMPTY_DICT]
    for before in range(len(legacy) + 1):
        path.write_bytes(b"".join(legacy[:before]) + pickled)
        yield path


def assert_runs_nothing(pickled, refused, marker, path):
    pickle.loads(pickled)
    assert marker.exists(), f"this pickle runs nothing at all: {pickled}"
    marker.unlink()
    for file in files_with(pickled, path):
        with pytest.raises(UserError) as error:
            read_torch_file(file)
        assert not marker.exists(), pickled
        expected = f"{path} would run {refused} when loaded: refused, nothing was run"
        assert str(error.value) == expected, pickled


def test_calls_are_refused_by_every_route(tmp_path):
    marker = tmp_path / "marker"
    for pickled, refused in routes(marker):
        assert_runs_nothing(pickled, refused, marker, tmp_path / "a.pth")


@pytest.mark.usefixtures("extension")
@pytest.mark.parametrize("opcode", [b"\x82\xf0", b"\x83\xf0\x00", b"\x84\xf0\x00\x00\x00"])
def test_extensions_are_refused_though_this_process_knows_them(opcode, tmp_path):
    marker = tmp_path / "marker"
    pickled = opcode + b"(" + text(f"touch {marker}") + b"tR."
    assert_runs_nothing(pickled, f"copyreg.extension {EXTENSION}", marker, tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "__import__"),
        ("builtins", "compile"),
        ("collections", "OrderedDict.__init__"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections.abc", "OrderedDict"),
        ("faceshifter_jax.convert.torch_pickle", "resolve"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy", "ndarray.tofile"),
        ("numpy.core.multiarray", "fromfile"),
        ("lightning", "os system"),
        ("lightning.pytorch.cli", "LightningCLI"),
        ("lightning.pytorch.cli", "instantiate_class"),
        ("lightning_fabric.utilities.cloud_io", "_load"),
        ("omegaconf", "os.system"),
        ("omegaconf.omegaconf", "OmegaConf"),
        ("pathlib", "Path.unlink"),
        ("pytorch_lightning_evil", "run"),
        ("pytorch_lightning.utilities", "os.system"),
        ("shutil", "rmtree"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch", "serialization.os.system"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._utils", "_rebuild_parameter_with_state.__class__"),
        ("torch.hub", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("", ""),
        (" ", "\n"),
    ],
)
def test_other_names_are_refused(module, name, tmp_path):
    packed = b"".join(
        b"\x8d" + len(part).to_bytes(8, "little") + part.encode() for part in (module, name)
    )
    path = write_zip(tmp_path / "a.pth", packed + b"\x93.")
    with pytest.raises(UserError, match="nothing was run") as error:
        read_torch_file(path)
    assert str(error.value).isprintable()
    assert f"{module}.{name}" in str(error.value) or not name.isprintable()


def test_nothing_is_imported(tmp_path):
    path = write_zip(tmp_path / "a.pth", b"cthis\ns\n.")
    with pytest.raises(UserError, match=r"this\.s"):
        read_torch_file(path)
    assert "this" not in sys.modules


def test_whole_objects_say_so(tmp_path):
    for pickled in (b"cmodel\nBackbone\n)\x81}b.", b"c__main__\nNet\n)R."):
        path = write_zip(tmp_path / "a.pth", pickled)
        with pytest.raises(UserError, match="holds a whole Python object, not a state_dict"):
            read_torch_file(path)


def test_known_names_keep_no_state_and_call_nothing(tmp_path):
    """Attributes set on what is harmless, and calls of what harmless things give back."""
    marker = tmp_path / "marker"
    weights = tensor(storage(2), [2], [1])
    state = b"(dS'__globals__'\n(lsS'__setstate__'\n(ls(dS'__code__'\n(ls\x86b"
    odd = {
        "state_on_function": b"ctorch._utils\n_rebuild_tensor_v2\n" + state,
        "state_on_class": b"ccollections\nOrderedDict\n" + state,
        "state_on_dict": b"ccollections\nOrderedDict\n)R" + state,
        "state_on_tensor": weights + state,
        "state_on_inert": b"cpathlib\nPosixPath\n(" + text(str(marker)) + b"tR" + state,
        "calls": b"cargparse\nNamespace\n(" + text(str(marker)) + b"tR)R)R)\x81)}\x92",
        "append": b"cargparse\nNamespace\n)R(NNNe(NNu",
    }
    path = tmp_path / "a.pth"
    write_zip(path, items(w=weights, **odd) + b".", {"data/0": bytes(8)})
    assert list(read_torch_file(path)) == ["w", "state_on_tensor"]
    assert not marker.exists()
    for wrong in (b"NN\x86R.", b"(dNR.", b"S'a'\n)R.", weights + b")R.", b"(lNNs.", b"(dNa."):
        with pytest.raises(UserError, match="damaged or incomplete"):
            read_torch_file(write_zip(path, wrong))
