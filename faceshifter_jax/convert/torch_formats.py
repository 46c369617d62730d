"""The three kinds of weight files: the content of each, and where every storage lies in it.

- zip: torch.save since PyTorch 1.6; an archive of a pickle and, uncompressed, every storage;
- legacy: torch.save before; five pickles, then the storages one after another;
- safetensors: a header in JSON, then the tensors.
"""

import json
import math
import mmap
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import safetensors

from faceshifter_jax.convert.restricted_pickle import DamagedPickle, read_pickle
from faceshifter_jax.convert.torch_pickle import (
    Storage,
    Tensor,
    UnusableTensor,
    load_storage,
    resolve,
)
from faceshifter_jax.errors import UserError

_ZIP_STARTS = (b"PK\3\4", b"PK\5\6")
_ZIP_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ZIP_ENCRYPTED = 1
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_LEGACY_COUNT = struct.Struct("<q")
_SAFETENSORS_LARGEST_HEADER = 100_000_000
_SAFETENSORS_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


@dataclass(frozen=True)
class Saved:
    """The content of a file.

    Attributes:
      value: plain data, with a Tensor or UnusableTensor wherever a tensor was.
      storages: key of a Storage -> its bytes, a view of the file.
    """

    value: Any
    storages: Mapping[str, memoryview]


def read_saved(path: Path, content: mmap.mmap) -> Saved:
    """Reads a file of any of the three kinds, which is recognised by its content.

    Raises:
      UserError: it is none of them, or damaged.
      RefusedName: it would run code.
    """
    if content[:4] in _ZIP_STARTS:
        return _read_zip(path, content)
    header_size = int.from_bytes(content[:8], "little")
    if content[8:9] == b"{" and header_size <= _SAFETENSORS_LARGEST_HEADER:
        return _read_safetensors(path, content, header_size)
    return _read_legacy(path, content)


def _read_zip(path: Path, content: mmap.mmap) -> Saved:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise _damaged(path, "its table of contents is missing or wrong") from error
    root = _find_root(path, members)
    # Not through zipfile, which requires checksums: torch.save has an option to leave them out.
    window = memoryview(content)
    parts = {
        name.removeprefix(root): _find_member(path, window, member)
        for name, member in members.items()
        if name.startswith(root)
    }
    if bytes(parts.get("byteorder", b"little")) != b"little":
        raise UserError(f"{path} was saved on a big-endian machine: load and save it on another")
    return Saved(
        value=_read_pickle(path, BytesIO(parts["data.pkl"])),
        storages={
            name.removeprefix("data/"): part
            for name, part in parts.items()
            if name.startswith("data/")
        },
    )


def _find_root(path: Path, members: Mapping[str, Any]) -> str:
    """Returns the folder that holds everything, with its slash."""
    inside = [name.partition("/")[2] for name in members]
    if any(name == "constants.pkl" or name.startswith("code/") for name in inside):
        raise UserError(
            f"{path} is a TorchScript archive: save its weights in PyTorch with "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE), and convert that file"
        )
    for name in members:
        if name.endswith("/data.pkl") and name.count("/") == 1:
            return name.removesuffix("data.pkl")
    raise UserError(f"{path} is a zip archive, but not one that torch.save wrote")


def _find_member(path: Path, window: memoryview, member: zipfile.ZipInfo) -> memoryview:
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ZIP_ENCRYPTED:
        raise UserError(
            f"{path} is a compressed or encrypted archive: load and save it in PyTorch again"
        )
    header = window[member.header_offset :][: _ZIP_LOCAL_HEADER.size]
    if len(header) == _ZIP_LOCAL_HEADER.size:
        signature, name_size, extra_size = _ZIP_LOCAL_HEADER.unpack(header)
        start = member.header_offset + _ZIP_LOCAL_HEADER.size + name_size + extra_size
        part = window[start:][: member.file_size]
        if signature == _ZIP_STARTS[0] and len(part) == member.file_size:
            return part
    raise _damaged(path, f"{_printable(member.filename)} is cut short")


def _read_legacy(path: Path, content: mmap.mmap) -> Saved:
    content.seek(0)
    stream: Any = content  # It reads as a file does, but is not declared to.
    try:
        magic = read_pickle(stream, resolve, load_storage)
    except DamagedPickle as error:
        raise UserError(
            f"{path} is not a file of weights from torch.save or safetensors: it begins with "
            f"{content[:16]!r}"
        ) from error
    if magic != _LEGACY_MAGIC:
        raise UserError(f"{path} is a pickle, but not one that torch.save wrote")
    if _read_pickle(path, stream) != _LEGACY_VERSION:
        raise UserError(f"{path} is of an unknown version: load and save it in PyTorch again")
    _read_pickle(path, stream)  # Describes the machine; the storages are little-endian on all.
    dtypes: dict[str, np.dtype] = {}

    def load_and_note(persistent_id: Any) -> Storage:
        storage = load_storage(persistent_id)
        dtypes.setdefault(storage.key, storage.dtype)
        return storage

    value = _read_pickle(path, stream, load_and_note)
    keys = _read_pickle(path, stream)
    return Saved(value, _find_legacy_storages(path, content, keys, dtypes))


def _find_legacy_storages(
    path: Path, content: mmap.mmap, keys: Any, dtypes: Mapping[str, np.dtype]
) -> dict[str, memoryview]:
    if not isinstance(keys, list) or not all(isinstance(k, str) and k in dtypes for k in keys):
        raise _damaged(path, "its list of storages is wrong")
    window = memoryview(content)
    position = content.tell()
    storages = {}
    for key in keys:
        header = window[position:][: _LEGACY_COUNT.size]
        if len(header) < _LEGACY_COUNT.size:
            raise _damaged(path, "it ends too early")
        size = _LEGACY_COUNT.unpack(header)[0] * dtypes[key].itemsize
        start = position + _LEGACY_COUNT.size
        position = start + size
        if size < 0 or position > len(content):
            raise _damaged(path, "it ends too early")
        storages[key] = window[start:position]
    return storages


def _read_safetensors(path: Path, content: mmap.mmap, header_size: int) -> Saved:
    try:
        # Checks the whole header. Its numpy tensors do not support bfloat16 and are copies.
        with safetensors.safe_open(path, framework="numpy"):
            pass
    except safetensors.SafetensorError as error:
        raise _damaged(path, str(error)) from error
    start = 8 + header_size
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    window = memoryview(content)[start:]
    return Saved(
        value={key: _describe_safetensor(key, entry) for key, entry in header.items()},
        storages={key: window[slice(*entry["data_offsets"])] for key, entry in header.items()},
    )


def _describe_safetensor(key: str, entry: Mapping[str, Any]) -> Tensor | UnusableTensor:
    if entry["dtype"] not in _SAFETENSORS_DTYPES:
        return UnusableTensor(f"of dtype {entry['dtype']}")
    shape = tuple(entry["shape"])
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    dtype = np.dtype(_SAFETENSORS_DTYPES[entry["dtype"]])
    return Tensor(Storage(key, dtype, math.prod(shape)), 0, shape, strides)


def _read_pickle(path: Path, stream: BinaryIO, persistent_load=load_storage) -> Any:
    try:
        return read_pickle(stream, resolve, persistent_load)
    except DamagedPickle as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is damaged or incomplete, get it again: {_printable(what)}")


def _printable(text: str) -> str:
    return text[:200] if text.isprintable() else ascii(text[:200])
