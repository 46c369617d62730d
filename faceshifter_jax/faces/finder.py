"""Finding faces, aligning them to a network's size, and telling them apart."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import (
    Alignment,
    check_alignment,
    find_alignment,
    misfit,
    resize_square,
)
from faceshifter_jax.faces.face import Detector, Face
from faceshifter_jax.faces.names import DEFAULT_DETECTOR, DETECTORS

# Between a profile and a face whose left and right are exchanged.
_LARGEST_MISFIT = 0.75

Embed = Callable[[np.ndarray], np.ndarray]
"""Aligned squares, uint8 (B, S, S, 3), to embeddings, float32 (B, E) of unit length."""


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face of a picture, cut out.

    Attributes:
      face: where it is.
      alignment: the way from the picture to the square and back.
      square: uint8 (S, S, 3).
    """

    face: Face
    alignment: Alignment
    square: np.ndarray

    @property
    def landmarks(self) -> np.ndarray:
        """(5, 2), points in the square."""
        return self.alignment.to_aligned(self.face.landmarks)

    def resized(self, size: int) -> "AlignedFace":
        """The same face in a square of another side, as a generator gets it."""
        if size == self.alignment.size:
            return self
        return AlignedFace(
            self.face, self.alignment.resized(size), resize_square(self.square, size)
        )

    def __str__(self) -> str:
        """Describes which face of a picture it is, for messages."""
        left, top, right, bottom = self.face.box.round().astype(int).tolist()
        return f"the face of {right - left}x{bottom - top} pixels at ({left}, {top})"


class FaceFinder:
    """Finds and aligns faces, and embeds them; everything that works with faces goes through it.

    Attributes:
      size: side of the aligned squares in pixels.
      alignment: how they are aligned, a key of `alignment.ALIGNMENTS`.
    """

    def __init__(
        self,
        size: int,
        detector: Detector | str = DEFAULT_DETECTOR,
        embed: Embed | None = None,
        alignment: str = "arcface",
    ):
        """Takes the parts; nothing is loaded before it is needed.

        Args:
          size: side of the aligned squares in pixels.
          detector: finds the faces; a name of `DETECTORS` or "module:class" is made when first
            needed.
          embed: tells people apart; None where nobody asks for it.
          alignment: see `find_alignment`.

        Raises:
          UserError: there is no such alignment.
        """
        check_alignment(alignment)
        if not isinstance(detector, str):
            _check_detector(detector, repr(detector))
        self.size = size
        self.alignment = alignment
        self._detector = detector
        self._embed = embed

    def find(self, picture: np.ndarray) -> list[AlignedFace]:
        """Finds the faces of a picture, uint8 (H, W, 3), the largest first."""
        faces = sorted(self.detect(picture), key=lambda face: -face.area)
        return [self.align(picture, face) for face in faces]

    def detect(self, picture: np.ndarray) -> list[Face]:
        """Finds the faces of a picture, uint8 (H, W, 3), without cutting them out.

        Detections with landmarks that no face has, such as the left eye on the right, are left out:
        nothing can be drawn over them.
        """
        return [face for face in self.detector.detect(picture) if _looks_like_one(face)]

    def require(self, picture: np.ndarray, name: str) -> list[AlignedFace]:
        """Like `find`.

        Raises:
          UserError: the picture, called `name`, has no face.
        """
        faces = self.find(picture)
        if not faces:
            raise UserError(
                f"no face was found in {name}: use a picture where a face is large, sharp, "
                "upright and turned to the camera"
            )
        return faces

    def align(self, picture: np.ndarray, face: Face) -> AlignedFace:
        """Cuts a face out of its picture, uint8 (H, W, 3)."""
        alignment = find_alignment(face.landmarks, self.size, self.alignment)
        return AlignedFace(face, alignment, alignment.cut_out(picture))

    @property
    def can_embed(self) -> bool:
        """Whether there is an identity network to embed faces with."""
        return self._embed is not None

    def embed(self, faces: Sequence[AlignedFace]) -> np.ndarray:
        """Returns float32 (N, E): embeddings of unit length, whose products are cosines."""
        if self._embed is None:
            raise ValueError("this finder has no identity network")
        return self._embed(np.stack([face.square for face in faces]))

    @property
    def detector(self) -> Detector:
        """The detector itself."""
        if isinstance(self._detector, str):
            self._detector = build_detector(self._detector)
        return self._detector


def _looks_like_one(face: Face) -> bool:
    landmarks = face.landmarks
    if not np.isfinite(landmarks).all() or not np.ptp(landmarks, axis=0).any():
        return False
    return misfit(landmarks) <= _LARGEST_MISFIT


def build_detector(name: str, *, small_faces: bool = False) -> Detector:
    """Makes a detector.

    Args:
      name: a key of `DETECTORS`, or "module:class" for one of your own.
      small_faces: whether one of `DETECTORS` also looks for smaller faces than usual.

    Raises:
      UserError: the detector is unknown, its package is not installed, or it cannot be made.
    """
    place = DETECTORS.get(name, name)
    module, _, attribute = place.partition(":")
    known = " ".join(DETECTORS)
    unknown = f"there is no face detector {name}: known are {known}, and module:class of your own"
    if not attribute:
        raise UserError(unknown)
    try:
        make = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{unknown} ({error})") from error
    try:
        detector = make(small_faces=True) if small_faces else make()
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"the face detector {name} cannot be made: {reason}") from error
    _check_detector(detector, name)
    return detector


def _check_detector(detector: object, name: str) -> None:
    if not callable(getattr(detector, "detect", None)):
        raise UserError(f"{name} is not a face detector: it has no method detect(picture)")
