"""Heads as displacements of the mean head, the identity's reach over it, and its teeth."""

import numpy as np
from head_model_source import BODY, ORIGIN, Source

RACES = ("african", "asian", "caucasian")
GENDERS = ("female", "male")
AGES = ("young", "old")
TEETH_COLUMNS, TEETH_ROWS = 17, 3


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """Cubic ramp from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def identity_weight(rest: np.ndarray) -> np.ndarray:
    """Share (n,) of the identity's shape that a vertex takes: 1 on the face, 0 on the skull,
    ears and neck, so that hair, ears and neck fit every face."""
    _, y, z = rest.T
    upper = smoothstep(0.05, 0.40, z)
    jaw = smoothstep(-0.20, 0.12, z)
    front = upper + (jaw - upper) * smoothstep(0.12, -0.25, y)
    under_chin = smoothstep(-0.98, -0.70, y - 0.25 * np.clip(0.55 - z, 0, None))
    forehead = smoothstep(1.20, 0.85, y)
    return front * under_chin * forehead


def align_to(mean: np.ndarray, head: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Scale and shift `head` so that its anchor vertices lie on the mean head's."""
    centre, mean_centre = head[anchor].mean(0), mean[anchor].mean(0)
    spread = np.sqrt(((head[anchor] - centre) ** 2).sum())
    mean_spread = np.sqrt(((mean[anchor] - mean_centre) ** 2).sum())
    return (head - centre) * (mean_spread / spread) + mean_centre


def macro_heads(source: Source) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The mean young head (n, 3) and the displacement from it of every macro shape."""
    shapes = {
        f"{race}-{gender}-{age}": source.target(f"macrodetails/{race}-{gender}-{age}")
        for race in RACES
        for gender in GENDERS
        for age in AGES
    }
    young = [delta for name, delta in shapes.items() if name.endswith("young")]
    mean = source.vertices + sum(young) / len(young)
    skull = np.zeros(len(mean), bool)
    body = mean[: BODY[1]] - ORIGIN
    skull[: BODY[1]] = (body[:, 1] > 0.5) & (body[:, 2] < 0.5)
    macros = {
        name: align_to(mean, source.vertices + delta, skull) - mean
        for name, delta in shapes.items()
    }
    for weight in ("minweight", "maxweight"):
        halves = [
            source.target(f"macrodetails/universal-{gender}-young-averagemuscle-{weight}")
            for gender in GENDERS
        ]
        macros[weight] = align_to(mean, mean + sum(halves) / 2, skull) - mean
    return mean, macros


def dental_arches() -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower row of teeth, smooth bands (MakeHuman's are few blocks): vertices (n, 3)
    around the head joint and triangles (m, 3)."""
    turn = np.linspace(-1.35, 1.35, TEETH_COLUMNS)[None]
    grid, cells = [], []
    for top, bottom, reach in ((-0.100, -0.275, 0.21), (-0.250, -0.420, 0.195)):
        fall = np.linspace(0.0, 1.0, TEETH_ROWS)[:, None]
        x = reach * np.sin(turn) + 0 * fall
        z = 0.945 - 0.020 * (1 - fall) - (0.215 - reach) - 0.26 * (1 - np.cos(turn))
        y = top + (bottom - top) * fall + 0.02 * (1 - np.cos(turn))
        grid.append(np.stack([x, y, z], -1).reshape(-1, 3))
    for first in (0, TEETH_COLUMNS * TEETH_ROWS):
        for row in range(TEETH_ROWS - 1):
            for column in range(TEETH_COLUMNS - 1):
                a = first + row * TEETH_COLUMNS + column
                cells += [(a, a + TEETH_COLUMNS, a + 1)]
                cells += [(a + 1, a + TEETH_COLUMNS, a + TEETH_COLUMNS + 1)]
    return np.concatenate(grid), np.array(cells)
