"""The stored head: mean shape, morph targets and what was baked into its vertices."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from faceshifter_jax.compiled import compiled

# The natural hairline: elevation over azimuth (straight ahead, ..., straight behind), radians
# around the skull's centre. Above the ears it ends over them.
HAIRLINE_TURNS = np.array([0.0, 0.45, 0.80, 1.08, 1.26, 1.40, 1.62, 1.85, 2.15, np.pi])
HAIRLINE = (0.66, 0.64, 0.56, 0.36, 0.00, -0.12, 0.30, 0.12, -0.45, -0.72)
SHOULDER_HEIGHT = -1.0
MODEL_PATH = Path(__file__).with_name("head_model.npz")


@dataclass(frozen=True, eq=False)
class Shapes:
    """Sparse morph targets: target k moves vertices `indices[offsets[k]:offsets[k + 1]]`."""

    names: tuple[str, ...]
    offsets: np.ndarray
    indices: np.ndarray
    deltas: np.ndarray

    def add_to(self, vertices: np.ndarray, weights: dict[str, float]) -> None:
        """Add the weighted targets to `vertices` (n, 3) in place."""
        used = [name for name, weight in weights.items() if weight != 0.0]
        targets = np.array([self.names.index(name) for name in used], np.int64)
        shares = np.array([weights[name] for name in used], np.float32)
        _add_targets(vertices, targets, shares, self.offsets, self.indices, self.deltas)


@compiled(nogil=True)
def _add_targets(vertices, targets, shares, offsets, indices, deltas):
    for j in range(targets.size):
        for i in range(offsets[targets[j]], offsets[targets[j] + 1]):
            for axis in range(3):
                vertices[indices[i], axis] += shares[j] * deltas[i, axis]


@dataclass(frozen=True, eq=False)
class HeadModel:
    """Decimetres, head joint at the origin, x to the person's left, y up, z forward.

    rest        (n + 2, 3) float32: the mean head; the last two are the eyeballs' centres
    triangles   (m, 3) int32: the shoulders', then the head's and neck's from `first_head`, then
                the teeth's from `first_tooth`
    surface     (n, 10) float32 of what the shader reads: rest position, then shares in [0, 1] of
                lip, inside of the mouth, openness to light, tooth and tongue, the distance from
                the lashes, and the elevation above the hairline (radians)
    pairs       (direction, target for negative values, target for positive values)
    landmarks   vertices of the nose tip and the right and left mouth corner
    skull_radii (64, 48) by azimuth -pi..pi and elevation -1..pi/2, from `skull_centre`
    """

    rest: np.ndarray
    triangles: np.ndarray
    first_head: int
    first_tooth: int
    surface: np.ndarray
    identity: Shapes
    expression: Shapes
    pairs: tuple[tuple[str, str, str], ...]
    landmarks: np.ndarray
    eye_radius: float
    skull_centre: np.ndarray
    skull_radii: np.ndarray
    hand: np.ndarray
    hand_triangles: np.ndarray


def _read_shapes(stored: dict[str, np.ndarray], prefix: str) -> Shapes:
    return Shapes(
        names=tuple(str(name) for name in stored[f"{prefix}_names"]),
        offsets=stored[f"{prefix}_offsets"],
        indices=stored[f"{prefix}_indices"].astype(np.int64),
        deltas=stored[f"{prefix}_deltas"].astype(np.float32),
    )


def _above_hairline(places: np.ndarray) -> np.ndarray:
    """Elevation (n,) of places around the skull's centre over the natural hairline."""
    x, y, z = places.T
    azimuth = np.abs(np.arctan2(x, z))
    elevation = np.arctan2(y, np.sqrt(x * x + z * z))
    return (elevation - np.interp(azimuth, HAIRLINE_TURNS, HAIRLINE)).astype(np.float32)


@cache
def head_model() -> HeadModel:
    """Returns the model in the package, which is read once a process."""
    with np.load(MODEL_PATH) as archive:
        stored = {name: archive[name] for name in archive.files}
    rest = stored["rest"].astype(np.float32)
    shares = [stored[name].astype(np.float32) / 255 for name in ("lips", "mouth", "openness")]
    kinds = [(stored["part"] == kind).astype(np.float32) for kind in (1, 2)]
    scalp = _above_hairline(rest[:-2] - stored["skull_centre"].astype(np.float32))
    columns = [*shares, *kinds, stored["lash_distance"].astype(np.float32), scalp]
    triangles = stored["triangles"].astype(np.int32)
    toothed = stored["part"][triangles[:, 0]] == 1
    low = rest[triangles, 1].max(1) < SHOULDER_HEIGHT
    return HeadModel(
        rest=rest,
        triangles=np.concatenate(
            [triangles[low], triangles[~low & ~toothed], triangles[~low & toothed]]
        ),
        first_head=int(low.sum()),
        first_tooth=int((~toothed).sum()),
        surface=np.ascontiguousarray(np.concatenate([rest[:-2], np.stack(columns, 1)], 1)),
        identity=_read_shapes(stored, "identity"),
        expression=_read_shapes(stored, "expression"),
        pairs=tuple((str(a), str(b), str(c)) for a, b, c in stored["pairs"]),
        landmarks=stored["landmarks"].astype(np.int64),
        eye_radius=float(stored["eye_radius"]),
        skull_centre=stored["skull_centre"].astype(np.float32),
        skull_radii=stored["skull_radii"].astype(np.float32),
        hand=stored["hand"].astype(np.float32),
        hand_triangles=np.ascontiguousarray(stored["hand_triangles"], dtype=np.int32),
    )
