"""Photographs of any kind, as pixels to look for faces in and as the file has them."""

import dataclasses
import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.images import to_rgb
from faceshifter_jax.media.png16 import holds_deep_colours, read_png16

LARGEST_PIXELS = 50 * 1024 * 1024
"""50 megapixels, read so that cameras sold with that number are within it."""

_DEEP = 257  # from 8 to 16 bits
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as in Pillow's "L"
_ORIENTATION = 0x0112
_TURNS = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}
# Who, when, where and with what. Thumbnails, maker's notes and previews would show the old face.
_KEPT_EXIF = (
    *("ImageDescription", "Make", "Model", "XResolution", "YResolution", "ResolutionUnit"),
    *("DateTime", "Artist", "Copyright"),
)
_DROPPED_CAPTURE_EXIF = ("MakerNote", "ExifInteroperabilityOffset")


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels.

    Attributes:
      icc_profile: what its colours mean, None for sRGB.
      exif: of the upright picture, without thumbnail and maker's notes.
      xmp: the XMP packet as it is.
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
      metadata: what its file says beside the pixels.
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
      UserError: there is no such file, it is not a picture that can be read, or it is too large.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"the picture {path} does not exist")
    if not path.is_file():
        raise UserError(f"{path} is a folder or the like, not a picture")
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata; what matters is whether the pixels can be read.
            warnings.simplefilter("ignore")
            return _load(path)
    except (MemoryError, UserError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "far more") from error
    except Exception as error:
        # Broken files make Pillow raise nearly anything: OSError, SyntaxError, struct.error, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason.startswith("cannot identify image file"):
            reason = "it is no picture in any known format"
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


def _load(path: Path) -> Photo:
    with Image.open(path) as image:
        width, height = image.size
        if width * height > LARGEST_PIXELS:
            raise _too_large(path, f"{width}x{height}")
        frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
        deep_colours = holds_deep_colours(image)  # asking for EXIF may load the picture
        turn = _TURNS.get(image.getexif().get(_ORIENTATION), lambda a: a)
        metadata = _read_metadata(image)
        image.load()
        notes = [f"of its {frames} frames the first is taken"] if frames > 1 else []
        if image.mode == "CMYK":
            notes.append("its inks (CMYK) became sRGB")
        if deep_colours:
            stored = read_png16(path)
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
    """What the file holds beyond RGB; None where that is all."""
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
        return ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except ImageCms.PyCMSError:
        return image


def _read_metadata(image: Image.Image) -> Metadata:
    # What a picture of another kind becomes is sRGB, of which a profile of inks says nothing.
    keeps_colours = image.mode in ("1", "L", "LA", "RGB", "RGBA") or image.mode.startswith("I;16")
    dpi = image.info.get("dpi")
    return Metadata(
        icc_profile=image.info.get("icc_profile") if keeps_colours else None,
        exif=_read_exif(image),
        xmp=image.info.get("xmp"),
        dpi=tuple(map(float, dpi)) if dpi and all(0 < value < 1e5 for value in dpi) else None,
    )


def _read_exif(image: Image.Image) -> bytes | None:
    found, kept = image.getexif(), Image.Exif()
    for name in _KEPT_EXIF:
        if (tag := ExifTags.Base[name].value) in found:
            kept[tag] = found[tag]
    capture = dict(found.get_ifd(ExifTags.IFD.Exif))
    for name in _DROPPED_CAPTURE_EXIF:
        capture.pop(ExifTags.Base[name].value, None)
    if found.get(_ORIENTATION, 1) >= 5:
        width, height = (ExifTags.Base[f"ExifImage{name}"].value for name in ("Width", "Height"))
        if width in capture and height in capture:
            capture[width], capture[height] = capture[height], capture[width]
    places = dict(found.get_ifd(ExifTags.IFD.GPSInfo))
    if capture:
        kept[ExifTags.IFD.Exif] = capture
    if places:
        kept[ExifTags.IFD.GPSInfo] = places
    return kept.tobytes() if len(kept) else None


def _too_large(path: Path, pixels: str) -> UserError:
    return UserError(
        f"{path} has {pixels} pixels, and {LARGEST_PIXELS / 2**20:.0f} megapixels are the most: "
        "make it smaller first"
    )
