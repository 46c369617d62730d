"""PNG files with 16 bits a channel, with every filter that writers use."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from faceshifter_jax.media.png16 import read_png16, write_png16


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def paeth(left, above, corner):
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))


def filtered(lines, step, kinds):
    """Applies the filters of the PNG specification, byte by byte."""
    rows = []
    for y, kind in enumerate(kinds):
        row = [kind]
        for x, value in enumerate(lines[y]):
            left = int(lines[y][x - step]) if x >= step else 0
            above = int(lines[y - 1][x]) if y else 0
            corner = int(lines[y - 1][x - step]) if y and x >= step else 0
            guess = (0, left, above, (left + above) // 2, paeth(left, above, corner))[kind]
            row.append((int(value) - guess) % 256)
        rows.append(bytes(row))
    return b"".join(rows)


def file_of(values, kind, filters, interlaced=0, cut=0):
    height, width, channels = values.shape
    lines = values.astype(">u2").view(np.uint8).reshape(height, -1)
    packed = zlib.compress(filtered(lines, 2 * channels, filters))
    half = len(packed) // 2
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, interlaced)
    parts = [(b"IHDR", header), (b"IDAT", packed[:half]), (b"IDAT", packed[half : -cut or None])]
    content = b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")])
    return b"\x89PNG\r\n\x1a\n" + content


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_every_filter_is_taken_back(kind, channels, tmp_path):
    values = np.random.default_rng(kind).integers(0, 65536, (11, 7, channels), np.uint16)
    filters = [4, 3, 1, 0, 2, 4, 4, 3, 3, 1, 2]
    (tmp_path / "a.png").write_bytes(file_of(values, kind, filters))
    np.testing.assert_array_equal(read_png16(tmp_path / "a.png"), values)
    write_png16(tmp_path / "b.png", values)
    np.testing.assert_array_equal(read_png16(tmp_path / "b.png"), values)


def test_other_readers_read_what_is_written(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (9, 13, 3), np.uint16)
    write_png16(tmp_path / "a.png", values, xmp=b"<x/>", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        np.testing.assert_array_equal(np.asarray(image), values >> 8)
        assert image.info["xmp"] == b"<x/>"
        assert image.info["exif"].endswith(b"MM\0*\0\0\0\x08\0\0")


def test_damage_is_found_and_other_files_are_left_to_others(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (9, 13, 3), np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(file_of(values, 2, [0] * 9, interlaced=1))
    assert read_png16(path) is None
    path.write_bytes(b"hello")
    assert read_png16(path) is None
    Image.fromarray((values >> 8).astype(np.uint8)).save(path)
    assert read_png16(path) is None
    path.write_bytes(file_of(values, 2, [0] * 9, cut=40))
    with pytest.raises(ValueError, match="cut off"):
        read_png16(path)
