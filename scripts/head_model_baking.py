"""Ray casts and normals that `build_head_model.py` stores with the head."""

import numba
import numpy as np


@numba.njit(cache=True)
def cast_ray(origin, direction, corners):
    """Distance to the nearest triangle hit by a ray; infinity where there is none."""
    best = np.inf
    dx, dy, dz = direction
    for k in range(corners.shape[0]):
        ax, ay, az = corners[k, 0, 0], corners[k, 0, 1], corners[k, 0, 2]
        ex, ey, ez = corners[k, 1, 0] - ax, corners[k, 1, 1] - ay, corners[k, 1, 2] - az
        fx, fy, fz = corners[k, 2, 0] - ax, corners[k, 2, 1] - ay, corners[k, 2, 2] - az
        px, py, pz = dy * fz - dz * fy, dz * fx - dx * fz, dx * fy - dy * fx
        det = ex * px + ey * py + ez * pz
        if abs(det) < 1e-12:
            continue
        tx, ty, tz = origin[0] - ax, origin[1] - ay, origin[2] - az
        u = (tx * px + ty * py + tz * pz) / det
        if u < 0.0 or u > 1.0:
            continue
        qx, qy, qz = ty * ez - tz * ey, tz * ex - tx * ez, tx * ey - ty * ex
        v = (dx * qx + dy * qy + dz * qz) / det
        if v < 0.0 or u + v > 1.0:
            continue
        distance = (fx * qx + fy * qy + fz * qz) / det
        if 1e-6 < distance < best:
            best = distance
    return best


@numba.njit(cache=True)
def openness(points, normals, corners, directions, reach):
    """Share of the hemisphere over each point from which light comes in; shape (n,)."""
    result = np.zeros(points.shape[0])
    for i in range(points.shape[0]):
        open_weight, weight = 0.0, 0.0
        for j in range(directions.shape[0]):
            cosine = (normals[i] * directions[j]).sum()
            if cosine > 0.05:
                weight += cosine
                hit = cast_ray(points[i] + normals[i] * 0.004, directions[j], corners)
                if hit > reach:
                    open_weight += cosine
        result[i] = open_weight / max(weight, 1e-9)
    return result


@numba.njit(cache=True)
def skull_radii(corners, centre, azimuths, elevations, outermost):
    """Distance from the skull's centre to its surface by azimuth and elevation."""
    radii = np.zeros((azimuths.size, elevations.size))
    for i in range(azimuths.size):
        for j in range(elevations.size):
            level = np.cos(elevations[j])
            direction = np.array(
                [
                    np.sin(azimuths[i]) * level,
                    np.sin(elevations[j]),
                    np.cos(azimuths[i]) * level,
                ]
            )
            hit = cast_ray(centre + direction * outermost, -direction, corners)
            radii[i, j] = outermost - hit
    return radii


def fill_gaps(table: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Replace the entries that are not `good` by a smooth membrane over the good ones around
    them; the first axis wraps."""
    values = np.where(good, table, table[good].mean())
    for _ in range(400):
        above, below = np.roll(values, 1, 0), np.roll(values, -1, 0)
        before = np.concatenate([values[:, :1], values[:, :-1]], 1)
        after = np.concatenate([values[:, 1:], values[:, -1:]], 1)
        values = np.where(good, table, (above + below + before + after) / 4)
    return values


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (n, 3), weighted by the area of the triangles around a vertex."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    facing = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, triangles[:, k], facing)
    return normals / np.maximum(np.sqrt((normals**2).sum(1, keepdims=True)), 1e-12)


def spread_directions(count: int) -> np.ndarray:
    """Evenly spread unit vectors (count, 3) on a Fibonacci spiral."""
    k = np.arange(count) + 0.5
    y = 1.0 - 2.0 * k / count
    angle = np.pi * (1.0 + 5.0**0.5) * k
    ring = np.sqrt(1.0 - y * y)
    return np.stack([ring * np.cos(angle), y, ring * np.sin(angle)], 1)
