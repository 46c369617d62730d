"""Pickles and the files around them, put together by hand as no library writes them."""

import pickle
import struct
import zipfile

import numpy as np

LEGACY_HEAD = [pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {})]
EMPTY_DICT = b"}."
NOTHING = b"N."


def text(value: str) -> bytes:
    return b"S" + repr(value).encode() + b"\n"


def numbers(values) -> bytes:
    return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"


def storage(size: int, key: str = "0", kind: str = "FloatStorage", more: bytes = b"") -> bytes:
    """The instructions for a persistent id; `more` are those of its sixth part."""
    head = b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n"
    return head + text(key) + text("cpu") + b"I%d\n" % size + more + b"tQ"


def tensor(source: bytes, shape, strides, offset: int = 0) -> bytes:
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + source + b"I%d\n" % offset
    return call + numbers(shape) + numbers(strides) + b"I00\nNtR"


def items(**values: bytes) -> bytes:
    """The instructions for a dict."""
    return b"(d" + b"".join(text(key) + value + b"s" for key, value in values.items())


def write_zip(path, pickled: bytes, parts=None, **options):
    """Writes an archive as torch.save lays it out; `parts` are further members."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in {"data.pkl": pickled, **(parts or {})}.items():
            archive.writestr(f"archive/{name}", content)
    return path


def write_legacy(path, pickled: bytes, storages=None):
    """Writes the older format; `storages` are float32 arrays by key."""
    storages = storages or {}
    content = b"".join([*LEGACY_HEAD, pickled, pickle.dumps(list(storages), protocol=2)])
    for array in storages.values():
        content += struct.pack("<q", array.size) + array.astype(np.float32).tobytes()
    path.write_bytes(content)
    return path
