"""Detecting cut-off video files by the lengths that their containers record."""

import os
import struct
from pathlib import Path
from typing import BinaryIO


def ends_early(path: Path, format_name: str) -> bool:
    """Whether a file is shorter than its boxes, elements or chunks say.

    Args:
      path: the file.
      format_name: of FFmpeg's reader for it. False for formats without lengths.
    """
    check = next((check for name, check in _CHECKS.items() if name in format_name.split(",")), None)
    if check is None:
        return False
    with path.open("rb") as file:
        return check(file, os.fstat(file.fileno()).st_size)


def _mov_ends_early(file: BinaryIO, size: int) -> bool:
    """ISO/IEC 14496-12, 4.2: a file is a sequence of boxes, each with its size."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        length = struct.unpack(">I", file.read(4))[0]
        file.seek(place + 8)
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        if length == 0:
            return False
        if length < 8:
            # No box, as what follows the last one in some files.
            return False
        place += length
    return place > size


def _matroska_ends_early(file: BinaryIO, size: int) -> bool:
    """RFC 8794: an EBML header, then the segment that holds everything else."""
    place = 0
    for _ in range(2):
        file.seek(place)
        head = file.read(16)
        id_length = _vint_length(head, 0)
        length = _vint_length(head, id_length)
        if not id_length or not length:
            return False
        data = int.from_bytes(head[id_length : id_length + length], "big")
        value = data & ((1 << (7 * length)) - 1)
        if value == (1 << (7 * length)) - 1:
            # Unknown while it was being written, as by browsers and recorders.
            return False
        place += id_length + length + value
    return place > size


def _vint_length(data: bytes, place: int) -> int:
    first = data[place] if place < len(data) else 0
    return 9 - first.bit_length() if first else 0


def _avi_ends_early(file: BinaryIO, size: int) -> bool:
    """RIFF chunks; there are several of them in files above 1 GB."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or length == 0:
            return False
        place += 8 + length + length % 2
    # The last byte may be padding that some leave out.
    return place - 1 > size


def _flv_ends_early(file: BinaryIO, size: int) -> bool:
    """Every tag is followed by its length."""
    file.seek(max(size - 4, 0))
    length = int.from_bytes(file.read(4), "big")
    if not 11 <= length <= size - 4:
        return True
    file.seek(size - 4 - length)
    head = file.read(4)
    return int.from_bytes(head[1:], "big") != length - 11


_CHECKS = {
    "mov": _mov_ends_early,
    "matroska": _matroska_ends_early,
    "avi": _avi_ends_early,
    "flv": _flv_ends_early,
}
