"""Placing a cut-out on an aligned picture of a face, and drawing it there."""

import dataclasses

import numpy as np
from PIL import Image

from faceshifter_jax.data.occlusion.cutouts import Cutout
from faceshifter_jax.faces.region import FACE_MIDDLE, FACE_RADII

_LONGEST_SIDE = (0.25, 0.75)
_LARGEST_AREA = 0.3
_LARGEST_ENLARGEMENT = 2.0
_SCALE_TO_REFINE = 0.6
_HAND_HEIGHT = (0.65, 1.0)
# Arms come from below and from the hand's side of the picture.
_ARM_DEGREES = (-15.0, 80.0)
_WORN_SHIFT, _WORN_DEGREES, _WORN_SCALE = 0.02, 3.0, 0.05


@dataclasses.dataclass(frozen=True)
class Placement:
    """A similarity: the cut-out's anchor comes to `target` (column and row in the picture, in
    pixels), magnified by `scale` and turned clockwise by `angle` radians, mirrored before if
    `mirrored`."""

    target: tuple[float, float]
    scale: float
    angle: float
    mirrored: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """Part of a picture: uint8 (height, width, 4), RGBA, and the row and column it begins at."""

    pixels: np.ndarray
    row: int
    column: int


def draw_placement(cutout: Cutout, size: int, rng: np.random.Generator) -> Placement:
    """Draws a random place for a cut-out on a picture of `size` pixels, according to its manner."""
    mirrored = bool(rng.random() < 0.5)
    if cutout.manner == "worn":
        shift, degrees, growth = rng.uniform(-1, 1, 2), *rng.uniform(-1, 1, 2)
        column, row = (0.5 + _WORN_SHIFT * shift) * size
        scale = (1 + _WORN_SCALE * growth) * size / cutout.natural_size
        return Placement((column, row), scale, np.deg2rad(_WORN_DEGREES * degrees), mirrored)
    target = _draw_on_face(rng)
    column, row = target * size
    height, width = cutout.pixels.shape[:2]
    if cutout.manner == "reaching":
        side = np.sign(target[0] - 0.5) or 1.0
        angle = -side * np.deg2rad(rng.uniform(*_ARM_DEGREES))
        scale = rng.uniform(*_HAND_HEIGHT) * size / height
        return Placement((column, row), scale, angle, mirrored)
    # Uniform in the logarithm: half as large is as likely as twice as large.
    longest = np.exp(rng.uniform(*np.log(_LONGEST_SIDE)))
    angle = rng.uniform(0, 2 * np.pi)
    area = cutout.pixels[..., 3].sum(dtype=np.int64) / 255
    scale = min(
        longest * size / max(height, width),
        size * np.sqrt(_LARGEST_AREA / area),
        _LARGEST_ENLARGEMENT,
    )
    return Placement((column, row), scale, angle, mirrored)


def _draw_on_face(rng: np.random.Generator) -> np.ndarray:
    """Draws a point of the face, all equally likely: column and row in shares of the side."""
    radius, turn = np.sqrt(rng.random()), 2 * np.pi * rng.random()
    return FACE_MIDDLE + FACE_RADII * radius * np.array([np.cos(turn), np.sin(turn)])


def place(cutout: Cutout, placement: Placement, size: int) -> Layer:
    """Draws the part of a cut-out that is visible in a picture of `size` pixels.

    It may have no pixels. Where the cut-out has enough detail, it is drawn twice as fine and
    then averaged, so that thin things stay sharp.
    """
    fine = 2 if placement.scale < _SCALE_TO_REFINE else 1
    image, anchor = _premultiply(cutout.pixels), complex(*cutout.anchor)
    if placement.mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        anchor = image.width - anchor.conjugate()
    image, x_factor, y_factor = _shrink(image, placement.scale * fine)
    image = _add_border(image, 2 * fine * size if cutout.manner == "reaching" else 0)

    columns = np.array([-1, image.width - 1]) / x_factor
    rows = np.array([-1, image.height - 1]) / y_factor
    forward = placement.scale * np.exp(1j * placement.angle)
    target = complex(*placement.target)
    corners = target + forward * (columns + 1j * rows[:, None] - anchor)
    left, right = _span(corners.real, size)
    top, bottom = _span(corners.imag, size)
    if left >= right or top >= bottom:
        return Layer(np.zeros((0, 0, 4), np.uint8), 0, 0)
    # Pillow takes the inverse, from the column and row in the part to those in the cut-out.
    origin = anchor + (left + 1j * top - target) / forward
    back = 1 / (forward * fine)
    coefficients = (
        *(back.real * x_factor, -back.imag * x_factor, origin.real * x_factor + 1),
        *(back.imag * y_factor, back.real * y_factor, origin.imag * y_factor + 1),
    )
    # Not bicubic: it overshoots at borders, which shows as a bright seam.
    part = image.transform(
        ((right - left) * fine, (bottom - top) * fine),
        Image.Transform.AFFINE,
        coefficients,
        resample=Image.Resampling.BILINEAR,
    )
    return Layer(np.asarray(part.reduce(fine).convert("RGBA")), top, left)


def _premultiply(pixels: np.ndarray) -> Image.Image:
    """Colours times alpha, in mode RGBa: only these may be averaged. Once for all steps, since
    each way there and back rounds."""
    return Image.fromarray(pixels).convert("RGBa")


def _shrink(image: Image.Image, scale: float) -> tuple[Image.Image, float, float]:
    """Shrinks by about `scale` where that is below 1, averaging what falls into one pixel: the
    rotation alone would pick single pixels. Gives the factors of width and height, too."""
    if scale >= 1:
        return image, 1.0, 1.0
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    shrunk = image.resize((width, height), Image.Resampling.HAMMING)
    return shrunk, width / image.width, height / image.height


def _add_border(image: Image.Image, beyond: int) -> Image.Image:
    """Repeats the lowest row `beyond` times; then a transparent pixel on all sides makes straight
    edges as smooth as the others."""
    width, height = image.size
    framed = Image.new("RGBa", (width + 2, height + beyond + 2))
    framed.paste(image, (1, 1))
    if beyond:
        lowest = image.crop((0, height - 1, width, height))
        framed.paste(lowest.resize((width, beyond), Image.Resampling.NEAREST), (1, height + 1))
    return framed


def _span(places: np.ndarray, size: int) -> tuple[int, int]:
    """First pixel that reaches into an interval, and the one after the last, within a picture."""
    return max(0, int(np.floor(places.min()))), min(size, int(np.ceil(places.max())))
