"""Backgrounds: what is behind the head, without its own sharp edges."""

import numpy as np

from faceshifter_jax.synthetic.attributes import Background
from faceshifter_jax.synthetic.seeding import BACKGROUND, seeded


def _ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    # Channels come first: along a last axis of three numpy takes five times as long.
    return first + (second - first) * share


def background_picture(background: Background, size: int) -> np.ndarray:
    """(size, size, 3) float32 as displayed, in [0, 255]; depends on the background alone."""
    rng = seeded(background.pattern, BACKGROUND)
    first, second, third = (np.array(colour)[:, None, None] for colour in background.colours)
    place = (np.arange(size) + 0.5) / size - 0.5
    x, y = np.meshgrid(place, place)
    angle = rng.uniform(0, 2 * np.pi)
    slope = x * np.cos(angle) + y * np.sin(angle)
    picture = _mix(first, second, _ramp(slope, -0.6, 0.6))
    if background.kind == "blobs":
        for _ in range(7):
            cx, cy, reach = *rng.uniform(-0.6, 0.6, 2), rng.uniform(0.10, 0.30)
            far = ((x - cx) ** 2 + (y - cy) ** 2) / reach**2
            colour = third if rng.uniform() < 0.5 else second * rng.uniform(0.6, 1.2)
            picture = _mix(picture, colour, np.exp(-far) * rng.uniform(0.4, 0.9))
    elif background.kind == "stripes":
        period, soft = rng.uniform(0.12, 0.4), rng.uniform(0.12, 0.45)
        wave = np.sin(slope / period * 2 * np.pi + rng.uniform(0, 6))
        picture = _mix(picture, third, _ramp(wave, -soft, soft) * 0.8)
    elif background.kind == "bokeh":
        for _ in range(14):
            cx, cy, reach = *rng.uniform(-0.6, 0.6, 2), rng.uniform(0.04, 0.13)
            far = np.sqrt((x - cx) ** 2 + (y - cy) ** 2)
            disc = _ramp(-far, -reach - 0.012, -reach + 0.012)
            colour = third + (1 - third) * rng.uniform(0, 0.5)
            picture = _mix(picture, colour, disc * rng.uniform(0.15, 0.6))
    elif background.kind == "horizon":
        level, soft = rng.uniform(-0.3, 0.3), rng.uniform(0.02, 0.12)
        picture = _mix(picture, third, _ramp(y + 0.15 * x * rng.normal() - level, -soft, soft))
    shown = (np.clip(picture, 0.0, 1.0) * 255).astype(np.float32)
    return np.ascontiguousarray(shown.transpose(1, 2, 0))
