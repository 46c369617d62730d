"""EXIF of photographs: keeps what stays true of a swapped one, and tolerates damage."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

ORIENTATION = 0x0112
# Who, when, where and with what. Thumbnails, maker's notes and previews would show the old face.
_KEPT = (
    *("ImageDescription", "Make", "Model", "XResolution", "YResolution", "ResolutionUnit"),
    *("DateTime", "Artist", "Copyright"),
)
_DROPPED_CAPTURE = ("MakerNote", "ExifInteroperabilityOffset")
_PARTS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_HEADER = 8


@dataclass(frozen=True)
class Exif:
    """The content of a picture's EXIF.

    Attributes:
      orientation: 1 to 8; 1 if it is missing or invalid.
      kept: what stays true of the upright picture, as the bytes of a file; None for nothing.
      damaged: whether some of it could not be read.
    """

    orientation: int
    kept: bytes | None
    damaged: bool


def load_with_exif(image: Image.Image) -> Exif:
    """Decodes the pixels of an open picture, as they are stored, and reads its EXIF.

    What is damaged in its EXIF is left out, never an error.

    Raises:
      Exception: what Pillow raises for broken pixels.
    """
    # The EXIF of a PNG may follow its pixels, that of a TIFF is read from the file.
    if image.format != "TIFF":
        image.load()
    exif = _read_exif(image)
    if image.format == "TIFF":
        image.load()
    return exif


def _read_exif(image: Image.Image) -> Exif:
    found = _Found()
    data = image.info.get("exif")
    if isinstance(data, bytes) and data:
        found.read_block(data)
    else:
        found.read_tiff(image)
    orientation = found.main.get(ORIENTATION, 1)
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        orientation = 1
    names = {ExifTags.Base[name].value for name in _KEPT}
    kept = found.writable({tag: value for tag, value in found.main.items() if tag in names})
    capture, places = (found.writable(found.parts[part], part) for part in _PARTS)
    _adapt_capture(capture, orientation)
    block = found.build(kept, dict(zip(_PARTS, (capture, places), strict=True)))
    return Exif(orientation, block, found.damaged)


def _adapt_capture(capture: dict[int, Any], orientation: int) -> None:
    for name in _DROPPED_CAPTURE:
        capture.pop(ExifTags.Base[name].value, None)
    if orientation >= 5:
        width, height = (ExifTags.Base[f"ExifImage{name}"].value for name in ("Width", "Height"))
        if width in capture and height in capture:
            capture[width], capture[height] = capture[height], capture[width]


class _Found:
    """Tags of a picture, as many of them as can be read."""

    def __init__(self) -> None:
        self.main: dict[int, Any] = {}
        self.parts: dict[int, dict[int, Any]] = {part: {} for part in _PARTS}
        self.damaged = False

    def read_block(self, data: bytes) -> None:
        """Reads a block as JPEG, PNG, WebP, AVIF and HEIC files hold it."""
        data = data.removeprefix(b"Exif\0\0")
        with self._noting_damage():
            offset = TiffImagePlugin.ImageFileDirectory_v2(data[:_HEADER]).next
            self.main = self._read_directory(data, offset, None)
        for part in _PARTS:
            place = self.main.get(part)
            if isinstance(place, int):
                self.parts[part] = self._read_directory(data, place, part)
            elif place is not None:
                self.damaged = True

    def read_tiff(self, image: Image.Image) -> None:
        """Asks Pillow for the tags of a picture that has them elsewhere than in a block."""
        with self._noting_damage():
            exif = image.getexif()
            for tag in list(exif):
                with self._noting_damage():
                    self.main[tag] = exif[tag]
        for part in _PARTS:
            if part in self.main:
                with self._noting_damage():
                    self.parts[part] = dict(image.getexif().get_ifd(part))

    def writable(self, tags: Mapping[int, Any], part: int | None = None) -> dict[int, Any]:
        """Returns the tags that can be written, too; `part` is where they belong."""
        kept = {}
        for tag, value in tags.items():
            alone = ({tag: value}, {}) if part is None else ({}, {part: {tag: value}})
            if self.build(*alone):
                kept[tag] = value
        return kept

    def build(self, main: Mapping[int, Any], parts: Mapping[int, Any]) -> bytes | None:
        """Returns a block with these tags; None where there are none or they cannot be written."""
        exif = Image.Exif()
        for tag, value in (*main.items(), *parts.items()):
            if value or tag not in _PARTS:
                exif[tag] = value
        if not len(exif):
            return None
        with self._noting_damage():
            return exif.tobytes()
        return None

    def _read_directory(self, data: bytes, offset: int, group: int | None) -> dict[int, Any]:
        tags: dict[int, Any] = {}
        with self._noting_damage():
            directory = TiffImagePlugin.ImageFileDirectory_v2(data[:_HEADER], group=group)
            file = io.BytesIO(data)
            file.seek(offset)
            directory.load(file)
            for tag in list(directory):
                with self._noting_damage():
                    tags[tag] = directory[tag]
        return tags

    @contextlib.contextmanager
    def _noting_damage(self) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        # Damaged tags make Pillow raise nearly anything: struct.error, TypeError, SyntaxError, ...
        except Exception:
            self.damaged = True
