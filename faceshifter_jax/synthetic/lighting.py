"""Light and colours as numbers for the kernels in `shading`."""

import numpy as np

from faceshifter_jax.synthetic.attributes import Light


def linear(colour: tuple[float, float, float]) -> np.ndarray:
    """sRGB to linear light by the square, the inverse of the square root in `displayed`."""
    return np.asarray(colour, np.float32) ** 2


def light_values(light: Light) -> np.ndarray:
    """The 15 numbers that `shine_on` reads: direction, half vector, key, sky, ground."""
    azimuth, elevation = np.radians([light.azimuth, light.elevation])
    level = np.cos(elevation)
    direction = np.array([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level])
    half = direction + np.array([0.0, 0.0, 1.0])
    half /= np.sqrt((half**2).sum())
    return np.concatenate([direction, half, light.key, light.sky, light.ground]).astype(np.float32)
