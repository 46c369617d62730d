"""Photographs of any kind, as RGB pixels for detection and as stored in the file."""

import dataclasses
import io
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import UnreadableFile
from faceshifter_jax.media.exif import Exif, load_with_exif
from faceshifter_jax.media.extras import find_extras
from faceshifter_jax.media.images import to_rgb
from faceshifter_jax.media.opening import NoPictureError, open_picture, read_picture_file
from faceshifter_jax.media.png16 import holds_deep_colours, read_png16
from faceshifter_jax.media.provenance.xmp import keep_true

LARGEST_PIXELS = 50 * 1024 * 1024
"""50 megapixels, read so that cameras sold with that number are within it."""

_DEEP = 257  # from 8 to 16 bits
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as in Pillow's "L"
# The colours of a palette are of the profile, too.
_KEEP_COLOURS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")
_TURNS = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


@dataclass(frozen=True)
class Metadata:
    """A file's metadata.

    Attributes:
      icc_profile: the colour profile, None for sRGB.
      exif: of the upright picture, without thumbnail and maker's notes.
      xmp: an XMP packet of what stays true when a face is swapped, see `xmp.keep_true`.
      dpi: pixels an inch across and down.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph, upright.

    Attributes:
      pixels: uint8 (H, W, 3), RGB; what is transparent is laid over mid-grey.
      name: what to call it in messages.
      stored: (H, W, C), uint8 or uint16, what its file holds where that is more than `pixels` or
        less: C is 1 for grey, 2 for grey and alpha, 3 for RGB, 4 for RGB and alpha.
      metadata: the file's metadata.
      notes: what was lost in reading, each in a few words.
    """

    pixels: np.ndarray
    name: str
    stored: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> np.ndarray:
        """(H, W, C), uint8 or uint16, as they are stored."""
        return self.pixels if self.stored is None else self.stored


def load_photo(path: str | Path) -> Photo:
    """Reads a photograph.

    The EXIF rotation is applied. Grey stays grey, alpha stays, and so do 16 bits of grey or in a
    PNG; inks (CMYK) become sRGB, palettes RGB. Of several frames the first is read.

    Raises:
      UserError: the file does not exist, is not a readable picture, or is too large.
    """
    path = Path(path)
    try:
        content = read_picture_file(path)
    except UnreadableFile as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UserError(f"the picture {path} does not exist") from error
        if os.path.exists(path) and not os.path.isfile(path):
            raise UserError(f"{path} is a folder or the like, not a picture") from error
        raise UserError(f"cannot read the picture {path}: {error.reason}") from error
    try:
        with warnings.catch_warnings():
            # Pillow warns about odd metadata; only the pixels matter here.
            warnings.simplefilter("ignore")
            return _load(path, content)
    except NoPictureError as error:
        raise UserError(f"cannot read the picture {path}: {error}") from error
    except (MemoryError, UserError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "far more") from error
    except Exception as error:
        # Pillow raises nearly anything for broken files: OSError, SyntaxError, struct.error, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot read the picture {path}: {reason}") from error


def repaint(photo: Photo, pixels: np.ndarray) -> Photo:
    """Carries changed pixels over into what the photograph's file holds.

    Args:
      photo: the photograph.
      pixels: uint8 (H, W, 3), its `pixels` with changes.

    Returns:
      the photograph with these pixels. What did not change is stored to the bit as it was, grey
      stays grey, and what is fully transparent keeps its hidden colour.
    """
    if photo.stored is None:
        return dataclasses.replace(photo, pixels=pixels)
    stored = photo.stored.copy()
    rows, columns = np.nonzero((pixels != photo.pixels).any(-1))
    values, old, new = (a[rows, columns].astype(float) for a in (stored, photo.pixels, pixels))
    channels = stored.shape[2]
    if channels < 3:
        old, new = (a @ _LUMA[:, None] for a in (old, new))
    colours = values[:, : channels - (channels + 1) % 2]
    factor, largest = (_DEEP, 65535) if stored.dtype == np.uint16 else (1, 255)
    # A grey photograph's old values are exact in `values`, rounded in `old`.
    changed = colours + factor * np.round(new - old)
    if channels % 2 == 0:
        changed = np.where(values[:, -1:] > 0, changed, colours)
    stored[rows, columns, : colours.shape[1]] = np.clip(changed, 0, largest)
    if channels < 3:
        pixels = pixels.copy()
        pixels[rows, columns] = np.round(new).astype(np.uint8)
    return dataclasses.replace(photo, pixels=pixels, stored=stored)


def _load(path: Path, content: bytes) -> Photo:
    with open_picture(content, suffix=path.suffix) as image:
        width, height = image.size
        if width * height > LARGEST_PIXELS:
            raise _too_large(path, f"{width}x{height}")
        deep_colours = holds_deep_colours(image)  # asking for EXIF may load the picture
        notes = find_extras(image, content)
        exif = load_with_exif(image)
        if exif.damaged:
            notes.append("its EXIF is damaged: what can be read of it is kept")
        turn = _TURNS.get(exif.orientation, lambda a: a)
        metadata = _read_metadata(image, exif)
        if image.mode == "CMYK":
            notes.append("its inks (CMYK) became sRGB")
        if deep_colours:
            stored = read_png16(content)
            if stored is None:
                notes.append("its 16 bits a channel became 8")
                stored = _read_stored(image)
        else:
            stored = _read_stored(image)
        pixels = np.asarray(to_rgb(_inks_to_rgb(image)))
    upright = np.ascontiguousarray(turn(pixels))
    if stored is not None:
        stored = np.ascontiguousarray(turn(stored))
    return Photo(upright, str(path), stored, metadata, tuple(notes))


def _read_stored(image: Image.Image) -> np.ndarray | None:
    """The content of the file beyond RGB; None if there is none."""
    if image.mode.startswith("I"):
        return np.clip(np.asarray(image), 0, 65535).astype(np.uint16)[..., None]
    if image.has_transparency_data:
        return np.asarray(image.convert("LA" if image.mode in ("L", "LA") else "RGBA"))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    return None


def _inks_to_rgb(image: Image.Image) -> Image.Image:
    """By the file's own profile, where it has one that can be used."""
    profile = image.info.get("icc_profile")
    if image.mode != "CMYK" or not profile:
        return image
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image
    return image if converted is None else converted


def _read_metadata(image: Image.Image, exif: Exif) -> Metadata:
    # What a picture of another kind becomes is sRGB, of which a profile of inks says nothing.
    keeps_colours = image.mode in _KEEP_COLOURS or image.mode.startswith("I;16")
    packet = image.info.get("xmp")
    packet = packet.encode() if isinstance(packet, str) else packet
    return Metadata(
        icc_profile=image.info.get("icc_profile") if keeps_colours else None,
        exif=exif.kept,
        xmp=keep_true(packet) if packet else None,
        dpi=_read_dpi(image.info.get("dpi")),
    )


def _read_dpi(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = map(float, dpi)
    # Files can say anything here, such as 0 / 0.
    except (TypeError, ValueError, ArithmeticError):
        return None
    return (across, down) if 0 < across < 1e5 and 0 < down < 1e5 else None


def _too_large(path: Path, pixels: str) -> UserError:
    return UserError(
        f"{path} has {pixels} pixels, and {LARGEST_PIXELS / 2**20:.0f} megapixels are the most: "
        "make it smaller first"
    )
