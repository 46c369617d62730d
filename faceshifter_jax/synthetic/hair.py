"""Hair: a shell around the mean skull whose rows run from the crown down to the hair's ends."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from faceshifter_jax.synthetic.attributes import Hair
from faceshifter_jax.synthetic.model import HAIRLINE, HAIRLINE_TURNS, head_model
from faceshifter_jax.synthetic.seeding import HAIR, seeded

COLUMNS, ROWS = 112, 36
TIP_ROWS = 5


@dataclass(frozen=True, eq=False)
class Mesh:
    """Vertices (n, 3) float32 of an unposed head, triangles (m, 3) int32, and (n, 4) float32:
    place across and along the strands, openness to light, and nearness to the tip."""

    vertices: np.ndarray
    triangles: np.ndarray
    strands: np.ndarray


@dataclass(frozen=True)
class Cut:
    """A hair style.

    ends: elevations (radians, around the skull's centre) at which hair ends, or begins to hang,
    over the azimuths HAIRLINE_TURNS; top, side, front: depth in decimetres; hang: height over the
    head joint down to which it hangs at the sides and the back, or None; wave: curliness in
    decimetres; ragged: share of the strands' last rows that ends at random.
    """

    ends: tuple[float, ...]
    top: float
    side: float
    front: float
    hang: float | None = None
    wave: float = 0.0
    ragged: float = 1.0


OPEN = (0.66, 0.64, 0.52, 0.30, 0.05, 0.0, 0.0, -0.1, -0.4, -0.5)
CUTS = {
    "short": Cut(HAIRLINE, 0.15, 0.06, 0.09),
    "swept": Cut(HAIRLINE, 0.30, 0.06, 0.20),
    "bob": Cut(OPEN, 0.17, 0.15, 0.08, hang=-0.40),
    "long": Cut(OPEN, 0.16, 0.14, 0.07, hang=-1.5),
    "bangs": Cut((0.24, 0.24, 0.22, 0.2, *OPEN[4:]), 0.19, 0.15, 0.10, hang=-0.9),
    "bun": Cut((0.68, 0.66, 0.56, 0.38, 0.06, 0.0, *HAIRLINE[6:]), 0.07, 0.05, 0.03, ragged=0.5),
    "afro": Cut(HAIRLINE, 0.48, 0.36, 0.28, wave=0.05),
    "curly": Cut(OPEN, 0.28, 0.24, 0.16, hang=-0.6, wave=0.06),
}


def smooth_ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Cubic ramp from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def skull_radius(azimuths: np.ndarray, elevations: np.ndarray) -> np.ndarray:
    """Distance of the mean skull from its centre, bilinear in the stored table."""
    table = head_model().skull_radii
    columns = (azimuths + np.pi) / (2 * np.pi) * table.shape[0]
    rows = (elevations + 1.0) / (np.pi / 2 + 1.0) * (table.shape[1] - 1)
    rows = np.clip(rows, 0, table.shape[1] - 1.001)
    i, j = np.floor(columns).astype(int), np.floor(rows).astype(int)
    u, v = columns - i, rows - j
    i0, i1 = i % table.shape[0], (i + 1) % table.shape[0]
    low = table[i0, j] * (1 - u) + table[i1, j] * u
    high = table[i0, j + 1] * (1 - u) + table[i1, j + 1] * u
    return low * (1 - v) + high * v


def _wobble(rng: np.random.Generator, angle: np.ndarray, first: int, last: int) -> np.ndarray:
    """A random periodic function of the azimuth, about 1 in size."""
    k = np.arange(first, last)[:, None]
    sizes, phases = rng.normal(size=k.shape), rng.uniform(0, 2 * np.pi, k.shape)
    return (sizes * np.cos(k * angle[None] + phases)).sum(0) / np.sqrt(last - first)


def _line(cut: Cut, hair: Hair, azimuth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Elevation at which the hair over each azimuth ends, or begins to hang."""
    line = np.interp(np.abs(azimuth), HAIRLINE_TURNS, cut.ends)
    recede = 0.07 * (hair.length - 0.5) * smooth_ramp(-np.abs(azimuth), -1.0, -0.4)
    widow = 0.05 * np.cos(azimuth * 5) * smooth_ramp(-np.abs(azimuth), -0.9, -0.2)
    return line + recede - widow * hair.parting + 0.012 * _wobble(rng, azimuth, 5, 14)


def _depth(cut, hair, azimuth, elevation, share, rng):
    """Depth of the shell over the skull at (row, column), thinning out towards the hairline."""
    high = smooth_ramp(elevation, 0.0, 1.0)
    ahead = smooth_ramp(np.cos(azimuth), 0.2, 0.9)[None] * smooth_ramp(elevation, 1.45, 0.8)
    depth = cut.side + (cut.top - cut.side) * high
    depth = depth + (cut.front - depth) * ahead
    lean = 1 + 0.35 * hair.parting * np.sin(azimuth)[None] * high
    groove = np.exp(-(((azimuth - 0.45 * hair.parting) / 0.10) ** 2))[None] * ahead
    lumps = 1 + 0.09 * _wobble(rng, azimuth, 3, 9)[None] + 0.05 * _wobble(rng, azimuth, 12, 25)
    # Hair that is swept up stands off the forehead; a fringe ends a little over it.
    rooted = smooth_ramp(1.0 - share, 0.0, 0.24)
    if cut.hang is not None:
        hangs = smooth_ramp(np.abs(azimuth), 1.05, 1.35)[None]
        rooted = rooted + (1 - rooted) * hangs
    if cut.ends[0] < 0.4:
        rooted = np.maximum(rooted, 0.75)
    return depth * hair.volume * lean * lumps * (1 - 0.5 * groove) * rooted - 0.006


@lru_cache(maxsize=64)
def hair_mesh(hair: Hair) -> Mesh | None:
    """The shell of a style, from the hair alone; None where there is no hair to draw."""
    if hair.style not in CUTS:
        return None
    cut = CUTS[hair.style]
    rng = seeded(hair.pattern, HAIR)
    azimuth = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
    line = _line(cut, hair, azimuth, rng)
    bend = ROWS if cut.hang is None else 22
    share = np.minimum(np.arange(ROWS) / (bend - 1), 1.0)[:, None]
    elevation = np.pi / 2 + (line[None] - np.pi / 2) * share
    depth = _depth(cut, hair, azimuth, elevation, share, rng)
    if cut.wave:
        depth = depth + cut.wave * _curls(rng, elevation.shape) * smooth_ramp(depth, 0.0, 0.15)
    away = skull_radius(np.broadcast_to(azimuth, elevation.shape), elevation) + depth
    level, y = away * np.cos(elevation), away * np.sin(elevation)
    if cut.hang is not None:
        level, y = _hang(cut, hair, azimuth, level, y, bend, rng)
    places = np.stack([level * np.sin(azimuth), y, level * np.cos(azimuth)], -1)
    vertices = (places + head_model().skull_centre).reshape(-1, 3).astype(np.float32)
    mesh = Mesh(vertices, _grid_triangles(COLUMNS, ROWS), _strands(cut, azimuth, y))
    return _add_bun(mesh) if hair.style == "bun" else mesh


def _strands(cut: Cut, azimuth: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`Mesh.strands` of the grid. Columns that do not hang end in their last upper rows."""
    rows = np.arange(ROWS)[:, None]
    tip = np.clip((rows - (ROWS - 1 - TIP_ROWS)) / TIP_ROWS, 0.0, 1.0) * cut.ragged
    if cut.hang is not None:
        last = np.clip((rows - 17) / 4, 0.0, 1.0) * 0.8
        hangs = (np.abs(azimuth) > 1.14)[None]
        tip = tip * hangs + last * (1 - hangs)
    across = np.broadcast_to(np.abs(np.arange(COLUMNS) - COLUMNS / 2) * 2.1, y.shape)
    along = np.broadcast_to(rows * 0.10, y.shape)
    shadow = 0.45 + 0.55 * smooth_ramp(y, -1.3, 0.5)
    strands = np.stack([across, along, shadow, np.broadcast_to(tip, y.shape)], -1)
    return strands.reshape(-1, 4).astype(np.float32)


def _curls(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    values = rng.normal(0.0, 1.2, shape)
    for axis in (0, 1):
        values = (values + np.roll(values, 1, axis)) / np.sqrt(2)
    return values


def _hang(cut, hair, azimuth, level, y, bend, rng):
    """Let the rows from `bend` on fall straight down to the hair's length, but not in front of
    the face."""
    centre = float(head_model().skull_centre[1])
    hangs = smooth_ramp(np.abs(azimuth), 1.08, 1.30)[None]
    bottom = cut.hang + 0.35 * (hair.length - 0.5) - centre + 0.03 * _wobble(rng, azimuth, 7, 19)
    fall = ((np.arange(ROWS - bend) + 1) / (ROWS - bend))[:, None]
    upper = np.maximum.accumulate(level[:bend], 0)
    level, y = level.copy(), y.copy()
    level[:bend] += (upper - level[:bend]) * hangs * 0.9
    keep_y, keep_level = y[bend - 1], level[bend - 1]
    sway = 0.03 * np.sin(6 * fall + rng.uniform(0, 6))
    waves = cut.wave * np.sin(14 * fall + 5 * azimuth[None])
    falling = (
        keep_level[None] * (1 - 0.07 * smooth_ramp(fall, 0.0, 0.3) - 0.06 * fall**2) + sway + waves
    )
    y[bend:] = keep_y + (bottom - keep_y)[None] * fall * hangs
    level[bend:] = keep_level + (falling - keep_level) * hangs
    return level, y


@lru_cache(maxsize=4)
def _grid_triangles(columns: int, rows: int) -> np.ndarray:
    """Triangles of a grid whose columns wrap around."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = row * columns + column, row * columns + (column + 1) % columns
    quads = np.stack([a, b, a + columns, b + columns], -1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 2, 1]], quads[:, [1, 2, 3]]]).astype(np.int32)


def _add_bun(mesh: Mesh) -> Mesh:
    """A knot of hair on the crown."""
    tilt, turn = np.meshgrid(
        np.linspace(0, np.pi, 12), np.arange(20) * (2 * np.pi / 20), indexing="ij"
    )
    ball = np.stack([np.sin(tilt) * np.cos(turn), np.cos(tilt), np.sin(tilt) * np.sin(turn)], -1)
    vertices = ball.reshape(-1, 3) * (0.34, 0.28, 0.32) + (0.0, 1.62, -0.1)
    triangles = _grid_triangles(20, 12) + len(mesh.vertices)
    dull = np.full_like(turn, 0.9)
    strands = np.stack([tilt * 20, turn * 0.5, dull, 0 * dull], -1).reshape(-1, 4)
    return Mesh(
        np.concatenate([mesh.vertices, vertices]).astype(np.float32),
        np.concatenate([mesh.triangles, triangles]).astype(np.int32),
        np.concatenate([mesh.strands, strands]).astype(np.float32),
    )
