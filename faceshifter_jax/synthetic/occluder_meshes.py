"""Meshes of the occluders, placed on the mean head before it is posed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from faceshifter_jax.synthetic.attributes import Attributes
from faceshifter_jax.synthetic.camera import head_landmarks, rotation
from faceshifter_jax.synthetic.hair import skull_radius, smooth_ramp
from faceshifter_jax.synthetic.lighting import linear
from faceshifter_jax.synthetic.model import head_model
from faceshifter_jax.synthetic.seeding import OCCLUDER, seeded


@dataclass(frozen=True, eq=False)
class OccluderMesh:
    """vertices (n, 3) float32, triangles (m, 3) int32, paint (n, 5) float32: linear colour and
    place on the surface for the grain; layers: (first triangle, last, opacity), each drawn over
    those before it; gloss and grain as strengths; hidden_by_head: parts behind the mean head do
    not show."""

    vertices: np.ndarray
    triangles: np.ndarray
    paint: np.ndarray
    layers: tuple[tuple[int, int, float], ...]
    gloss: float
    grain: float
    hidden_by_head: bool


def _random(attributes: Attributes) -> np.random.Generator:
    return seeded(attributes.occluder.pattern, OCCLUDER)


def _plain(vertices: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """Paint of one colour, its grain laid over x and y."""
    flat = np.broadcast_to(linear(colour), (len(vertices), 3))
    return np.concatenate([flat, vertices[:, :2] * 30], 1).astype(np.float32)


def _tube(path: np.ndarray, thickness: np.ndarray, sides: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A tube around a path (k, 3) of the given radii (k,): vertices and triangles."""
    along = np.gradient(path, axis=0)
    along /= np.sqrt((along**2).sum(1, keepdims=True))
    first = np.cross(along, np.array([0.31, 0.25, 0.92]))
    first /= np.sqrt((first**2).sum(1, keepdims=True))
    second = np.cross(along, first)
    angle = np.arange(sides) * (2 * np.pi / sides)
    ring = first[:, None] * np.cos(angle)[:, None] + second[:, None] * np.sin(angle)[:, None]
    vertices = path[:, None] + ring * thickness[:, None, None]
    return vertices.reshape(-1, 3), _band(len(path), sides, wrap=True)


@lru_cache(maxsize=16)
def _band(rows: int, columns: int, *, wrap: bool) -> np.ndarray:
    """Triangles of a grid of vertices, row by row; `wrap` joins the last column to the first."""
    last = columns if wrap else columns - 1
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(last), indexing="ij")
    a, b = row * columns + column, row * columns + (column + 1) % columns
    quads = np.stack([a, b, a + columns, b + columns], -1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 2, 1]], quads[:, [1, 2, 3]]]).astype(np.int32)


