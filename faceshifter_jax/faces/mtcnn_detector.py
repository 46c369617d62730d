"""The detector of the package `mtcnn`: small, on the CPU, with its weights in the wheel."""

import importlib.resources
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import face_size
from faceshifter_jax.faces.face import BRIGHTENED, Face, shares

MIN_SCORE = 0.9
"""Below this confidence MTCNN takes ears, hands and patterns for faces."""


@dataclass(frozen=True)
class _Attempt:
    """One way to show a picture to MTCNN.

    Attributes:
      long_side: pixels that a larger picture is shrunk to, together with its border.
      border: its width on each side as a share of the picture's longer side.
      brightened: whether shadows are lifted.
    """

    long_side: int = 640
    border: float = 0.0
    brightened: bool = False


# Each is made if those before it found nothing. A face that fills its picture is found with some
# border around it, a dark one when it is brightened, a small one in a larger picture.
_ATTEMPTS = (
    _Attempt(),
    _Attempt(border=0.5),
    _Attempt(border=0.5, brightened=True),
    _Attempt(long_side=1280),
)
_FOR_SMALL_FACES = _ATTEMPTS[-1]
# Side of the square of a face's landmarks by that of its box: 1.26 to 1.57 for 50 faces that were
# upright or tilted up to 60 degrees, 0.53 to 0.97 for what was found in pictures on their side.
_SMALLEST_SHARE, _LARGEST_SHARE = 1.1, 2.2
_SAME_FACE = 0.4  # share of the union of two boxes that is in both
# MTCNN's own smallest face has 20 pixels; its pyramid has no level for pictures below that.
_SMALLEST_SIDE = 20
_HALF_PIXEL = 0.5


class MTCNNDetector:
    """Finds faces from 3 % of a picture's longer side; from 1.6 % where none is larger."""

    def __init__(self, min_score: float = MIN_SCORE, *, small_faces: bool = False):
        """Loads the networks; TensorFlow takes some seconds to start.

        Args:
          min_score: faces of a lower confidence are left out.
          small_faces: look for those from 1.6 % next to larger ones, too, which takes four times
            as long.

        Raises:
          UserError: the package is not installed.
        """
        self._min_score = min_score
        self._small_faces = small_faces
        self._mtcnn = _load_mtcnn()

    def detect(self, picture: np.ndarray) -> list[Face]:
        """Finds the faces of a picture, uint8 (H, W, 3), RGB, in no special order."""
        faces: list[Face] = []
        for attempt in _ATTEMPTS:
            faces = self._detect_as(picture, attempt)
            if faces:
                break
        if self._small_faces and max(picture.shape[:2]) > _ATTEMPTS[0].long_side:
            faces = _join(faces, self._detect_as(picture, _FOR_SMALL_FACES))
        return faces

    def _detect_as(self, picture: np.ndarray, attempt: _Attempt) -> list[Face]:
        # MTCNN finds nothing at all with a min_face_size above 20: large faces are found by
        # shrinking the picture, which is also what makes it fast.
        small, factors = _shrink(picture, attempt.long_side / (1 + 2 * attempt.border))
        inset = round(attempt.border * max(small.shape[:2]))
        shown = np.pad(small, ((inset, inset), (inset, inset), (0, 0)), mode="edge")
        if attempt.brightened:
            shown = BRIGHTENED[shown]
        if min(shown.shape[:2]) < _SMALLEST_SIDE:
            return []
        # As numbers: in its dictionaries, landmarks are rounded to whole pixels.
        rows = self._mtcnn.detect_faces(shown, box_format="xyxy", output_type="numpy")
        faces = [_face_from(row, inset, factors) for row in rows]
        return [f for f in faces if f.score >= self._min_score and not _contradicts_itself(f)]


def _face_from(row: np.ndarray, inset: int, factors: np.ndarray) -> Face:
    """Turns a row (picture, left, top, right, bottom, score, five x, five y) into a face."""
    # MTCNN counts from the centre of the first pixel.
    corners = (row[1:5].reshape(2, 2) - inset + _HALF_PIXEL) * factors
    landmarks = (row[6:].reshape(2, 5).T - inset + _HALF_PIXEL) * factors
    return Face(landmarks.astype(np.float32), corners.reshape(4).astype(np.float32), float(row[5]))


def _contradicts_itself(face: Face) -> bool:
    """Whether the landmarks are those of a face of a very different size than the box.

    MTCNN knows upright faces. Of one that lies on its side it finds parts, and landmarks to them
    that are crowded together.
    """
    if not np.ptp(face.landmarks):
        return True
    return not _SMALLEST_SHARE <= face_size(face.landmarks) / np.sqrt(face.area) <= _LARGEST_SHARE


def _join(faces: list[Face], more: list[Face]) -> list[Face]:
    """Adds the faces that are not among the first."""
    return faces + [
        face for face in more if all(shares(face.box, known.box)[0] < _SAME_FACE for known in faces)
    ]


def _shrink(picture: np.ndarray, long_side: float) -> tuple[np.ndarray, np.ndarray]:
    """Shrinks a larger picture; returns it and the factors (2,) of x and y that lead back."""
    height, width = picture.shape[:2]
    factor = max(height, width) / long_side
    if factor <= 1:
        return picture, np.ones(2)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    small = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small), np.array([width / size[0], height / size[1]])


def _load_mtcnn() -> Any:
    # TensorFlow announces its start, and warns of every picture in which MTCNN finds nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        import tensorflow as tf
        from mtcnn import MTCNN
        from mtcnn.stages import StageONet, StagePNet, StageRNet
    except ImportError as error:
        raise UserError(
            f"finding faces needs the package mtcnn ({error}): install it with "
            "pip install 'faceshifter-jax[mtcnn]'"
        ) from error
    # By default TensorFlow would claim the memory of every GPU.
    tf.config.set_visible_devices([], "GPU")
    # Under their bare names, files in the working directory would be unpickled in their place.
    weights = importlib.resources.files("mtcnn.assets.weights")
    stages = ((StagePNet, "pnet.lz4"), (StageRNet, "rnet.lz4"), (StageONet, "onet.lz4"))
    loaded: Any = [stage(weights=str(weights / name)) for stage, name in stages]
    return MTCNN(stages=loaded)
