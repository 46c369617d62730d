"""Cut-outs: pictures of things that can lie in front of a face, with alpha."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np

Manner = Literal["loose", "worn", "reaching"]

_REMEMBERED_BYTES = 128 * 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class Cutout:
    """A thing cut out of its picture.

    Attributes:
        pixels: uint8 (height, width, 4), RGBA, the colours not multiplied by alpha;
            read-only.
        anchor: column and row in `pixels` (0, 0 is the upper left corner of the first pixel; may
            lie outside) of the point by which it is placed on a picture.
        manner: "loose": any place on the face, size and rotation. "worn": made for an aligned
            picture of `natural_size` pixels, whose middle is the anchor, and moved a little.
            "reaching": like loose, but it comes in from outside the picture: what touches its lower
            edge continues beyond it.
        natural_size: see "worn"; 0 elsewhere.
    """

    pixels: np.ndarray
    anchor: tuple[float, float]
    manner: Manner = "loose"
    natural_size: int = 0


class Cutouts(Protocol):
    """A numbered set of cut-outs, the same in every process."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Cutout: ...


def crop_to_content(
    pixels: np.ndarray, anchor: tuple[float, float] | None = None
) -> tuple[np.ndarray, tuple[float, float]]:
    """Crops rows and columns whose alpha is 0; some alpha must be above 0.

    Args:
        pixels: uint8 (height, width, 4), RGBA.
        anchor: column and row, or None for the middle of what is left.

    Returns:
        The smaller picture, a copy, and the anchor in it.
    """
    shown = pixels[..., 3] > 0
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if anchor is None:
        anchor = ((left + right) / 2, (top + bottom) / 2)
    cropped = pixels[top:bottom, left:right].copy()
    return cropped, (float(anchor[0] - left), float(anchor[1] - top))


def remember(make: Callable[[int], Cutout], size: int) -> Callable[[int], Cutout]:
    """Caches the cut-outs used last, of at most `size` x `size` pixels each, in bounded memory.

    Two threads may make the same one: the results are equal.
    """
    return functools.lru_cache(maxsize=max(1, _REMEMBERED_BYTES // (4 * size * size)))(make)
