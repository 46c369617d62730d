"""Small functions that the shading kernels share; plain float32.

Numba's cache looks only at the file of the compiled kernel: after an edit here, in `skin.py` or
in `lighting.py`, remove `__pycache__` so that `shading.py` and `occluders.py` compile again.
"""

import numba
import numpy as np

KERNEL = {"cache": True, "nogil": True, "error_model": "numpy"}


@numba.njit(**KERNEL)
def smoothstep(low, high, x):
    t = min(max((x - low) / (high - low), np.float32(0.0)), np.float32(1.0))
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


@numba.njit(**KERNEL)
def lattice(x, y, z):
    """A fixed pseudo-random number in [0, 1) for each point of the integer lattice."""
    h = np.uint32(x) * np.uint32(374761393) + np.uint32(y) * np.uint32(668265263)
    h = h + np.uint32(z) * np.uint32(2147483647)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    return np.float32((h ^ (h >> np.uint32(16))) & np.uint32(0xFFFF)) * np.float32(1.0 / 65536)


@numba.njit(**KERNEL)
def noise(x, y, layer):
    """Smooth noise in [0, 1) over the plane."""
    i, j = np.int64(np.floor(x)), np.int64(np.floor(y))
    u, v = np.float32(x - i), np.float32(y - j)
    u = u * u * (np.float32(3.0) - np.float32(2.0) * u)
    v = v * v * (np.float32(3.0) - np.float32(2.0) * v)
    top = lattice(i, j, layer) * (1 - u) + lattice(i + 1, j, layer) * u
    bottom = lattice(i, j + 1, layer) * (1 - u) + lattice(i + 1, j + 1, layer) * u
    return np.float32(top * (1 - v) + bottom * v)


@numba.njit(**KERNEL)
def bump(x, y):
    """1 at the origin, 0 from a distance of 1, smooth between."""
    rest = max(np.float32(1.0) - x * x - y * y, np.float32(0.0))
    return rest * rest


@numba.njit(**KERNEL)
def blend(out, r, g, b, share):
    """Move the colour `out` (3,) towards (r, g, b)."""
    out[0] += (r - out[0]) * share
    out[1] += (g - out[1]) * share
    out[2] += (b - out[2]) * share
