"""XMP in GIF files: an application extension of which Pillow knows nothing (XMP part 3, 1.1.2)."""

_BEGIN = b"!\xff\x0bXMP DataXMP"
# Readers that know nothing of XMP take each letter for the length of a block; wherever they end,
# these numbers lead them to the final zero.
_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"


def gif_xmp(packet: bytes) -> bytes:
    """Returns the block that holds a packet, to be put before a GIF's last byte."""
    return _BEGIN + packet + _TRAILER


def find_gif_xmp(content: bytes) -> bytes | None:
    """Returns the packet in a GIF file; None if it has none, or is another kind of file."""
    begin = content.find(_BEGIN) if content.startswith(b"GIF8") else -1
    end = content.find(_TRAILER, begin)
    return None if begin < 0 or end < 0 else content[begin + len(_BEGIN) : end]
