"""Text from elsewhere, such as a file's name or tags, made fit to be printed."""

import unicodedata

_BYTES_OF_NAMES = range(0xDC80, 0xDD00)  # Python's stand-ins for bytes that are not UTF-8


def printable(text: str) -> str:
    """Returns a text with escapes for characters that are invisible or would disturb the text
    around.

    Line breaks, control characters, terminal sequences and marks that turn the direction of
    writing become `\\n`, `\\x1b`, `\\u202e`; spaces of any script and letters stay.
    """
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    if ord(character) in _BYTES_OF_NAMES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
