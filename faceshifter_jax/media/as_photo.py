"""Converting a caller's picture, an array or a file, to a photograph."""

import dataclasses
import os
from pathlib import Path

import numpy as np
from PIL import Image

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.photos import Photo, load_photo

Picture = Photo | np.ndarray | str | Path
"""A photograph, uint8 (H, W, 3) in RGB, or a file."""


def name_of(person: Picture, number: int) -> str:
    """Returns a picture's name in messages, by its number."""
    if isinstance(person, np.ndarray):
        return f"person {number}"
    return person.name if isinstance(person, Photo) else str(person)


def as_photo(picture: Picture, name: str) -> Photo:
    """Reads a picture if it is a file; `name` is its role, with which its name in messages begins.

    A `Photo` keeps the name it has.

    Raises:
      ValueError: another kind of value, or an array of another type or shape.
      UserError: a file that is not a picture.
    """
    if isinstance(picture, Photo):
        return picture
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"{name} must be uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
        if not picture.size:
            raise ValueError(f"{name} has no pixels: {picture.shape}")
        return Photo(picture, name)
    if not isinstance(picture, str | os.PathLike):
        kind = type(picture).__name__
        raise ValueError(f"{name} must be a file's name, uint8 (H, W, 3) or a Photo, not {kind}")
    photo = load_photo(picture)
    return dataclasses.replace(photo, name=f"{name} {photo.name}")


def to_square(photo: Photo, size: int) -> np.ndarray:
    """Resizes an aligned photograph to uint8 (size, size, 3).

    Raises:
      UserError: it is not square.
    """
    height, width = photo.pixels.shape[:2]
    if height != width:
        raise UserError(
            f"{photo.name} has {width}x{height} pixels: an aligned picture is a square; without "
            "--aligned the face in it is looked for"
        )
    if height == size:
        return photo.pixels
    resized = Image.fromarray(photo.pixels).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(resized)
