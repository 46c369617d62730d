"""Skin, lips, brows, beard, teeth and collar: colours by the place on the mean face."""

import numba
import numpy as np

from faceshifter_jax.synthetic.attributes import Attributes
from faceshifter_jax.synthetic.identity import Identity
from faceshifter_jax.synthetic.kernels import KERNEL, blend, bump, noise, smoothstep
from faceshifter_jax.synthetic.lighting import linear

# Where `skin_values` puts what: linear colours of three numbers, then single numbers.
TONE, LIPS, BROWS, CLOTHES, HAIR = 0, 3, 6, 9, 12
FLUSH, SHINE, FRECKLES, BEARD, MAKEUP = 15, 16, 17, 18, 19
BROW_THICKNESS, BROW_ARCH, BROW_TILT, BROW_LENGTH, BROW_GAP, BROW_DENSITY = 20, 21, 22, 23, 24, 25
PATTERN, SCALP, AGE = 26, 27, 28
# Columns of `HeadModel.surface` after the place.
LIP, MOUTH, OPENNESS, TOOTH, TONGUE, LASHES, HAIRLINE = 3, 4, 5, 6, 7, 8, 9


def skin_values(identity: Identity, attributes: Attributes) -> np.ndarray:
    """The 29 numbers that `paint_face` reads."""
    skin, hair = attributes.skin, attributes.hair
    numbers = [
        *(skin.flush, skin.shine, skin.freckles, skin.beard, skin.makeup),
        *(identity.brow_thickness, identity.brow_arch, identity.brow_tilt, identity.brow_length),
        *(identity.brow_gap, identity.brow_density),
        float(skin.pattern % 1000),
        {"bald": 0.0, "buzz": 0.8}.get(hair.style, 0.9),
        identity.age,
    ]
    colours = [skin.tone, skin.lips, hair.brow_colour, attributes.clothes, hair.colour]
    parts = [linear(colour) for colour in colours]
    return np.concatenate([*parts, np.array(numbers)]).astype(np.float32)


@numba.njit(**KERNEL)
def brow_share(x, y, z, values):
    """Cover of the eyebrow at a place of the mean face."""
    thickness, arch, tilt, length = (
        values[BROW_THICKNESS],
        values[BROW_ARCH],
        values[BROW_TILT],
        values[BROW_LENGTH],
    )
    gap, density = values[BROW_GAP], values[BROW_DENSITY]
    along = (abs(x) - gap) / length
    if z < 0.4 or along < -0.1 or along > 1.1 or y < 0.4 or y > 0.95:
        return np.float32(0.0)
    s = min(max(along, np.float32(0.0)), np.float32(1.0))
    peak = s * s * (np.float32(1.0) - s) * np.float32(6.75)
    middle = np.float32(0.575) + tilt * s + arch * peak - np.float32(0.045) * s * s
    half = thickness * (np.float32(1.05) - np.float32(0.72) * s * s)
    away = abs(y - middle) / half
    edge = smoothstep(np.float32(1.25), np.float32(0.55), away)
    ends = smoothstep(np.float32(-0.07), np.float32(0.10), along)
    ends *= smoothstep(np.float32(1.08), np.float32(0.82), along)
    strands = noise((x + y * np.sign(x) * np.float32(0.9)) * np.float32(70.0), y * 18, 5)
    return edge * ends * density * (np.float32(0.72) + np.float32(0.4) * strands)


@numba.njit(**KERNEL)
def beard_share(x, y, z, values):
    """Cover of the beard at a place of the mean face."""
    if values[BEARD] <= 0 or y > 0.3:
        return np.float32(0.0)
    side = max(abs(x) - np.float32(0.20), np.float32(0.0))
    top = np.float32(-0.09) + np.float32(1.6) * side * side - np.float32(0.30) * side
    below = smoothstep(top + np.float32(0.06), top - np.float32(0.10), y)
    front = smoothstep(np.float32(0.02), np.float32(0.14), z)
    neck = smoothstep(np.float32(-1.0), np.float32(-0.78), y)
    grain = noise(x * 60, y * 60, 9)
    return below * front * neck * (np.float32(0.55) + np.float32(0.45) * grain) * values[BEARD]