def _join(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """One mesh of several."""
    vertices, triangles, count = [], [], 0
    for places, corners in parts:
        vertices.append(places)
        triangles.append(corners + count)
        count += len(places)
    return np.concatenate(vertices).astype(np.float32), np.concatenate(triangles).astype(np.int32)


def _lens_outline(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Closed outline (41, 2) around an eye, between an ellipse and a box, and its half width."""
    square = rng.uniform(2.0, 4.5)
    width, height = rng.uniform(0.215, 0.265), rng.uniform(0.13, 0.22)
    angle = np.linspace(0, 2 * np.pi, 41)
    c, s = np.cos(angle), np.sin(angle)
    x = width * np.sign(c) * np.abs(c) ** (2 / square)
    y = height * np.sign(s) * np.abs(s) ** (2 / square) - 0.02
    return np.stack([x, y], 1), width


def _spectacles(rng: np.random.Generator, mean: np.ndarray) -> tuple[list, list]:
    """Lenses, and rims with bridge and temples, as lists of (vertices, triangles)."""
    right, left = head_landmarks(mean)[:2]
    outline, width = _lens_outline(rng)
    thick = rng.uniform(0.012, 0.034)
    t = np.linspace(0, 1, 9)[:, None]
    lenses, frame, temples = [], [], []
    for eye, side in ((right, -1.0), (left, 1.0)):
        x = eye[0] + side * 0.02 + outline[:, 0]
        # Lenses wrap around the face a little.
        z = eye[2] + 0.17 - 0.28 * x**2
        rim = np.stack([x, eye[1] + outline[:, 1], z], 1)
        frame.append(_tube(rim, np.full(len(rim), thick)))
        fan = np.stack([np.full(40, 41), np.arange(40), np.arange(1, 41)], 1)
        lenses.append((np.concatenate([rim, rim.mean(0, keepdims=True)]), fan))
        hinge = rim[np.argmax(side * rim[:, 0] + 0.3 * rim[:, 1])]
        ear = np.array([side * 0.80, right[1] + 0.02, -0.05])
        arm = hinge * (1 - t) + ear * t + np.array([side * 0.05, 0, 0]) * np.sin(np.pi * t)
        temples.append(_tube(arm, np.full(9, thick * 0.85)))
    inner = np.array([abs(right[0]) - width, right[1] + 0.03, right[2] + 0.185])
    bow = np.array([0, 0.05, 0.03]) * (4 * t * (1 - t))
    bridge = inner * (-1, 1, 1) * (1 - t) + inner * t + bow
    return lenses, [*frame, _tube(bridge, np.full(9, thick * 0.9)), *temples]


def glasses_mesh(attributes: Attributes, mean: np.ndarray) -> OccluderMesh:
    """Two rims, a bridge, temples and lenses, clear or tinted."""
    rng = _random(attributes)
    lenses, frame = _spectacles(rng, mean)
    vertices, triangles = _join(lenses + frame)
    paint = _plain(vertices, attributes.occluder.colour)
    dark = rng.uniform() < 0.35
    tint = linear((0.07, 0.06, 0.06)) if dark else linear((0.75, 0.80, 0.85))
    paint[: sum(len(places) for places, _ in lenses), :3] = tint
    opacity = rng.uniform(0.75, 0.93) if dark else rng.uniform(0.06, 0.16)
    border = sum(len(corners) for _, corners in lenses)
    layers = ((0, border, float(opacity)), (border, len(triangles), 1.0))
    return OccluderMesh(vertices, triangles, paint, layers, 0.25, 0.0, True)


def hand_mesh(attributes: Attributes, mean: np.ndarray) -> OccluderMesh:
    """A hand over the mouth, a cheek or the chin, its back to the camera."""
    rng = _random(attributes)
    model = head_model()
    side = rng.choice([-1.0, 1.0])
    kind = int(rng.integers(3))
    goals = ((0.0, -0.20, 1.22), (side * 0.42, -0.05, 1.05), (side * 0.15, -0.55, 1.05))
    middle = np.array(goals[kind]) + rng.normal(0.0, 0.05, 3) * (1, 1, 0)
    lean = rng.uniform(15, 75) if kind == 0 else rng.uniform(-5, 50)
    turn = rotation(0.0, 0.0, -side * lean) @ rotation(side * rng.uniform(0, 25), 0.0, 0.0)
    hand = model.hand * np.array([side, 1.0, 1.0], np.float32)
    # Fingers bend towards the face.
    hand[:, 2] -= 0.22 * np.clip(hand[:, 1] - 0.75, 0.0, None) ** 2
    palm = np.array([0.0, 0.85, 0.0], np.float32)
    vertices = ((hand - palm) @ turn.T + middle).astype(np.float32)
    paint = _plain(model.hand * 0.5, tuple(np.array(attributes.skin.tone) * 0.98))
    layers = ((0, len(model.hand_triangles), 1.0),)
    return OccluderMesh(vertices, model.hand_triangles, paint, layers, 0.06, 0.08, False)


def _cloth(rng: np.random.Generator, head: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Grid (rows, columns, 3) of a cloth that hangs over nose, mouth and chin of `head` (n, 3)."""
    top, bottom = rng.uniform(0.14, 0.26), rng.uniform(-0.72, -0.62)
    azimuth = np.linspace(-1.15, 1.15, columns)
    share = np.linspace(0, 1, rows)[:, None]
    middle = np.abs(azimuth) / 1.15
    upper = top - 0.16 * middle**2
    lower = bottom + 0.26 * middle**2
    y = upper * (1 - share) + lower * share
    away = _front_radius(head, azimuth, y) + 0.045
    for _ in range(6):
        away[1:-1] = np.maximum(away[1:-1], (away[:-2] + away[2:]) / 2)
        away[:, 1:-1] = np.maximum(away[:, 1:-1], (away[:, :-2] + away[:, 2:]) / 2)
    folds = int(rng.integers(0, 4))
    away = away + 0.012 * np.sin(share * np.pi * 2 * folds) * (1 - middle)
    return np.stack([away * np.sin(azimuth), y, away * np.cos(azimuth)], -1)


def mask_mesh(attributes: Attributes, mean: np.ndarray) -> OccluderMesh:
    """A cloth mask over nose, mouth and chin, with loops around the ears."""
    rng = _random(attributes)
    rows, columns = 15, 31
    grid = _cloth(rng, mean[:-2], rows, columns)
    parts = [(grid.reshape(-1, 3), _band(rows, columns, wrap=False))]
    t = np.linspace(0, 1, 9)[:, None]
    for side, column in ((-1.0, 0), (1.0, columns - 1)):
        for row, ear in ((1, (0.80, 0.38, -0.05)), (rows - 2, (0.74, -0.05, -0.05))):
            loop = grid[row, column] * (1 - t) + np.array(ear) * (side, 1, 1) * t
            parts.append(_tube(loop, np.full(9, 0.012)))
    vertices, triangles = _join(parts)
    colour = np.array(attributes.occluder.colour)
    colour = (0.55, 0.72, 0.82) if rng.uniform() < 0.35 else tuple(colour * 0.9)
    paint = _plain(vertices, colour)
    return OccluderMesh(vertices, triangles, paint, ((0, len(triangles), 1.0),), 0.01, 0.12, True)


def _front_radius(head: np.ndarray, azimuth: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Reach of the head from its vertical axis at (row, column): the largest radius of vertices
    near the azimuth and height."""
    turn = np.arctan2(head[:, 0], head[:, 2])
    level = np.sqrt(head[:, 0] ** 2 + head[:, 2] ** 2)
    near = (head[:, 2] > 0.15) & (head[:, 1] > -1.0) & (head[:, 1] < 0.5)
    turn, level, height = turn[near], level[near], head[near, 1]
    radius = np.empty_like(y)
    for row in range(y.shape[0]):
        for column in range(y.shape[1]):
            close = (np.abs(turn - azimuth[column]) < 0.09) & (
                np.abs(height - y[row, column]) < 0.07
            )
            radius[row, column] = level[close].max() if close.any() else np.nan
    for row in range(1, y.shape[0]):
        radius[row] = np.where(np.isnan(radius[row]), radius[row - 1] * 0.97, radius[row])
    return radius


def fringe_mesh(attributes: Attributes, mean: np.ndarray) -> OccluderMesh:
    """Strands of hair that hang from the hairline over the forehead."""
    rng = _random(attributes)
    count, rows = int(rng.integers(18, 60)), 10
    centre = head_model().skull_centre
    middle, spread = rng.uniform(-0.4, 0.4), rng.uniform(0.3, 0.75)
    azimuth = np.clip(rng.normal(middle, spread, count), -1.05, 1.05)
    drop = rng.uniform(0.45, 0.95)
    sweep = rng.normal(0.0, 0.35)
    share = np.linspace(0, 1, rows)
    parts, paint = [], []
    colour = linear(attributes.hair.colour)
    for k in range(count):
        length = drop * rng.uniform(0.7, 1.25)
        elevation = 0.80 - length * share
        bend = sweep + rng.normal(0.0, 0.12)
        path = azimuth[k] + bend * share**2
        depth = 0.04 + 0.07 * np.sin(np.pi * np.minimum(share * 1.2, 1.0)) + rng.uniform(0, 0.05)
        away = skull_radius(path, elevation) + depth
        line = (
            np.stack(
                [
                    away * np.cos(elevation) * np.sin(path),
                    away * np.sin(elevation),
                    away * np.cos(elevation) * np.cos(path),
                ],
                1,
            )
            + centre
        )
        half = rng.uniform(0.014, 0.045) * (1.0 - smooth_ramp(share, 0.35, 1.0) * 0.97)
        across = np.stack([np.cos(path), 0 * path, -np.sin(path)], 1) * half[:, None]
        strip = np.stack([line - across, line + across * 0.1 + [0, 0, 0.01], line + across], 1)
        parts.append((strip.reshape(-1, 3), _band(rows, 3, wrap=False)))
        tone = np.broadcast_to(colour * rng.uniform(0.7, 1.25), (rows * 3, 3))
        place = np.stack(np.meshgrid(share * 3, [0.0, 4.0, 8.0], indexing="ij"), -1)[..., ::-1]
        paint.append(np.concatenate([tone, place.reshape(-1, 2) + k * 9.0], 1))
    vertices, triangles = _join(parts)
    layers = ((0, len(triangles), 1.0),)
    return OccluderMesh(
        vertices, triangles, np.concatenate(paint).astype(np.float32), layers, 0.06, 0.6, False
    )
