"""PNG files with 16 bits a channel (W3C PNG, third edition), of which Pillow keeps 8 of colours."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import ImageFile

from faceshifter_jax.compiled import compiled

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_CHANNELS = {0: 1, 4: 2, 2: 3, 6: 4}
_COLOUR_TYPES = {channels: kind for kind, channels in _CHANNELS.items()}
_INCH = 0.0254


def holds_deep_colours(image: ImageFile.ImageFile) -> bool:
    """Whether a file holds 16 bits a channel of which Pillow, that has opened it, gives 8."""
    return image.mode in ("RGB", "RGBA", "LA") and any("16" in str(t.args) for t in image.tile)


def read_png16(file: str | Path | bytes) -> np.ndarray | None:
    """Reads a PNG of 16 bits a channel, a file or its content: uint16 (H, W, C); else None.

    Interlaced ones and those with a transparent colour also give None.

    Raises:
      ValueError: the file is damaged.
    """
    content = file if isinstance(file, bytes) else Path(file).read_bytes()
    if content[:8] != _SIGNATURE:
        return None
    width, height, depth, kind, _, _, interlaced = _HEADER.unpack(content[16:29])
    chunks = list(_chunks(content))
    if depth != 16 or kind not in _CHANNELS or interlaced or any(k == b"tRNS" for k, _ in chunks):
        return None
    step = 2 * _CHANNELS[kind]
    packed = b"".join(data for name, data in chunks if name == b"IDAT")
    try:
        raw = zlib.decompressobj().decompress(packed, height * (1 + width * step))
    except zlib.error as error:
        raise ValueError(f"its pixels are damaged ({error})") from error
    if len(raw) != height * (1 + width * step):
        raise ValueError("its pixels are cut off")
    lines = np.frombuffer(raw, np.uint8).reshape(height, -1)
    if lines[:, 0].max() > 4:
        raise ValueError("its pixels are damaged (unknown filter)")
    values = _unfilter(lines[:, 0], lines[:, 1:].copy(), step)
    return values.view(">u2").reshape(height, width, -1).astype(np.uint16)


def write_png16(
    path: str | Path,
    values: np.ndarray,
    *,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> None:
    """Writes a PNG of 16 bits a channel.

    Args:
      path: the file.
      values: uint16 (H, W, C), C from 1 to 4 as in `Photo.stored`.
      icc_profile, exif, xmp, dpi: as in `Metadata`; EXIF may begin with its JPEG marker.
    """
    height, width, channels = values.shape
    lines = np.ascontiguousarray(values.astype(">u2")).view(np.uint8).reshape(height, -1)
    up = lines.copy()
    up[1:] -= lines[:-1]
    filtered = np.column_stack([np.full(height, 2, np.uint8), up])
    with Path(path).open("wb") as file:
        file.write(_SIGNATURE)
        header = _HEADER.pack(width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
        file.write(_chunk(b"IHDR", header))
        if icc_profile:
            file.write(_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile)))
        if dpi:
            across, down = (round(value / _INCH) for value in dpi)
            file.write(_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
        if exif:
            file.write(_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))
        if xmp:
            file.write(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
        file.write(_chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6)))
        file.write(_chunk(b"IEND", b""))


def _chunks(content: bytes):
    place = 8
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        name, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        yield name, data
        place += 12 + length


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@compiled()
def _unfilter(filters: np.ndarray, lines: np.ndarray, step: int) -> np.ndarray:
    """Takes the PNG filters back in place (section 9): uint8 (H, bytes a line)."""
    height, length = lines.shape
    for row in range(height):
        kind = filters[row]
        for i in range(length):
            left = int(lines[row, i - step]) if i >= step else 0
            above = int(lines[row - 1, i]) if row else 0
            corner = int(lines[row - 1, i - step]) if row and i >= step else 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = above
            elif kind == 3:
                guess = (left + above) // 2
            elif kind == 4:
                by_left, by_above = abs(above - corner), abs(left - corner)
                by_corner = abs(left + above - 2 * corner)
                if by_left <= by_above and by_left <= by_corner:
                    guess = left
                elif by_above <= by_corner:
                    guess = above
                else:
                    guess = corner
            else:
                guess = 0
            lines[row, i] = (int(lines[row, i]) + guess) & 255
    return lines