@numba.njit(**KERNEL)
def paint_skin(out, x, y, z, values):
    """Colour of the bare skin at a place of the mean face."""
    for k in range(3):
        out[k] = values[TONE + k]
    flush, freckles, makeup = values[FLUSH], values[FRECKLES], values[MAKEUP]
    layer = np.int64(values[PATTERN])
    tint = np.float32(0.96) + np.float32(0.08) * noise(x * 14 + 40, y * 14 + 40, layer)
    red = np.float32(0.0)
    socket = np.float32(0.0)
    if z > 0.3:
        light_skin = np.float32(0.25) + np.float32(0.75) * values[TONE + 1]
        cheek = bump((abs(x) - np.float32(0.42)) * np.float32(2.9), (y - np.float32(0.10)) * 3)
        nose = bump(x * 4, (y - np.float32(0.03)) * np.float32(5.5)) if z > 0.85 else 0
        red = (np.float32(0.06) + np.float32(0.22) * flush) * light_skin
        red = red * (cheek + np.float32(0.8) * nose) + np.float32(0.16) * makeup * cheek
        socket = bump((abs(x) - np.float32(0.29)) * 3, (y - np.float32(0.40)) * np.float32(4.5))
        socket *= np.float32(0.16) + np.float32(0.30) * makeup + np.float32(0.12) * values[AGE]
    out[0] *= tint * (1 - socket * np.float32(0.85))
    out[1] *= tint * (1 - red) * (1 - socket)
    out[2] *= tint * (1 - red * np.float32(0.9)) * (1 - socket * np.float32(0.9))
    if freckles > 0 and z > 0.3 and abs(x) < 0.6 and -0.2 < y < 0.8:
        spot = smoothstep(np.float32(0.70), np.float32(0.88), noise(x * 75, y * 75, layer + 2))
        fade = bump((abs(x) - np.float32(0.22)) * np.float32(2.2), (y - np.float32(0.16)) * 2)
        spot *= freckles * np.float32(0.6) * fade
        for k in range(3):
            out[k] *= 1 - spot * (np.float32(0.35) + np.float32(0.2) * k)


@numba.njit(**KERNEL)
def paint_face(out, place, values):
    """Colour and gloss (returned) of a place described by the 10 numbers of
    `HeadModel.surface`."""
    x, y, z = place[0], place[1], place[2]
    gloss = np.float32(0.03) + np.float32(0.07) * values[SHINE]
    if place[TOOTH] > 0.5:
        fade = np.float32(1.0) - np.float32(0.8) * smoothstep(np.float32(0.08), 0.24, abs(x))
        gap = abs(x * 11 - np.float32(np.floor(x * 11)) - np.float32(0.5))
        fade *= np.float32(1.0) - np.float32(0.22) * smoothstep(np.float32(0.36), 0.5, gap)
        out[0] = np.float32(0.74) * fade
        out[1] = np.float32(0.68) * fade
        out[2] = np.float32(0.58) * fade
        return np.float32(0.10)
    if place[TONGUE] > 0.5:
        out[0], out[1], out[2] = np.float32(0.40), np.float32(0.12), np.float32(0.12)
        return np.float32(0.05)
    collar = np.float32(-1.12) - np.float32(0.25) * max(z, np.float32(-0.3)) + abs(x) * 0.25
    cloth = smoothstep(collar + np.float32(0.012), collar - np.float32(0.012), y)
    if cloth > 0.99:
        out[0], out[1], out[2] = values[CLOTHES], values[CLOTHES + 1], values[CLOTHES + 2]
        return np.float32(0.0)
    paint_skin(out, x, y, z, values)
    beard = beard_share(x, y, z, values)
    lip = smoothstep(np.float32(0.30), np.float32(0.62), place[LIP])
    blend(
        out, values[HAIR], values[HAIR + 1], values[HAIR + 2], beard * (1 - lip) * np.float32(0.85)
    )
    gloss *= 1 - beard
    blend(out, values[LIPS], values[LIPS + 1], values[LIPS + 2], lip)
    gloss += lip * (np.float32(0.05) + np.float32(0.12) * values[MAKEUP])
    inside = smoothstep(np.float32(0.3), np.float32(0.8), place[MOUTH])
    blend(out, np.float32(0.16), np.float32(0.035), np.float32(0.035), inside)
    brow = brow_share(x, y, z, values)
    blend(out, values[BROWS], values[BROWS + 1], values[BROWS + 2], brow)
    lash = smoothstep(np.float32(0.040), np.float32(0.012), place[LASHES])
    dark = np.float32(0.55) + np.float32(0.4) * values[MAKEUP]
    blend(out, np.float32(0.02), np.float32(0.012), np.float32(0.01), lash * dark)
    if values[SCALP] > 0 and place[HAIRLINE] > -0.1:
        grain = np.float32(0.06) * noise(x * 40, y * 40, 31)
        scalp = smoothstep(np.float32(-0.07), np.float32(0.05), place[HAIRLINE] + grain)
        blend(out, values[HAIR], values[HAIR + 1], values[HAIR + 2], scalp * values[SCALP])
        gloss *= 1 - scalp
    blend(out, values[CLOTHES], values[CLOTHES + 1], values[CLOTHES + 2], cloth)
    return gloss * (1 - brow) * (1 - inside)
