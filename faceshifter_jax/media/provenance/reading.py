"""Reading the statement of where a picture comes from, in any kind of file."""

import warnings
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import UnreadableFile
from faceshifter_jax.media.opening import open_picture, read_picture_file
from faceshifter_jax.media.provenance import films
from faceshifter_jax.media.provenance.gifs import find_gif_xmp
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.media.video_container import is_video

Reader = Callable[[Path], Provenance | None]


class UnknownKindError(Exception):
    """A file is not of the kind that a reader reads."""


def read_picture(path: Path) -> Provenance | None:
    """Reads the XMP of a picture; None if it does not state where it comes from.

    Raises:
      UnknownKindError: Pillow cannot open it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = read_picture_file(path)
            with open_picture(content, suffix=path.suffix) as image:
                packet = image.info.get("xmp") or find_gif_xmp(content)
    except UnreadableFile:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"cannot read the picture {path}: it is too large") from error
    except Exception as error:
        # Pillow raises nearly anything for broken files: OSError, SyntaxError, struct.error, ...
        raise UnknownKindError from error
    if isinstance(packet, str):
        packet = packet.encode()
    return Provenance.from_xmp(packet) if packet else None


def read_film(path: Path) -> Provenance | None:
    """Reads a film's tags; None if they do not state where it comes from.

    Raises:
      UnknownKindError: its name is not that of a film.
    """
    if not is_video(path):
        raise UnknownKindError
    return films.read_film(path)


READERS: tuple[Reader, ...] = (read_film, read_picture)
"""Readers, tried in turn until one knows the kind of file."""


def read_provenance(path: str | Path) -> Provenance | None:
    """Reads a file's statement of where it comes from; None if it has none.

    Raises:
      UserError: the file does not exist, or is of no kind that can be read.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist")
    if not path.is_file():
        raise UserError(f"{path} is {'a folder' if path.is_dir() else 'a pipe or a device'}")
    for read in READERS:
        try:
            return read(path)
        except UnknownKindError:
            continue
    raise UserError(f"cannot read {path}: it is not a picture or video in any known format")
