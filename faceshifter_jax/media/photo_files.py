"""Writing photographs completely or not at all, with their metadata and their provenance."""

import contextlib
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import publish_file
from faceshifter_jax.media.photos import Photo
from faceshifter_jax.media.png16 import write_png16
from faceshifter_jax.media.provenance.credentials import Signer
from faceshifter_jax.media.provenance.statement import Provenance

_JPEG = {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"}
_WRITE_OPTIONS = {
    ".png": {"format": "PNG"},
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".webp": {"format": "WEBP", "quality": 95},
    ".tif": {"format": "TIFF"},
    ".tiff": {"format": "TIFF"},
    ".bmp": {"format": "BMP"},
}
MARKED_SUFFIXES = tuple(suffix for suffix in _WRITE_OPTIONS if suffix != ".bmp")
"""Suffixes of the formats that can record that a picture was swapped."""

# What each format can hold of `Photo.stored`: channels of 8 bits, and of 16.
_HOLDS = {
    "PNG": ({1, 2, 3, 4}, {1, 2, 3, 4}),
    "TIFF": ({1, 2, 3, 4}, {1}),
    "WEBP": ({3, 4}, set()),
    "JPEG": ({1, 3}, set()),
    "BMP": ({1, 3}, set()),
}
_XMP_TAG = 700
_LARGEST_JPEG_XMP = 65502
_LARGEST_JPEG_EXIF = 65533

Write = Callable[[Photo, Provenance | None], list[str]]


@contextlib.contextmanager
def publish_photo(
    path: str | Path,
    *,
    overwrite: bool = False,
    marked: bool = True,
    signer: Signer | None = None,
) -> Iterator[Write]:
    """Like `publish_file`, for a picture whose format the suffix of `path` says.

    Args:
      path: the file.
      overwrite: whether it may replace an existing one.
      marked: whether a statement of where the picture comes from will be written into it.
      signer: signs that statement.

    Yields:
      `write(photo, provenance)`: writes what the format can hold of the photograph, of its
      colour profile, its EXIF and its XMP, and the statement, None for none; returns what the
      format could not hold, each in a few words. JPEG and WebP lose a little of the pixels.

    Raises:
      UserError: as `publish_file`, no format has that suffix, the format cannot hold a statement,
        or the picture cannot be written.
    """
    check_suffix(path, marked=marked)
    with publish_file(path, overwrite=overwrite) as beside:
        yield partial(_write_signed, beside, Path(path).suffix.lower(), signer)


def check_suffix(path: str | Path, *, marked: bool = True) -> None:
    """Raises UserError for a name without a known format, or with one that cannot be `marked`."""
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITE_OPTIONS:
        known = " ".join(_WRITE_OPTIONS)
        problem = f": the format {suffix} is not written" if suffix else " says no picture's format"
        raise UserError(f"{path}{problem}: end its name in one of {known}")
    if marked and suffix not in MARKED_SUFFIXES:
        raise UserError(
            f"{path}: BMP cannot say that a picture was swapped; write a .png, or pass "
            "--no-provenance"
        )


def _write_signed(
    path: Path, suffix: str, signer: Signer | None, photo: Photo, provenance: Provenance | None
) -> list[str]:
    lost = _write(path, suffix, photo, provenance)
    if signer is not None and provenance is not None:
        path.write_bytes(signer.sign(path.read_bytes(), suffix, provenance))
    return lost


def _write(path: Path, suffix: str, photo: Photo, provenance: Provenance | None) -> list[str]:
    options = dict(_WRITE_OPTIONS[suffix])
    kind = options["format"]
    values, lost = _storable(photo, *_HOLDS[kind])
    metadata = photo.metadata
    xmp = metadata.xmp if provenance is None else provenance.to_xmp(metadata.xmp)
    if kind == "JPEG" and xmp and len(xmp) > _LARGEST_JPEG_XMP:
        xmp = provenance.to_xmp() if provenance else None
    said = {"icc_profile": _profile_for(values, photo), "exif": metadata.exif, "dpi": metadata.dpi}
    if kind == "JPEG" and len(metadata.exif or b"") > _LARGEST_JPEG_EXIF:
        del said["exif"]
        lost.append("holds 64 KB of EXIF, and there is more: it is left out")
    said = {name: value for name, value in said.items() if value}
    if values.dtype == np.uint16 and kind == "PNG":
        write_png16(path, values, xmp=xmp, **said)
        return [f"{suffix} {what}" for what in lost]
    if kind != "BMP":
        options |= _xmp_option(kind, xmp) | said
    # To memory first: Pillow does not report why it cannot write.
    encoded = io.BytesIO()
    try:
        _to_image(values).save(encoded, **options)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot write the {suffix} file: {reason}") from error
    path.write_bytes(encoded.getbuffer())
    return [f"{suffix} {what}" for what in lost]


def _storable(
    photo: Photo, channels: set[int], deep_channels: set[int]
) -> tuple[np.ndarray, list[str]]:
    """Returns what a format can hold of the photograph's values, and what not."""
    values, lost = photo.values, []
    if values.dtype == np.uint16 and values.shape[2] not in deep_channels:
        lost.append("holds 8 bits a channel of the 16")
        values = np.round(values / 257).astype(np.uint8)
    if values.shape[2] not in channels:
        if values.shape[2] % 2 == 0 and 4 not in channels:
            lost.append("holds no transparency: mid-grey shows through")
        grey_alpha = values.shape[2] == 2 and 4 in channels
        values = values[..., [0, 0, 0, 1]] if grey_alpha else photo.pixels
    return values, lost


def _profile_for(values: np.ndarray, photo: Photo) -> bytes | None:
    """A grey profile does not apply to colours."""
    grey_written, grey_read = values.shape[2] < 3, photo.values.shape[2] < 3
    return photo.metadata.icc_profile if grey_written == grey_read else None


def _to_image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def _xmp_option(kind: str, xmp: bytes | None) -> dict:
    if not xmp:
        return {}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        return {"pnginfo": info}
    if kind == "TIFF":
        return {"tiffinfo": {_XMP_TAG: xmp}}
    return {"xmp": xmp}
