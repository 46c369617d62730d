"""Opening pictures of the supported formats, recognised by their content.

Pillow knows some fifty formats, and hands some of them to other programs: PostScript to
Ghostscript, which runs it.
"""

import functools
import io
from pathlib import Path

from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError

from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import open_input, read_input

PICTURE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
"""Suffixes of files that count as pictures; files without one are judged by their content."""
RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".kdc", ".mrw", ".nef", ".nrw"),
    *(".orf", ".pef", ".raf", ".raw", ".rw2", ".sr2", ".srf", ".srw", ".x3f"),
)
"""Suffixes of raw photographs."""
LARGEST_FILE = 2**30

_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_HEIF_BRANDS = (
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
    *(b"mif1", b"mif2", b"msf1"),
)
_AVIF_BRANDS = (b"avif", b"avis")
_STARTS = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
)
_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
_REDUCED = 1


class NoPictureError(UserError):
    """Content that is not read as a picture; the message says why, without the file's name."""


class UnknownFormatError(NoPictureError):
    """Content of a format that is not read."""


def read_picture_file(path: str | Path) -> bytes:
    """Reads a file for `open_picture`; raises `UnreadableFile` as `read_input`."""
    return read_input(path, LARGEST_FILE)


def open_picture(content: bytes, *, suffix: str = "") -> ImageFile.ImageFile:
    """Opens a picture of a format that is read; `exif.load_with_exif` decodes it.

    Args:
      content: the whole file.
      suffix: of its name; for the message alone, the content says what it is.

    Raises:
      NoPictureError: it is not in a supported format, or only a preview of a raw photograph.
      Exception: what Pillow raises for broken files, which is nearly anything.
    """
    if not content:
        raise NoPictureError("it is empty")
    formats = _FORMATS
    if _is_heif(content):
        _register_heif()
        formats = ("HEIF",)
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
    except UnidentifiedImageError as error:
        if suffix.lower() in RAW_SUFFIXES:
            raise NoPictureError(_RAW) from error
        raise UnknownFormatError("it is not a picture in any known format") from error
    except Image.DecompressionBombError:
        raise
    except Exception:
        # An index of further pictures that makes no sense: the first one is there all the same.
        if not content.startswith(b"\xff\xd8"):
            raise
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
    if image.format == "TIFF":
        _refuse_preview(image)
        # It would turn the picture as EXIF says, which is done here, and fail where EXIF is broken.
        vars(image)["load_end"] = lambda: None
    return image


_RAW = "it is a raw photograph: develop it into a JPEG, PNG or TIFF first"


def _refuse_preview(image: Image.Image) -> None:
    """Raises NoPictureError if a TIFF's first picture is only a preview."""
    tags = getattr(image, "tag_v2", {})
    kind = tags.get(_NEW_SUBFILE_TYPE, 0)
    if _DNG_VERSION in tags or (isinstance(kind, int) and kind & _REDUCED):
        raise NoPictureError(_RAW if _DNG_VERSION in tags else f"of its pictures, {_RAW}")


def _is_heif(content: bytes) -> bool:
    if content[4:8] != b"ftyp":
        return False
    size = min(int.from_bytes(content[:4], "big"), 512)
    brands = [content[8:12], *(content[at : at + 4] for at in range(16, size, 4))]
    return brands[0] not in _AVIF_BRANDS and (
        brands[0] in _HEIF_BRANDS[:-3]
        or (brands[0] in _HEIF_BRANDS and not set(brands) & set(_AVIF_BRANDS))
    )


@functools.cache
def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise NoPictureError(
            f"HEIC pictures need the package pillow-heif ({error}): install it with "
            "pip install 'faceshifter-jax[swap]'"
        ) from error
    pillow_heif.register_heif_opener(thumbnails=False)


def looks_like_picture(path: Path) -> bool:
    """Whether a file of any name begins like a picture in a supported format."""
    try:
        with open_input(path) as file:
            head = file.read(512)
    except (OSError, UserError):
        return False
    if head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return True
    return _is_heif(head) or (head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS)
