"""The conditions of a picture: everything in it except who the person is."""

from dataclasses import dataclass

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.synthetic.seeding import ATTRIBUTES, seeded

OCCLUDERS = ("glasses", "hand", "mask", "shape", "fringe")
OCCLUDER_CHOICES = ("random", "none", *OCCLUDERS)
OCCLUDED_SHARE = 0.25
HAIR_STYLES = ("bald", "buzz", "short", "swept", "bob", "long", "bangs", "bun", "afro", "curly")
BACKGROUNDS = ("gradient", "blobs", "stripes", "bokeh", "horizon")
Colour = tuple[float, float, float]

SKIN_TONES = (
    (0.965, 0.835, 0.755),
    (0.925, 0.755, 0.650),
    (0.865, 0.675, 0.545),
    (0.755, 0.560, 0.420),
    (0.600, 0.415, 0.295),
    (0.430, 0.285, 0.200),
    (0.300, 0.200, 0.150),
)
HAIR_COLOURS = (
    (0.06, 0.05, 0.05),
    (0.11, 0.08, 0.06),
    (0.20, 0.13, 0.09),
    (0.34, 0.22, 0.13),
    (0.50, 0.36, 0.20),
    (0.74, 0.58, 0.36),
    (0.50, 0.22, 0.10),
    (0.58, 0.57, 0.56),
    (0.85, 0.84, 0.82),
)
DARK_SKIN_HAIR = 3
# Expressions as weights of MakeHuman's units; "eye" and "eyebrows" units act on both sides.
EXPRESSIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {"mouth-corner-puller": 0.9, "mouth-part-later": 0.15, "eye-slit": 0.15},
    "laugh": {
        "mouth-corner-puller": 0.8,
        "mouth-upward-retraction": 0.6,
        "mouth-parling": 0.7,
        "mouth-open": 0.35,
        "eye-slit": 0.3,
    },
    "open": {"mouth-open": 0.75, "eyebrows-up": 0.3},
    "surprise": {"mouth-open": 0.6, "eyebrows-up": 1.0, "eye-opened-up": 1.0},
    "frown": {"eyebrows-down": 0.9, "mouth-depression": 0.6, "eye-slit": 0.15},
    "sad": {"eyebrows-inner-up": 1.0, "mouth-depression": 0.7},
    "pucker": {"mouth-pursing": 0.7, "mouth-protusion": 0.5},
    "sneer": {"nose-elevation": 0.8, "mouth-upward-retraction": 0.5, "eyebrows-down": 0.5},
    "press": {"mouth-compression": 0.8},
    "talk": {"mouth-open": 0.3, "mouth-eversion": 0.5},
    "squint": {"eye-slit": 0.8, "eyebrows-down": 0.4},
}


@dataclass(frozen=True)
class Framing:
    """Jitter of the crop: shifts as shares of the picture, a factor, degrees."""

    shift_x: float
    shift_y: float
    zoom: float
    turn: float


@dataclass(frozen=True)
class Light:
    """A key light by direction (degrees; azimuth to the picture's right, elevation upwards) and
    linear colour, light from all sides above and below, and its contrast."""

    azimuth: float
    elevation: float
    key: Colour
    sky: Colour
    ground: Colour


@dataclass(frozen=True)
class Skin:
    """sRGB colours in [0, 1]; shares in [0, 1]."""

    tone: Colour
    lips: Colour
    flush: float
    shine: float
    freckles: float
    beard: float
    makeup: float
    pattern: int


@dataclass(frozen=True)
class Hair:
    """Style (one of HAIR_STYLES), sRGB colour, volume and length as factors, and a seed."""

    style: str
    colour: Colour
    brow_colour: Colour
    volume: float
    length: float
    parting: float
    pattern: int


@dataclass(frozen=True)
class Background:
    """Kind (one of BACKGROUNDS), three sRGB colours and a seed."""

    kind: str
    colours: tuple[Colour, Colour, Colour]
    pattern: int


@dataclass(frozen=True)
class Occluder:
    """Kind (one of OCCLUDERS, or "none"), sRGB colour and a seed for its shape and place."""

    kind: str
    colour: Colour
    pattern: int


