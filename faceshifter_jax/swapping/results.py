"""What comes out of a swap."""

from dataclasses import dataclass

import numpy as np

from faceshifter_jax.media.photos import Photo


@dataclass(frozen=True, eq=False)
class Explanation:
    """How the network came to a swap.

    Attributes:
      errors: uint8 (B, S, S, 3), the heuristic error: what AEI-Net loses of the target when it
        gets its own identity; mid-grey is nothing.
      masks: uint8 (B, L, S, S), AEI-Net's masks, coarse to fine; white where the identity rules,
        black where the target's attributes do.
    """

    errors: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True, eq=False)
class SwappedFace:
    """One face of a target before it was pasted back.

    Attributes:
      target: uint8 (S, S, 3), as it was.
      swapped: uint8 (S, S, 3), what the network made of it.
      explanation: with B = 1, where it was asked for.
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
      notes: what the user may want to know, such as faces that were left as they are.
    """

    photo: Photo
    faces: tuple[SwappedFace, ...]
    notes: tuple[str, ...] = ()
