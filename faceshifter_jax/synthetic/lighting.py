"""Light: from a surface's colour to what the camera sees of it, and from there to the display."""

import numba
import numpy as np

from faceshifter_jax.synthetic.attributes import Light
from faceshifter_jax.synthetic.kernels import KERNEL


def linear(colour: tuple[float, float, float]) -> np.ndarray:
    """sRGB to linear light by the square, the inverse of the square root in `resolve`."""
    return np.asarray(colour, np.float32) ** 2


def light_values(light: Light) -> np.ndarray:
    """The 15 numbers that `shine_on` reads: direction, half vector, key, sky, ground."""
    azimuth, elevation = np.radians([light.azimuth, light.elevation])
    level = np.cos(elevation)
    direction = np.array([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level])
    half = direction + np.array([0.0, 0.0, 1.0])
    half /= np.sqrt((half**2).sum())
    return np.concatenate([direction, half, light.key, light.sky, light.ground]).astype(np.float32)


@numba.njit(**KERNEL)
def shine_on(out, nx, ny, nz, open_share, lit, gloss, power, light):
    """Turn the surface colour `out` (3,) into the light that it sends to the camera.

    lit: share of the key light that arrives; gloss: strength of the highlight, whose exponent
    is 4 * 2 ** power.
    """
    facing = nx * light[0] + ny * light[1] + nz * light[2]
    up = np.float32(0.5) + np.float32(0.5) * ny
    glint = max(nx * light[3] + ny * light[4] + nz * light[5], np.float32(0.0))
    glint = glint * glint
    glint = glint * glint
    for _ in range(power):
        glint = glint * glint
    rim = np.float32(1.0) - max(nz, np.float32(0.0))
    rim = rim * rim * rim
    gleam = gloss * (glint * lit + np.float32(0.25) * rim * open_share)
    for k in range(3):
        # Skin passes red light on under its surface, so shadows begin later in red.
        wrap = np.float32(0.36) - np.float32(0.12) * k
        direct = max((facing + wrap) / (np.float32(1.0) + wrap), np.float32(0.0)) * lit
        around = light[12 + k] + (light[9 + k] - light[12 + k]) * up
        out[k] = out[k] * (light[6 + k] * direct + around * open_share) + gleam * light[6 + k]


@numba.njit(**KERNEL)
def displayed(value):
    """Linear light to [0, 255], bright light rolling off softly."""
    shown = np.sqrt(max(value, np.float32(0.0)))
    if shown > 0.8:
        over = (shown - np.float32(0.8)) * np.float32(5.0)
        shown = np.float32(0.8) + np.float32(0.2) * over / (np.float32(1.0) + over)
    return shown * np.float32(255.0)
