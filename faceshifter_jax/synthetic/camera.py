"""Pose of the head and the crop of the picture: both follow from the attributes alone."""

from dataclasses import dataclass

import numpy as np

from faceshifter_jax.synthetic.attributes import Attributes
from faceshifter_jax.synthetic.model import head_model

# ArcFace's template in its 112x112 crop: eyes, nose tip, mouth corners; picture's left first.
TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
CROP_SHARE = 0.85
NECK = np.array([0.0, -0.35, -0.20], np.float32)


def template_points(size: int) -> np.ndarray:
    """The five landmarks (5, 2) of a picture of `size` pixels whose ArcFace crop is its middle
    85 percent."""
    return (TEMPLATE / 112 * CROP_SHARE + (1 - CROP_SHARE) / 2) * size


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) float32 from degrees. Yaw turns the face to the picture's right, pitch upwards, roll
    leans it to the picture's right."""
    y, p, r = np.radians([yaw, -pitch, -roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    lean = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (lean @ nod @ turn).astype(np.float32)


def head_landmarks(vertices: np.ndarray) -> np.ndarray:
    """(5, 3): pupils, nose tip, mouth corners of an unposed head (n + 2, 3)."""
    model = head_model()
    nose, right_mouth, left_mouth = vertices[model.landmarks]
    ahead = np.array([0.0, 0.0, model.eye_radius], np.float32)
    left_eye, right_eye = vertices[-2:] + ahead
    return np.stack([right_eye, left_eye, nose, right_mouth, left_mouth])


@dataclass(frozen=True, eq=False)
class Camera:
    """Turns the head and projects it: perspective from `distance` decimetres, then the similarity
    `scale * z + shift` of the complex number z = x - iy, in pixels of a `size` x `size` picture."""

    turn: np.ndarray
    distance: float
    scale: complex
    shift: complex
    size: int

    def pose(self, points: np.ndarray) -> np.ndarray:
        """Turn points (n, 3) float32 with the head; the shoulders stay where they are."""
        t = np.clip((points[:, 1] + 1.45) / 0.95, 0.0, 1.0)
        share = (t * t * (3.0 - 2.0 * t))[:, None]
        local = points - NECK
        return NECK + local + share * (local @ self.turn.T - local)

    def project(self, posed: np.ndarray) -> np.ndarray:
        """Column and row in pixels, and depth (larger is nearer), of posed points (n, 3)."""
        flat = _flatten(posed, self.distance) * self.scale + self.shift
        return np.stack([flat.real, flat.imag, posed[:, 2]], 1).astype(np.float32)


def _flatten(posed: np.ndarray, distance: float) -> np.ndarray:
    enlarge = distance / (distance - posed[:, 2].astype(np.float64))
    return (posed[:, 0] - 1j * posed[:, 1]) * enlarge


def build_camera(attributes: Attributes, expressive_mean: np.ndarray, size: int) -> Camera:
    """The camera that brings the mean head (n + 2, 3) in the attributes' pose and expression onto
    ArcFace's template, then moves the crop by the attributes' framing."""
    turn = rotation(attributes.yaw, attributes.pitch, attributes.roll)
    camera = Camera(turn, attributes.distance, 1.0, 0.0, size)
    seen = _flatten(camera.pose(head_landmarks(expressive_mean)), attributes.distance)
    wanted = template_points(size) @ np.array([1, 1j])
    centred = seen - seen.mean()
    scale = np.vdot(centred, wanted - wanted.mean()) / np.vdot(centred, centred)
    shift = wanted.mean() - scale * seen.mean()
    framing = attributes.framing
    middle = size / 2 * (1 + 1j)
    jitter = framing.zoom * np.exp(1j * np.radians(framing.turn))
    moved = (framing.shift_x + 1j * framing.shift_y) * size
    return Camera(
        turn, attributes.distance, scale * jitter, (shift - middle) * jitter + middle + moved, size
    )
