"""The identity of a face: its geometry, irises and eyebrows."""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from faceshifter_jax.synthetic.model import head_model
from faceshifter_jax.synthetic.seeding import IDENTITY, seeded

RACES = ("african", "asian", "caucasian")
IRIS_COLOURS = (
    (0.20, 0.12, 0.07),
    (0.33, 0.20, 0.10),
    (0.45, 0.33, 0.14),
    (0.34, 0.42, 0.24),
    (0.35, 0.50, 0.62),
    (0.48, 0.56, 0.62),
)
# Standard deviation of a direction's coefficient, where it is not DEFAULT_SPREAD. A coefficient
# of 1 is the end of MakeHuman's slider; these, times VARIETY, make faces as different as people.
VARIETY = 1.5
DEFAULT_SPREAD = 0.27
SPREADS = {
    "nose": 0.19,
    "nose-trans": 0.26,
    "nose-scale": 0.36,
    "nose-width": 0.30,
    "nose-septumangle": 0.12,
    "nose-point": 0.18,
    "nose-base": 0.18,
    "nose-greek": 0.18,
    "nose-hump": 0.3,
    "nose-compression": 0.12,
    "nose-nostrils-angle": 0.12,
    "nose-trans-backward": 0.15,
    "head": 0.16,
    "head-square": 0.09,
    "head-rectangular": 0.09,
    "head-round": 0.12,
    "head-fat": 0.30,
    "head-scale": 0.36,
    "mouth": 0.20,
    "mouth-trans": 0.24,
    "mouth-scale-horiz": 0.45,
    "mouth-scale-vert": 0.38,
    "mouth-scale-depth": 0.25,
    "mouth-upperlip-volume": 0.4,
    "mouth-lowerlip-volume": 0.4,
    "mouth-upperlip-height": 0.12,
    "mouth-lowerlip-height": 0.12,
    "mouth-upperlip-middle": 0.10,
    "mouth-lowerlip-middle": 0.10,
    "mouth-upperlip-ext": 0.10,
    "mouth-lowerlip-ext": 0.10,
    "mouth-angles": 0.15,
    "eye": 0.22,
    "eye-scale": 0.42,
    "eye-trans": 0.40,
    "eye-push": 0.12,
    "eye-height": 0.30,
    "chin-triangle": 0.2,
    "chin-cleft": 0.15,
    "chin-width": 0.36,
    "chin-height": 0.36,
    "forehead": 0.3,
    "cheek-inner": 0.15,
    "cheek-bones": 0.4,
}
SIDEWAYS = {"nose-trans-in-out": 0.12, "mouth-trans-in-out": 0.12}


@dataclass(frozen=True)
class Identity:
    """Plain values that describe a person.

    gender 0 (female) to 1 (male); age 0 (25 years) to 1 (old); weight -1 (thin) to 1 (stout);
    races: shares of RACES, sum 1; shape: a coefficient in [-1, 1] for each of
    `head_model().pairs`; iris_colour: sRGB in [0, 1]; iris_pattern: a phase in [0, 1);
    brow_*: decimetres on the mean face, except brow_density in [0, 1].
    """

    gender: float
    age: float
    weight: float
    races: tuple[float, float, float]
    shape: tuple[float, ...]
    iris_colour: tuple[float, float, float]
    iris_pattern: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_length: float
    brow_gap: float
    brow_density: float


def _spread(direction: str) -> float:
    if direction in SIDEWAYS:
        return SIDEWAYS[direction]
    fitting = [name for name in SPREADS if direction.startswith(name)]
    return SPREADS[max(fitting, key=len)] if fitting else DEFAULT_SPREAD


@cache
def _spreads() -> list[float]:
    """Standard deviation of each of `head_model().pairs`."""
    return [_spread(name) for name, _, _ in head_model().pairs]


def _three(numbers: np.ndarray) -> tuple[float, float, float]:
    first, second, third = (float(number) for number in numbers)
    return first, second, third


