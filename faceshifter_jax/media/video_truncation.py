"""Detecting video files that are cut off or joined, by the lengths that their containers record."""

import itertools
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO


def ends_early(path: Path, format_name: str) -> bool:
    """Whether a file is shorter than its boxes, elements or chunks say.

    Args:
      path: the file.
      format_name: of FFmpeg's reader for it. False for formats without lengths.
    """
    return _check(_ENDS_EARLY, path, format_name)


def holds_several(path: Path, format_name: str) -> bool:
    """Whether a file is several videos one after the other, of which FFmpeg reads only the first.

    Args:
      path: the file.
      format_name: of FFmpeg's reader for it. Of formats that are read to their end the answer is
        no.
    """
    return _check(_HOLDS_SEVERAL, path, format_name)


_Checks = dict[str, Callable[[BinaryIO, int], bool]]


def _check(checks: _Checks, path: Path, format_name: str) -> bool:
    check = next((check for name, check in checks.items() if name in format_name.split(",")), None)
    if check is None:
        return False
    with path.open("rb") as file:
        return check(file, os.fstat(file.fileno()).st_size)


def _mov_boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """ISO/IEC 14496-12, 4.2: a file is a sequence of boxes; their types, and where they end."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        # 0 goes on to the end of the file; less is no box, as what follows the last one sometimes.
        if length < 8:
            return
        place += length
        yield kind, place


def _mov_ends_early(file: BinaryIO, size: int) -> bool:
    return any(end > size for _, end in _mov_boxes(file, size))


def _mov_holds_several(file: BinaryIO, size: int) -> bool:
    """There is one index, for all media data; in fragments all of it comes after the index."""
    kinds = [kind for kind, _ in _mov_boxes(file, size)]
    return kinds.count(b"moov") > 1 and kinds.count(b"mdat") > 1


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


_FLV_START = b"FLV\x01"


def _flv_holds_several(file: BinaryIO, size: int) -> bool:
    """Every tag says its length and is followed by it; a file's header says its own."""
    file.seek(5)
    place = int.from_bytes(file.read(4), "big") + 4
    while place < size:
        file.seek(place)
        head = file.read(4)
        if head == _FLV_START:
            return True
        length = int.from_bytes(head[1:], "big")
        file.seek(place + 11 + length)
        if file.read(4) != struct.pack(">I", length + 11):
            return False
        place += 11 + length + 4
    return False


_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


def _asf_holds_several(file: BinaryIO, size: int) -> bool:
    """A sequence of objects, each with 16 bytes that say its kind and 8 with its length."""
    place = 0
    for number in itertools.count():
        file.seek(place)
        kind, length = file.read(16), int.from_bytes(file.read(8), "little")
        if number and kind == _ASF_HEADER:
            return True
        if length < 24:
            return False
        place += length
    return False


_ENDS_EARLY: _Checks = {
    "mov": _mov_ends_early,
    "matroska": _matroska_ends_early,
    "avi": _avi_ends_early,
    "flv": _flv_ends_early,
}
_HOLDS_SEVERAL: _Checks = {
    "mov": _mov_holds_several,
    "flv": _flv_holds_several,
    "asf": _asf_holds_several,
}
