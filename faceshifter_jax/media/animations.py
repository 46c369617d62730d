"""Animated GIF and WebP files, frame by frame, with the times of their frames."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import open_input
from faceshifter_jax.media.images import to_rgb
from faceshifter_jax.media.opening import open_picture, read_picture_file
from faceshifter_jax.media.photos import LARGEST_PIXELS, Photo
from faceshifter_jax.media.provenance.gifs import find_gif_xmp

ANIMATED_SUFFIXES = (".gif", ".webp")
LARGEST_TOTAL = 2**29
"""Pixels of all frames together: WebP is written from memory."""

# Viewers show frames of 10 ms and less for 100.
_SHORTEST, _SHOWN_FOR = 10, 100


@dataclass(frozen=True, eq=False)
class AnimationFrame:
    """A frame of an animation.

    Attributes:
      index: its number, from 0.
      time, duration: when it is shown and for how long, in milliseconds, as viewers do.
      stated: its duration in milliseconds as the file says.
      picture: the whole picture that is shown.
    """

    index: int
    time: int
    duration: int
    stated: int
    picture: Photo


@dataclass(frozen=True)
class AnimationInfo:
    """What an animation says about its frames.

    Attributes:
      width, height: in pixels.
      num_frames: number of frames.
      loop: how often it is shown, 0 for without end.
      xmp: its XMP packet, None for none.
    """

    width: int
    height: int
    num_frames: int
    loop: int
    xmp: bytes | None


class Animation:
    """An animated picture in memory, whose frames are decoded one by one.

    Attributes:
      info: what it says about its frames.
    """

    def __init__(self, path: str | Path):
        """Reads a file.

        Raises:
          UserError: it is not a GIF or WebP file, is damaged, or is too large.
        """
        self._path = Path(path)
        self._content = read_picture_file(path)
        self._is_transparent = False
        with self._open() as image:
            width, height = image.size
            num_frames = int(getattr(image, "n_frames", 1))
            loop = image.info.get("loop")
            packet = image.info.get("xmp")
        if width * height > LARGEST_PIXELS or width * height * num_frames > LARGEST_TOTAL:
            raise UserError(
                f"{path} has {num_frames} frames of {width}x{height} pixels, "
                f"{LARGEST_TOTAL / 2**20:.0f} megapixels together are the most: make it smaller, "
                "or a video of it"
            )
        # A GIF that says nothing is shown once.
        self.info = AnimationInfo(
            width,
            height,
            num_frames,
            loop=1 if loop is None else int(loop),
            xmp=packet or find_gif_xmp(self._content),
        )

    @property
    def second(self) -> float:
        """Units of the frames' times a second."""
        return 1000.0

    def upright(self, picture: Photo) -> np.ndarray:
        """Returns a frame's pixels, uint8 (H, W, 3)."""
        return picture.pixels

    def thumbnail(self, picture: Photo, width: int, height: int) -> np.ndarray:
        """Shrinks a frame's picture to uint8 (height, width, 3), RGB."""
        small = Image.fromarray(picture.pixels).resize((width, height), Image.Resampling.BOX)
        return np.asarray(small)

    def frames(self) -> Iterator[AnimationFrame]:
        """Decodes the frames in turn.

        Once a frame was transparent in places, all frames have alpha, also from the beginning of
        the next pass on.

        Raises:
          UserError: the file is damaged.
        """
        time = 0
        with self._open() as image:
            for index in range(self.info.num_frames):
                image.seek(index)
                image.load()
                stated = max(0, round(image.info.get("duration") or 0))
                duration = stated if stated > _SHORTEST else _SHOWN_FOR
                yield AnimationFrame(index, time, duration, stated, self._to_photo(image))
                time += duration

    def _to_photo(self, image: Image.Image) -> Photo:
        shown = image.convert("RGBA") if image.has_transparency_data else image
        stored = np.asarray(shown) if shown.mode == "RGBA" else None
        if stored is not None and (stored[..., 3] == 255).all():
            stored, shown = None, shown.convert("RGB")
        self._is_transparent |= stored is not None
        if self._is_transparent and stored is None:
            stored = np.asarray(shown.convert("RGBA"))
        return Photo(np.asarray(to_rgb(shown)), str(self._path), stored)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Image.Image]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with open_picture(self._content, suffix=self._path.suffix) as image:
                    yield image
        except (MemoryError, UserError):
            raise
        except Exception as error:
            # Pillow raises nearly anything for broken files: OSError, EOFError, struct.error, ...
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"cannot read the animation {self._path}: {reason}") from error


def count_animation_frames(path: str | Path) -> int:
    """Counts the frames of a GIF or WebP file, by its content; 0 for any other file.

    A file that is damaged counts as none: reading it as a picture says what is wrong.
    """
    with contextlib.suppress(OSError, UserError):
        with open_input(path) as file:
            head = file.read(12)
        if head[:4] == b"GIF8" or (head[:4] == b"RIFF" and head[8:] == b"WEBP"):
            return Animation(path).info.num_frames
    return 0


def write_animation(
    path: Path, suffix: str, frames: Iterator[tuple[Photo, int]], loop: int, xmp: bytes | None
) -> None:
    """Writes an animation in the format that a suffix says.

    Args:
      path: the file.
      suffix: one of `ANIMATED_SUFFIXES`.
      frames: pictures of one size, each with the milliseconds that it is shown for; all have alpha,
        or none.
      loop: how often it is shown, 0 for without end.
      xmp: a packet for the file, None for none.

    Raises:
      UserError: Pillow cannot write it.
    """
    # Not at the top: writing GIFs needs parts of this module.
    from faceshifter_jax.media.gif_writer import write_gif

    with path.open("wb") as file:
        if suffix == ".gif":
            write_gif(file, frames, loop, xmp)
            return
        pictures, durations = zip(*frames, strict=True)
        images = [Image.fromarray(photo.values) for photo in pictures]
        encoded = io.BytesIO()
        try:
            images[0].save(
                encoded,
                format="WEBP",
                save_all=True,
                append_images=images[1:],
                duration=list(durations),
                loop=loop,
                quality=95,
                xmp=xmp or b"",
            )
        except (OSError, ValueError) as error:
            raise UserError(f"cannot write the .webp file: {' '.join(str(error).split())}") from (
                error
            )
        file.write(encoded.getbuffer())
