"""The results of a swap."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faceshifter_jax.media.photos import Photo


class Explanation(NamedTuple):
    """Pictures that explain B swaps.

    Attributes:
      errors: uint8 (B, S, S, 3), the heuristic error: what AEI-Net loses of the target when it
        gets its own identity; mid-grey is nothing.
      masks: uint8 (B, L, S, S), AEI-Net's masks, coarse to fine; white where the identity
        dominates, black where the target's attributes do.
    """

    errors: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True, eq=False)
class SwappedFace:
    """One face of a target before it was pasted back.

    Attributes:
      target: uint8 (S, S, 3), before the swap.
      swapped: uint8 (S, S, 3), the network's result.
      explanation: with B = 1, if it was requested.
    """

    target: np.ndarray
    swapped: np.ndarray
    explanation: Explanation | None = None


@dataclass(frozen=True, eq=False)
class Swap:
    """A target with other faces.

    Attributes:
      photo: the result, with the target's name and metadata.
      faces: those that were swapped, the largest first.
      notes: notes for the user, such as on faces that were left as they are.
    """

    photo: Photo
    faces: tuple[SwappedFace, ...]
    notes: tuple[str, ...] = ()
