"""Eyeballs: the front of a sphere in each socket."""

from functools import cache

import numpy as np

RINGS, SPOKES = 10, 24
REACH = 1.25


@cache
def _cap() -> tuple[np.ndarray, np.ndarray]:
    """Directions (n, 3) float32 of a cap around +z that reaches REACH radians, and triangles."""
    tilt, turn = np.meshgrid(
        np.linspace(0.0, REACH, RINGS), np.arange(SPOKES) * (2 * np.pi / SPOKES), indexing="ij"
    )
    cap = np.stack([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)], -1)
    row, column = np.meshgrid(np.arange(RINGS - 1), np.arange(SPOKES), indexing="ij")
    a, b = row * SPOKES + column, row * SPOKES + (column + 1) % SPOKES
    inner = np.stack([a, a + SPOKES, b], -1).reshape(-1, 3)
    outer = np.stack([b, a + SPOKES, b + SPOKES], -1).reshape(-1, 3)
    return cap.reshape(-1, 3).astype(np.float32), np.concatenate([inner, outer]).astype(np.int32)


@cache
def eye_directions() -> tuple[np.ndarray, np.ndarray]:
    """Both eyes' directions (2n, 3) float32 from their centres, left eye first, and triangles."""
    directions, triangles = _cap()
    both = np.concatenate([triangles, triangles + len(directions)])
    return np.concatenate([directions, directions]), both


def eye_vertices(centres: np.ndarray, radius: float) -> np.ndarray:
    """Vertices (2n, 3) float32 of eyeballs around `centres` (2, 3)."""
    directions, _ = eye_directions()
    half = len(directions) // 2
    vertices = directions * np.float32(radius)
    vertices[:half] += centres[0]
    vertices[half:] += centres[1]
    return vertices


def gaze_direction(gaze: tuple[float, float]) -> np.ndarray:
    """Unit vector (3,) float32 from the angles (to the picture's right, upwards), radians."""
    across, up = gaze
    level = np.cos(up)
    return np.array([np.sin(across) * level, np.sin(up), np.cos(across) * level], np.float32)
