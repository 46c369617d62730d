"""Content of a photograph's file besides the picture that is read; each loss is reported."""

import re
from collections.abc import Iterator
from typing import Any

from PIL import Image

from faceshifter_jax.media.provenance import xmp

_GAIN_MAP_NAMESPACES = {
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
}
_GAIN_MAP_MARKS = (b"urn:iso:std:iso:ts:21496:-1", b"hdrgainmap")
_DEPTH_NAMESPACES = (
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
    "http://ns.google.com/photos/dd/1.0/",
)
_MOTION = re.compile(
    rb"(MotionPhoto|MicroVideo)\s*(=\s*[\"']|>)\s*1|Semantic\s*(=\s*[\"']|>)\s*MotionPhoto"
)
_PEOPLE_NAMESPACES = {
    "http://www.metadataworkinggroup.com/schemas/regions/",
    "http://ns.microsoft.com/photo/1.2/",
    "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
}
_IPTC_RESOURCE, _IPTC_TAG = 0x0404, 33723
_JPEG_END = b"\xff\xd9"
_MOST_TO_COUNT = 16 * 2**20


def find_extras(image: Image.Image, content: bytes) -> list[str]:
    """Returns the parts of a file that are not read, each in a few words for the user.

    Args:
      image: the open picture.
      content: its file.
    """
    packet = image.info.get("xmp")
    packet = packet.encode() if isinstance(packet, str) else packet or b""
    found = xmp.namespaces(packet)
    notes = [*_lost_pictures(image, content, found)]
    if _MOTION.search(packet) or (image.format in ("JPEG", "MPO") and _has_film(content)):
        notes.append("the film in it is left out")
    if found & _PEOPLE_NAMESPACES or b"PersonInImage" in packet:
        notes.append("the names of people in it are left out")
    if _has_iptc(image):
        notes.append("its IPTC record is left out")
    if (bits := _deep_bits(image, content)) > 8:
        notes.append(f"its {bits} bits a channel became 8")
    return notes


def _lost_pictures(image: Image.Image, content: bytes, found: frozenset[str]) -> Iterator[str]:
    auxiliary = str(image.info.get("aux", ""))
    has_gain_map = found & _GAIN_MAP_NAMESPACES or any(mark in content for mark in _GAIN_MAP_MARKS)
    if has_gain_map or "gainmap" in auxiliary.lower():
        yield "its HDR gain map is left out"
    if image.info.get("depth_images") or any(n.startswith(_DEPTH_NAMESPACES) for n in found):
        yield "its depth map is left out"
    frames = count_frames(image, content)
    if frames is None:
        yield "of its frames the first is taken"
    elif frames > 1 and not (image.format == "MPO" and has_gain_map):
        kind = "pictures" if image.format in ("MPO", "HEIF") else "frames"
        yield f"of its {frames} {kind} the first is taken"


def count_frames(image: Image.Image, content: bytes) -> int | None:
    """Returns how many pictures a file has; None for several, where counting would take long."""
    if len(content) <= _MOST_TO_COUNT:
        return int(getattr(image, "n_frames", 1))
    return None if getattr(image, "is_animated", False) else 1


def _has_film(content: bytes) -> bool:
    """Whether a film follows the picture, as in motion photos."""
    end = content.rfind(b"ftyp")
    return end > 0 and content[: end - 4].rfind(_JPEG_END) >= 0 and _is_box(content, end - 4)


def _is_box(content: bytes, start: int) -> bool:
    size = int.from_bytes(content[start : start + 4], "big")
    brand = content[start + 8 : start + 12]
    return 8 < size <= 256 and start + size < len(content) and brand.isascii()


def _has_iptc(image: Image.Image) -> bool:
    resources: Any = image.info.get("photoshop")
    tags: Any = getattr(image, "tag_v2", {})
    return (isinstance(resources, dict) and _IPTC_RESOURCE in resources) or _IPTC_TAG in tags


def _deep_bits(image: Image.Image, content: bytes) -> int:
    """Bits a channel of a file whose picture Pillow gives with 8; 8 where it does not say."""
    if image.format == "HEIF":
        return int(image.info.get("bit_depth") or 8)
    if image.format == "AVIF":
        place = content.find(b"pixi", 0, 2**16)
        return content[place + 9] if 0 < place < len(content) - 9 else 8
    if image.format == "JPEG2000" and image.mode in ("RGB", "RGBA", "LA"):
        place = content.find(b"ihdr", 0, 2**16)
        bits = content[place + 14] if 0 < place < len(content) - 14 else 255
        return (bits & 127) + 1 if bits != 255 else 8
    return 8