@dataclass(frozen=True)
class Attributes:
    """Plain values that describe a picture of a person. Angles in degrees, distance of the camera
    in decimetres, gaze in radians; expression: (unit, weight) pairs."""

    yaw: float
    pitch: float
    roll: float
    distance: float
    gaze: tuple[float, float]
    expression: tuple[tuple[str, float], ...]
    light: Light
    skin: Skin
    hair: Hair
    background: Background
    clothes: Colour
    framing: Framing
    occluder: Occluder


def expression_weights(attributes: Attributes) -> dict[str, float]:
    """Weights of the model's expression targets; two-sided units are split into both sides."""
    weights = {}
    for unit, weight in attributes.expression:
        part, _, rest = unit.partition("-")
        if part in ("eye", "eyebrows") or unit == "nose-elevation":
            weights[f"{part}-left-{rest}"] = weight
            weights[f"{part}-right-{rest}"] = weight
        else:
            weights[unit] = weight
    return weights


def _colour(values: np.ndarray) -> Colour:
    r, g, b = (float(x) for x in np.clip(values, 0.0, 1.0))
    return r, g, b


def _expression(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    names = list(EXPRESSIONS)
    shares = np.array([5, 5, 4, 2, 1.2, 2, 1.2, 1.2, 1.0, 1.0, 2.5, 1.2])
    main = EXPRESSIONS[names[rng.choice(len(names), p=shares / shares.sum())]]
    strength = rng.uniform(0.5, 1.1)
    weights = {unit: weight * strength for unit, weight in main.items()}
    if rng.uniform() < 0.10:
        weights["eye-closure"] = rng.uniform(0.25, 1.0)
    for unit, spread in (("eyebrows-up", 0.2), ("eye-slit", 0.08), ("mouth-open", 0.05)):
        weights[unit] = weights.get(unit, 0.0) + abs(rng.normal(0.0, spread))
    if "eye-closure" in weights:
        weights["eye-slit"] = weights["eye-slit"] * (1.0 - weights["eye-closure"])
        weights.pop("eye-opened-up", None)
    return tuple((unit, float(min(weight, 1.1))) for unit, weight in weights.items())


def _as_colour(numbers: np.ndarray) -> Colour:
    red, green, blue = (float(number) for number in numbers)
    return red, green, blue


def _light(rng: np.random.Generator) -> Light:
    warmth = rng.normal(0.0, 0.10)
    key = rng.uniform(0.60, 1.15) * np.array([1.0 + warmth, 1.0, 1.0 - warmth])
    coolness = rng.normal(0.0, 0.10)
    sky = rng.uniform(0.38, 0.65) * np.array([1.0 - coolness, 1.0, 1.0 + coolness])
    ground = rng.uniform(0.16, 0.34) * np.array([1.05, 1.0, 0.92])
    return Light(
        azimuth=float(rng.uniform(-75, 75)),
        elevation=float(rng.uniform(5, 60)),
        key=_as_colour(key),
        sky=_as_colour(sky),
        ground=_as_colour(ground),
    )


def _skin(rng: np.random.Generator) -> Skin:
    place = rng.uniform(0.0, len(SKIN_TONES) - 1.001)
    low, share = int(place), place - int(place)
    tone = np.array(SKIN_TONES[low]) * (1 - share) + np.array(SKIN_TONES[low + 1]) * share
    tone = tone * (1 + rng.normal(0.0, 0.025, 3))
    lips = tone * np.array([0.86, 0.60, 0.60]) + np.array([0.03, 0.0, 0.01])
    makeup = rng.uniform(0.3, 1.0) if rng.uniform() < 0.25 else 0.0
    stick = np.array([rng.uniform(0.45, 0.8), rng.uniform(0.05, 0.25), rng.uniform(0.1, 0.3)])
    lips = lips + 0.65 * makeup * (stick - lips)
    bearded = makeup == 0.0 and rng.uniform() < 0.3
    return Skin(
        tone=_colour(tone),
        lips=_colour(lips),
        flush=float(rng.uniform(0.0, 1.0)),
        shine=float(rng.uniform(0.1, 1.0)),
        freckles=float(rng.uniform(0.3, 1.0)) if rng.uniform() < 0.15 else 0.0,
        beard=float(rng.uniform(0.15, 1.0)) if bearded else 0.0,
        makeup=float(makeup),
        pattern=int(rng.integers(1 << 30)),
    )


def _hair(rng: np.random.Generator, darkness: float) -> Hair:
    shares = np.array([6, 6, 5, 4, 3, 2.0, 2.0, 1.6, 1.0])
    shares[DARK_SKIN_HAIR:] *= max(0.08, 1.0 - darkness)
    colour = np.array(HAIR_COLOURS[rng.choice(len(shares), p=shares / shares.sum())])
    colour = np.clip(colour * rng.uniform(0.85, 1.2), 0.02, 0.95)
    return Hair(
        style=HAIR_STYLES[rng.choice(10, p=np.array([6, 8, 20, 16, 12, 14, 10, 6, 4, 4]) / 100)],
        colour=_colour(colour),
        brow_colour=_colour(colour * 0.62 + 0.01),
        volume=float(rng.uniform(0.7, 1.35)),
        length=float(rng.uniform(0.0, 1.0)),
        parting=float(rng.uniform(-1.0, 1.0)),
        pattern=int(rng.integers(1 << 30)),
    )


def _background(rng: np.random.Generator) -> Background:
    base = rng.uniform(0.08, 0.92, 3)
    grey = base.mean()
    saturation = rng.uniform(0.1, 0.65)
    colours = []
    for _ in range(3):
        shifted = base + rng.normal(0.0, 0.17, 3)
        colours.append(_colour(grey + (shifted - grey) * saturation))
    kind = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    return Background(kind, tuple(colours), int(rng.integers(1 << 30)))


def _occluder(rng: np.random.Generator, wanted: str) -> Occluder:
    drawn = "none"
    if rng.uniform() < OCCLUDED_SHARE:
        drawn = OCCLUDERS[rng.integers(len(OCCLUDERS))]
    colour = _colour(rng.uniform(0.05, 0.95, 3))
    return Occluder(drawn if wanted == "random" else wanted, colour, int(rng.integers(1 << 30)))


def sample_attributes(seed: int, *, occluder: str = "random") -> Attributes:
    """Returns the attributes with this number (int >= 0), the same in every process.

    occluder: "random" puts one of OCCLUDERS into a quarter of the pictures, "none" into no
    picture, a kind's name into every one; nothing else depends on it. Raises UserError for
    any other word.
    """
    if occluder not in OCCLUDER_CHOICES:
        raise UserError(f"occluder {occluder!r} is unknown; use {', '.join(OCCLUDER_CHOICES)}")
    rng = seeded(seed, ATTRIBUTES)
    yaw, pitch, roll = rng.normal(0.0, (17.0, 7.0, 4.0))
    skin = _skin(rng)
    expression = _expression(rng)
    # Eyes look down as the lids close.
    lowered = 0.25 * dict(expression).get("eye-closure", 0.0)
    return Attributes(
        yaw=float(np.clip(yaw, -38, 38)),
        pitch=float(np.clip(pitch, -16, 16)),
        roll=float(np.clip(roll, -9, 9)),
        distance=float(rng.uniform(7.0, 16.0)),
        gaze=(
            float(np.clip(rng.normal(-np.radians(yaw) * 0.4, 0.13), -0.4, 0.4)),
            float(np.clip(rng.normal(0.0, 0.06), -0.15, 0.12)) - lowered,
        ),
        expression=expression,
        light=_light(rng),
        skin=skin,
        hair=_hair(rng, 1.0 - sum(skin.tone) / 3),
        background=_background(rng),
        clothes=_colour(rng.uniform(0.05, 0.85) + rng.normal(0.0, 0.12, 3)),
        framing=Framing(
            shift_x=float(rng.normal(0.0, 0.012)),
            shift_y=float(rng.normal(0.0, 0.012)),
            zoom=float(np.clip(rng.normal(1.0, 0.03), 0.92, 1.08)),
            turn=float(np.clip(rng.normal(0.0, 2.5), -7, 7)),
        ),
        occluder=_occluder(rng, occluder),
    )
