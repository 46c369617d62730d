"""A trained network as something that swaps faces in whole pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from faceshifter_jax.errors import UserError
from faceshifter_jax.swapping.alignment import Alignment, find_alignment
from faceshifter_jax.swapping.detection import Detector, largest_face
from faceshifter_jax.swapping.mtcnn_detector import MTCNNDetector
from faceshifter_jax.swapping.pasting import face_mask, paste
from faceshifter_jax.swapping.photos import Photo, load_photo

Picture = Photo | np.ndarray | str | Path
"""A photograph, uint8 (H, W, 3) in RGB, or a file."""


class Swapper:
    """Puts the face of one picture into another; its network is loaded and compiled once.

    Attributes:
      image_size: side in pixels of the aligned squares that the network swaps between.
    """

    def __init__(
        self,
        network: Callable[[np.ndarray, np.ndarray], np.ndarray],
        image_size: int,
        detector: Detector | None = None,
    ):
        """Takes a network as it is; `load` reads a trained one.

        Args:
          network: aligned sources and targets, uint8 (B, S, S, 3), to swaps, the same.
          image_size: S in pixels.
          detector: finds the faces; None for MTCNN, which is started when it is first needed.
        """
        self._network = network
        self.image_size = image_size
        self._detector = detector

    @classmethod
    def load(
        cls,
        checkpoint: str,
        *,
        identity: str | None = None,
        hear: str | None = None,
        detector: Detector | None = None,
    ) -> "Swapper":
        """Reads a trained network.

        Args:
          checkpoint: workdir of an `aei` or `hear` training, or a converted generator.
          identity: its identity network; None for the one it was trained with.
          hear: a HEAR-Net as second stage; None for none but that of a `hear` training.
          detector: as in the constructor.

        Raises:
          UserError: not such a network, or its identity network is not known or another one.
        """
        # Not at the top: jax takes seconds, and mistakes in file names are found without it.
        from faceshifter_jax.swapping.networks import load_swap

        network, weights = load_swap(checkpoint, identity, hear)
        return cls(network, weights.networks["generator"].image_size, detector)

    def swap(self, source: Picture, target: Picture) -> np.ndarray:
        """Puts the source's face into the target; of several faces, the largest of each.

        Args:
          source: who is to be seen.
          target: the picture that is to show that person.

        Returns:
          uint8 (H, W, 3), the target with another face; its other pixels are as they were.

        Raises:
          UserError: a file that is no picture, or a picture without a face.
        """
        source, target = _as_photo(source, "the source"), _as_photo(target, "the target")
        source_square = self._align(source)[0]
        square, alignment, landmarks = self._align(target)
        swapped = self._network(source_square[None], square[None])[0]
        mask = face_mask(alignment.to_aligned(landmarks), self.image_size)
        return paste(target.pixels, square, swapped, alignment, mask)

    def swap_aligned(self, source: Picture, target: Picture) -> np.ndarray:
        """Swaps between pictures that are aligned already, without looking for faces.

        Args:
          source, target: squares of any size.

        Returns:
          uint8 (S, S, 3), what the network makes of them.

        Raises:
          UserError: a file that is no picture, or a picture that is no square.
        """
        squares = [
            _to_square(_as_photo(picture, name), self.image_size)
            for picture, name in ((source, "the source"), (target, "the target"))
        ]
        return self._network(squares[0][None], squares[1][None])[0]

    def _align(self, photo: Photo) -> tuple[np.ndarray, Alignment, np.ndarray]:
        """Returns the aligned square of the largest face, its alignment and its landmarks."""
        if self._detector is None:
            self._detector = MTCNNDetector()
        landmarks = largest_face(self._detector, photo.pixels, photo.name).landmarks
        alignment = find_alignment(landmarks, self.image_size)
        return alignment.cut_out(photo.pixels), alignment, landmarks


def _as_photo(picture: Picture, name: str) -> Photo:
    if isinstance(picture, Photo):
        return picture
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"{name} must be uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
        return Photo(picture, name)
    return load_photo(picture)


def _to_square(photo: Photo, size: int) -> np.ndarray:
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