def sample_identity(seed: int) -> Identity:
    """The person with this number; the same in every process. `seed` is an int >= 0."""
    rng = seeded(seed, IDENTITY)
    gender = float(np.clip(0.5 + 0.5 * np.tanh(rng.normal(0.0, 1.6)), 0.0, 1.0))
    races = rng.dirichlet((0.45, 0.45, 0.45))
    pairs = head_model().pairs
    shape = np.clip(rng.normal(0.0, 1.0, len(pairs)), -1.9, 1.9)
    shape = VARIETY * shape * _spreads()
    iris = np.array(IRIS_COLOURS[rng.integers(len(IRIS_COLOURS))]) * rng.uniform(0.8, 1.2)
    return Identity(
        gender=gender,
        age=float(max(0.0, rng.uniform(-0.35, 0.8))),
        weight=float(np.clip(rng.normal(-0.15, 0.38), -0.9, 0.7)),
        races=_three(races),
        shape=tuple(float(x) for x in np.clip(shape, -0.9, 0.9)),
        iris_colour=_three(np.clip(iris, 0.05, 0.75)),
        iris_pattern=float(rng.uniform()),
        brow_thickness=float(np.clip(rng.normal(0.032 + 0.012 * gender, 0.009), 0.016, 0.064)),
        brow_arch=float(np.clip(rng.normal(0.032 - 0.018 * gender, 0.016), -0.01, 0.075)),
        brow_tilt=float(np.clip(rng.normal(0.02, 0.03), -0.05, 0.08)),
        brow_length=float(np.clip(rng.normal(0.40, 0.035), 0.32, 0.48)),
        brow_gap=float(np.clip(rng.normal(0.115, 0.022), 0.06, 0.17)),
        brow_density=float(np.clip(rng.normal(0.78, 0.13), 0.4, 1.0)),
    )


def identity_code(identity: Identity) -> np.ndarray:
    """Encodes a person as numbers of about zero mean and unit deviation, float32 (N,).

    Every person's code has the same meaning in every place, so that a network can be taught to
    read it off a picture.
    """
    spreads = VARIETY * np.array([_spread(name) for name, _, _ in head_model().pairs])
    shape = np.array(identity.shape) / spreads
    others = [
        (identity.gender - 0.5) / 0.4,
        (identity.age - 0.27) / 0.25,
        (identity.weight + 0.15) / 0.36,
        *((np.array(identity.races) - 1 / 3) / 0.31),
        *((np.array(identity.iris_colour) - (0.36, 0.33, 0.28)) / (0.1, 0.14, 0.21)),
        (identity.brow_thickness - 0.038) / 0.011,
        (identity.brow_arch - 0.023) / 0.017,
        (identity.brow_tilt - 0.02) / 0.027,
        (identity.brow_length - 0.40) / 0.034,
        (identity.brow_gap - 0.115) / 0.021,
        (identity.brow_density - 0.78) / 0.13,
    ]
    return np.concatenate([shape, others]).astype(np.float32)


def shape_weights(identity: Identity) -> dict[str, float]:
    """Weight of every morph target that this identity moves, by the target's name."""
    weights = {}
    for race, share in zip(RACES, identity.races, strict=True):
        for gender, part in (("female", 1.0 - identity.gender), ("male", identity.gender)):
            for age, years in (("young", 1.0 - identity.age), ("old", identity.age)):
                weights[f"{race}-{gender}-{age}"] = share * part * years
    weights["maxweight" if identity.weight > 0 else "minweight"] = abs(identity.weight)
    for (_, low, high), value in zip(head_model().pairs, identity.shape, strict=True):
        if value > 0:
            weights[high] = value
        elif low:
            weights[low] = -value
    return weights


@lru_cache(maxsize=256)
def neutral_vertices(identity: Identity | None) -> np.ndarray:
    """The head without pose or expression, (n + 2, 3) float32, read-only; the mean head where
    `identity` is None."""
    model = head_model()
    vertices = model.rest.copy()
    if identity is not None:
        model.identity.add_to(vertices, shape_weights(identity))
    vertices.setflags(write=False)
    return vertices
