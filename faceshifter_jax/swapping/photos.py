"""Photographs as files: reading any of them as RGB, and writing one that is complete or absent."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from faceshifter_jax.data.pictures import to_rgb
from faceshifter_jax.errors import UserError
from faceshifter_jax.files import publish_file

_WRITE_OPTIONS = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"},
    ".webp": {"format": "WEBP", "quality": 95},
    ".tif": {"format": "TIFF"},
    ".tiff": {"format": "TIFF"},
    ".bmp": {"format": "BMP"},
}


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph, upright.

    Attributes:
      pixels: uint8 (H, W, 3), RGB.
      name: what to call it in messages.
      icc_profile: what its RGB values mean, None for sRGB.
    """

    pixels: np.ndarray
    name: str
    icc_profile: bytes | None = None


def load_photo(path: str | Path) -> Photo:
    """Reads a photograph.

    The EXIF rotation is applied; grey, palette, CMYK and 16-bit pictures become 8-bit RGB, and
    transparent ones are laid over mid-grey. Of several frames the first is read.

    Raises:
      UserError: there is no such file, or it is not a picture that can be read.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"the picture {path} does not exist")
    if not path.is_file():
        raise UserError(f"{path} is no picture but a folder or the like: name a file")
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata; what matters is whether the pixels can be read.
            warnings.simplefilter("ignore")
            return _load(path)
    except MemoryError:
        raise
    except Exception as error:
        # Broken files make Pillow raise nearly anything: OSError, SyntaxError, struct.error, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason.startswith("cannot identify image file"):
            reason = "it is no picture in any known format"
        raise UserError(f"cannot read the picture {path}: {reason}") from error


def _load(path: Path) -> Photo:
    with Image.open(path) as image:
        image.load()
        # A profile of inks or of greys says nothing about the RGB values made of them.
        profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
        pixels = np.asarray(to_rgb(ImageOps.exif_transpose(image)))
    return Photo(pixels, str(path), profile)


@contextlib.contextmanager
def publish_photo(path: str | Path, *, overwrite: bool) -> Iterator[Callable[..., None]]:
    """Like `publish_file`, for a picture whose format the suffix of `path` says.

    Yields:
      `write(pixels, icc_profile=None)` for uint8 (H, W, 3); JPEG and WebP lose a little.

    Raises:
      UserError: as `publish_file`, no format has that suffix, or the picture cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITE_OPTIONS:
        known = " ".join(_WRITE_OPTIONS)
        raise UserError(f"{path} does not say the picture's format: end its name in one of {known}")
    with publish_file(path, overwrite=overwrite) as beside:
        yield partial(_write, beside, suffix)


def _write(path: Path, suffix: str, pixels: np.ndarray, icc_profile: bytes | None = None) -> None:
    options = dict(_WRITE_OPTIONS[suffix])
    if icc_profile is not None and suffix != ".bmp":
        options["icc_profile"] = icc_profile
    try:
        Image.fromarray(pixels).save(path, **options)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot write the {suffix} file: {reason}") from error
