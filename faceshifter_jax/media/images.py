"""Pictures on disk: reading any photograph as a square RGB picture, encoding and decoding it."""

import contextlib
import dataclasses
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageFile, ImageOps

from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import UnreadableFile
from faceshifter_jax.media.exif import load_with_exif
from faceshifter_jax.media.levels import to_uint8
from faceshifter_jax.media.opening import UnknownFormatError, open_picture, read_picture_file

BEHIND_TRANSPARENT = (128, 128, 128)
"""The colour that shows through transparent pictures: mid-grey, 0 in the models' range."""

_JPEG = {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_JPEG_START = b"\xff\xd8"
_SAME_COLOURS = ("Gray", "RGB", "YCbCr")
_LARGEST_ENLARGEMENT = 4


@dataclasses.dataclass(frozen=True)
class ReadPicture:
    """The result for one file: `encoded` (JPEG or PNG bytes), or else `problem` says why not."""

    encoded: bytes | None
    problem: str | None = None


def decode_picture(encoded: bytes) -> np.ndarray:
    """Decodes a JPEG or PNG: uint8 (height, width, 3), RGB.

    A JPEG gives the same bytes as with Pillow, in two thirds of the time.

    Raises:
        OSError: it is broken; other exceptions of Pillow's are possible.
    """
    if encoded.startswith(_JPEG_START):
        # Pillow reports broken files, and converts CMYK.
        with contextlib.suppress(ValueError):
            if simplejpeg.decode_jpeg_header(encoded)[2] in _SAME_COLOURS:
                return simplejpeg.decode_jpeg(encoded, fastdct=False, fastupsample=False)
    with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
        return np.array(image.convert("RGB"))


def encode_png(picture: np.ndarray) -> bytes:
    """Encodes uint8 (height, width, 3) without loss."""
    return _encode(Image.fromarray(picture), format="PNG")


def encode_jpeg(picture: np.ndarray) -> bytes:
    """Encodes uint8 (height, width, 3) as a JPEG of quality 95 with all colours (4:4:4)."""
    return _encode(Image.fromarray(picture), **_JPEG)


def read_photo(path: str | Path, size: int) -> ReadPicture:
    """Reads a photograph as an encoded square RGB picture of `size` pixels.

    The EXIF rotation is applied, the largest centred square is cut out and resized (Lanczos).
    Grey, palette, CMYK and 16-bit pictures become RGB; transparent ones are laid over
    `BEHIND_TRANSPARENT`. The result is a JPEG (quality 95, 4:4:4), or the file's own bytes where
    it already is an RGB JPEG or PNG of exactly that size.

    A file that cannot be read, or whose shorter side is less than a quarter of `size`, gives a
    `problem` of one line instead of an exception: what is wrong with it is part of the answer.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns about odd metadata; only the pixels matter here.
            warnings.simplefilter("ignore")
            return ReadPicture(_read_square(read_picture_file(path), size, Path(path).suffix))
    except MemoryError:
        raise
    except UnreadableFile as error:
        return ReadPicture(None, error.reason)
    except UnknownFormatError:
        return ReadPicture(None, "not a picture in any known format")
    except UserError as error:
        return ReadPicture(None, str(error))
    except Exception as error:
        # Pillow raises nearly anything for broken files: OSError, SyntaxError, struct.error, ...
        reason = " ".join(str(error).split()) or "cannot be read"
        return ReadPicture(None, f"{reason} ({type(error).__name__})")


def _read_square(content: bytes, size: int, suffix: str) -> bytes:
    with open_picture(content, suffix=suffix) as image:
        width, height = image.size
        if min(width, height) * _LARGEST_ENLARGEMENT < size:
            least = -(-size // _LARGEST_ENLARGEMENT)
            raise ValueError(f"{width}x{height} pixels are too few, at least {least} a side")
        keep = _is_final(image, size)
        # JPEGs are decoded at a reduced scale where that still leaves twice the pixels needed.
        image.draft(None, (2 * size, 2 * size))
        orientation = load_with_exif(image).orientation
        if keep and orientation == 1:
            return content
        turn = TURNS.get(orientation)
        upright = image if turn is None else image.transpose(turn)
        return _encode(
            ImageOps.fit(to_rgb(upright), (size, size), Image.Resampling.LANCZOS), **_JPEG
        )


def _is_final(image: ImageFile.ImageFile, size: int) -> bool:
    """Whether the file's bytes decode to the wanted picture in any decoder."""
    return (
        image.format in ("JPEG", "PNG")
        and image.mode == "RGB"
        and image.size == (size, size)
        and "transparency" not in image.info
        and getattr(image, "n_frames", 1) == 1
        and all("16" not in str(tile.args) for tile in image.tile)
    )


def to_rgb(image: Image.Image) -> Image.Image:
    """Turns a picture of any mode into RGB; transparent parts are laid over grey.

    Raises:
        ValueError: floating-point pixels.
    """
    if image.mode == "F":
        raise ValueError("floating-point pictures have no defined white")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(to_uint8(values)).convert("RGB")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        below = Image.new("RGBA", image.size, (*BEHIND_TRANSPARENT, 255))
        return Image.alpha_composite(below, with_alpha).convert("RGB")
    return image.convert("RGB")


def _encode(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()
