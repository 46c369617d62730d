"""Fitting the face mesh to what a detector found, and what the project needs of its points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from faceshifter_jax.faces.face import Face
from faceshifter_jax.faces.face_networks import NETWORKS, Run, has_accelerator, load_network
from faceshifter_jax.faces.views import turned_square
from faceshifter_jax.faces.warp import map_points

if TYPE_CHECKING:
    from faceshifter_jax.faces.blaze_detector import Detection

MIN_MESH_SCORE = 0.5
"""Below this confidence the mesh saw no face."""

# Half of that side where landmarks alone are known, by the way from the eyes to the mouth.
_REACH = 1.65
_ROOM = 1.5  # side of the square that the mesh sees, by that of the detector's box
# Corners and lids of the eye on the picture's left, and of the other one; the mouth's corners.
_EYE_LEFT, _EYE_RIGHT = (33, 133, 159, 145), (263, 362, 386, 374)
_NOSE = (1, 4)  # below and above where people, and MTCNN, put its tip
_MOUTH_LEFT, _MOUTH_RIGHT = 61, 291


@dataclass(frozen=True, eq=False)
class Mesh:
    """The points of a face.

    Attributes:
      points: (468, 3) float32: x and y in the picture, and depth in the same pixels, less nearer.
      score: the confidence of the detector times that of the mesh, in [0, 1].
    """

    points: np.ndarray
    score: float

    @property
    def box(self) -> np.ndarray:
        """(4,): left, top, right and bottom of the points."""
        return np.concatenate([self.points[:, :2].min(0), self.points[:, :2].max(0)])

    def face(self) -> Face:
        """The face with the five landmarks that alignment takes."""
        return Face(five_landmarks(self.points[:, :2]), self.box.astype(np.float32), self.score)


def five_landmarks(points: np.ndarray) -> np.ndarray:
    """Returns the landmarks of `Face`, (5, 2) float32, from the points (468, 2) of a mesh."""
    means = [points[list(several)].mean(0) for several in (_EYE_LEFT, _EYE_RIGHT, _NOSE)]
    return np.stack([*means, points[_MOUTH_LEFT], points[_MOUTH_RIGHT]]).astype(np.float32)


def fit_meshes(run: Run, picture: np.ndarray, found: Sequence["Detection"]) -> list[Mesh]:
    """Fits a mesh to each face that a detector found; those that are none are left out.

    Args:
      run: the network `face_mesh`.
      picture: uint8 (H, W, 3).
      found: where faces are.
    """
    if not found:
        return []
    size = NETWORKS["face_mesh"].size
    cut = [turned_square(picture, *_square(one.points), size) for one in found]
    points, logits = run(np.stack([square for square, _ in cut]))
    scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -80, 80)))
    meshes = []
    for one, (_, back), own, score in zip(found, cut, points, scores, strict=True):
        if score < MIN_MESH_SCORE:
            continue
        scale = float(np.hypot(*back[:, 0]))
        placed = np.column_stack([map_points(back, own[:, :2]), own[:, 2] * scale])
        meshes.append(Mesh(placed.astype(np.float32), one.score * float(score)))
    return meshes


def fit_to_square(square: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """Fits the mesh to an aligned face, whatever detector found it.

    Args:
      square: uint8 (S, S, 3).
      landmarks: (5, 2) points in it, in the order of `Face.landmarks`.

    Returns:
      (468, 2) float32, points in the square; None where the mesh sees no face.
    """
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    down = np.asarray(mouth - eyes, np.float64)
    across = _REACH * np.array([down[1], -down[0]])
    size = NETWORKS["face_mesh"].size
    shown, back = turned_square(square, (eyes + mouth) / 2, across, size)
    run = load_network("face_mesh", with_jax=has_accelerator())
    points, logits = run(shown[None])
    if 1 / (1 + np.exp(-np.clip(logits[0, 0], -80, 80))) < MIN_MESH_SCORE:
        return None
    return map_points(back, points[0, :, :2]).astype(np.float32)


def _square(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre, and half of the side along the line of the eyes, of the square for the mesh."""
    (low, high), (right_eye, left_eye) = points[:2], points[2:4]
    between = left_eye - right_eye
    length = float(np.hypot(*between))
    direction = between / length if length > 0 else np.array([1.0, 0.0])
    return (low + high) / 2, direction * (_ROOM * float((high - low).max()) / 2)
