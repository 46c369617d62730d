"""From samples to colours: the compiled kernels of skin, eyes, hair and what lies before them.

All of them are in this one file because numba's cache looks only at the file of the kernel that
is called: after an edit elsewhere it would keep using the old compiled code. So a kernel uses
nothing from another module of the package; a test checks that.

A `shade_*` kernel reads the buffers of `raster.Samples` and writes the samples of the triangles
numbered `first` to `first + len(triangles) - 1` into `colours` (count, count, 3) float32, in
linear light. All numbers are float32.
"""

import numpy as np

from faceshifter_jax.compiled import compiled

KERNEL = {"nogil": True, "error_model": "numpy"}

# Where `skin_values` puts what: linear colours of three numbers, then single numbers.
TONE, LIPS, BROWS, CLOTHES, HAIR = 0, 3, 6, 9, 12
FLUSH, SHINE, FRECKLES, BEARD, MAKEUP = 15, 16, 17, 18, 19
BROW_THICKNESS, BROW_ARCH, BROW_TILT, BROW_LENGTH, BROW_GAP, BROW_DENSITY = 20, 21, 22, 23, 24, 25
PATTERN, SCALP, AGE = 26, 27, 28
# Columns of `HeadModel.surface` after the place.
LIP, MOUTH, OPENNESS, TOOTH, TONGUE, LASHES, HAIRLINE = 3, 4, 5, 6, 7, 8, 9


@compiled(**KERNEL)
def smoothstep(low, high, x):
    t = min(max((x - low) / (high - low), np.float32(0.0)), np.float32(1.0))
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


@compiled(**KERNEL)
def lattice(x, y, z):
    """A fixed pseudo-random number in [0, 1) for each point of the integer lattice."""
    h = np.uint32(x) * np.uint32(374761393) + np.uint32(y) * np.uint32(668265263)
    h = h + np.uint32(z) * np.uint32(2147483647)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    return np.float32((h ^ (h >> np.uint32(16))) & np.uint32(0xFFFF)) * np.float32(1.0 / 65536)


@compiled(**KERNEL)
def noise(x, y, layer):
    """Smooth noise in [0, 1) over the plane."""
    i, j = np.int64(np.floor(x)), np.int64(np.floor(y))
    u, v = np.float32(x - i), np.float32(y - j)
    u = u * u * (np.float32(3.0) - np.float32(2.0) * u)
    v = v * v * (np.float32(3.0) - np.float32(2.0) * v)
    top = lattice(i, j, layer) * (1 - u) + lattice(i + 1, j, layer) * u
    bottom = lattice(i, j + 1, layer) * (1 - u) + lattice(i + 1, j + 1, layer) * u
    return np.float32(top * (1 - v) + bottom * v)


@compiled(**KERNEL)
def bump(x, y):
    """1 at the origin, 0 from a distance of 1, smooth between."""
    rest = max(np.float32(1.0) - x * x - y * y, np.float32(0.0))
    return rest * rest


@compiled(**KERNEL)
def blend(out, r, g, b, share):
    """Move the colour `out` (3,) towards (r, g, b)."""
    out[0] += (r - out[0]) * share
    out[1] += (g - out[1]) * share
    out[2] += (b - out[2]) * share


@compiled(**KERNEL)
def shine_on(out, nx, ny, nz, open_share, lit, gloss, power, light):
    """Turn the surface colour `out` (3,) into the light that it sends to the camera.

    lit: share of the key light that arrives; gloss: strength of the highlight, whose exponent
    is 4 * 2 ** power.
    """
    facing = nx * light[0] + ny * light[1] + nz * light[2]
    up = np.float32(0.5) + np.float32(0.5) * ny
    glint = max(nx * light[3] + ny * light[4] + nz * light[5], np.float32(0.0))
    for _ in range(2 + power):
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


@compiled(**KERNEL)
def displayed(value):
    """Linear light to [0, 255], bright light rolling off softly."""
    shown = np.sqrt(max(value, np.float32(0.0)))
    if shown > 0.8:
        over = (shown - np.float32(0.8)) * np.float32(5.0)
        shown = np.float32(0.8) + np.float32(0.2) * over / (np.float32(1.0) + over)
    return shown * np.float32(255.0)


@compiled(**KERNEL)
def place_in(triangles, k, weights, row, column):
    """The corners of triangle `k`, and the weight of each at a sample."""
    u, v = weights[row, column, 0], weights[row, column, 1]
    return triangles[k, 0], triangles[k, 1], triangles[k, 2], u, v, np.float32(1.0) - u - v


@compiled(**KERNEL)
def mix(values, place, j):
    """Column `j` of what the corners have, at a place of `place_in`."""
    a, b, c, u, v, w = place
    return values[a, j] * u + values[b, j] * v + values[c, j] * w


@compiled(**KERNEL)
def mix_three(values, place):
    """The first three columns of what the corners have, at a place of `place_in`."""
    return mix(values, place, 0), mix(values, place, 1), mix(values, place, 2)


@compiled(**KERNEL)
def normal_at(normals, place):
    """The normal of length 1 at a place of `place_in`."""
    nx, ny, nz = mix_three(normals, place)
    scale = np.float32(1.0) / max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-6)
    return nx * scale, ny * scale, nz * scale


@compiled(**KERNEL)
def brow_share(x, y, z, values):
    """Cover of the eyebrow at a place of the mean face."""
    thickness, length = values[BROW_THICKNESS], values[BROW_LENGTH]
    arch, tilt = values[BROW_ARCH], values[BROW_TILT]
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


@compiled(**KERNEL)
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


@compiled(**KERNEL)
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


@compiled(**KERNEL)
def paint_face(out, place, values):
    """Colour and gloss (returned) of a place described by the 10 numbers of
    `HeadModel.surface`."""
    x, y, z = place[0], place[1], place[2]
    gloss = np.float32(0.03) + np.float32(0.07) * values[SHINE]
    if place[TOOTH] > 0.5:
        fade = np.float32(1.0) - np.float32(0.8) * smoothstep(np.float32(0.08), 0.24, abs(x))
        gap = abs(x * 11 - np.float32(np.floor(x * 11)) - np.float32(0.5))
        fade *= np.float32(1.0) - np.float32(0.22) * smoothstep(np.float32(0.36), 0.5, gap)
        for k, white in enumerate((np.float32(0.74), np.float32(0.68), np.float32(0.58))):
            out[k] = white * fade
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
    shown = beard * (1 - lip) * np.float32(0.85)
    blend(out, values[HAIR], values[HAIR + 1], values[HAIR + 2], shown)
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


@compiled(**KERNEL)
def shade_skin(owner, weights, triangles, normals, surface, values, light, colours):
    """Head, teeth and tongue; their triangles are numbered from 0."""
    place = np.zeros(10, np.float32)
    out = np.zeros(3, np.float32)
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            k = owner[row, column]
            if k < 0 or k >= triangles.shape[0]:
                continue
            at = place_in(triangles, k, weights, row, column)
            for j in range(10):
                place[j] = mix(surface, at, j)
            nx, ny, nz = normal_at(normals, at)
            if place[TOOTH] > 0.5 and nz < 0.0:
                nx, ny, nz = -nx, -ny, -nz
            gloss = paint_face(out, place, values)
            # Baked with the mouth closed, so teeth and tongue would stay black when it opens.
            inner = np.float32(0.55) * place[TOOTH] + np.float32(0.4) * place[TONGUE]
            open_share = max(place[OPENNESS], inner)
            lit = smoothstep(np.float32(0.05), np.float32(0.55), open_share)
            shine_on(out, nx, ny, nz, open_share, lit, gloss, 2, light)
            for j in range(3):
                colours[row, column, j] = out[j]


@compiled(**KERNEL)
def shade_eyes(owner, weights, triangles, first, normals, directions, iris, gaze, light, colours):
    """Eyeballs: `directions` (n, 3) from an eye's centre in the head's frame, `iris` its linear
    colour and pattern, `gaze` (3,) the direction looked in."""
    out = np.zeros(3, np.float32)
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            k = owner[row, column] - first
            if k < 0 or k >= triangles.shape[0]:
                continue
            at = place_in(triangles, k, weights, row, column)
            x, y, z = mix_three(directions, at)
            nx, ny, nz = mix_three(normals, at)
            dx, dy, dz = x - gaze[0], y - gaze[1], z - gaze[2]
            away = np.sqrt(dx * dx + dy * dy + dz * dz)
            out[0], out[1], out[2] = np.float32(0.56), np.float32(0.52), np.float32(0.50)
            spoke = noise(np.arctan2(dy, dx) * 6 + iris[3] * 50, away * 9, 3)
            ring = smoothstep(np.float32(0.17), np.float32(0.33), away)
            bright = np.float32(1.25) - np.float32(0.7) * ring * ring
            bright *= np.float32(0.8) + np.float32(0.45) * spoke
            edge = smoothstep(np.float32(0.435), np.float32(0.385), away)
            blend(out, iris[0] * bright, iris[1] * bright, iris[2] * bright, edge)
            pupil = smoothstep(np.float32(0.185), np.float32(0.145), away)
            blend(out, np.float32(0.004), np.float32(0.004), np.float32(0.005), pupil)
            lid = np.float32(1.0) - np.float32(0.62) * smoothstep(np.float32(0.10), 0.50, y)
            shine_on(out, nx, ny, nz, lid * np.float32(0.85), lid, np.float32(0.0), 1, light)
            glint = nx * light[3] + ny * light[4] + nz * light[5]
            spark = smoothstep(np.float32(0.976), np.float32(0.990), glint) * np.float32(0.8)
            for j in range(3):
                colours[row, column, j] = out[j] + spark * light[6 + j]


@compiled(**KERNEL)
def thin_out(owner, weights, triangles, first, strands):
    """Drop the samples beyond the tips of their strands, which end at different places."""
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            k = owner[row, column] - first
            if k < 0:
                continue
            at = place_in(triangles, k, weights, row, column)
            tip = mix(strands, at, 3)
            if tip <= 0.0:
                continue
            across = mix(strands, at, 0)
            reach = np.float32(0.7) * noise(across * 3, 0, 21)
            reach += np.float32(0.5) * noise(across, 0, 22)
            if tip > reach:
                owner[row, column] = -1


@compiled(**KERNEL)
def shade_hair(owner, weights, triangles, first, normals, strands, colour, light, colours):
    """Hair: `strands` (n, 4) across and along the strands, openness, nearness to the tip;
    `colour` linear."""
    out = np.zeros(3, np.float32)
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            k = owner[row, column] - first
            if k < 0 or k >= triangles.shape[0]:
                continue
            at = place_in(triangles, k, weights, row, column)
            across, along, open_share = mix_three(strands, at)
            nx, ny, nz = normal_at(normals, at)
            if nz < 0.0:
                nx, ny, nz = -nx, -ny, -nz
            fine = noise(across * 3, along * 2, 11)
            lock = noise(across, along, 12)
            tone = np.float32(0.45) + np.float32(0.55) * fine + np.float32(0.35) * lock
            for j in range(3):
                out[j] = colour[j] * tone
            sheen = np.float32(0.10) * (np.float32(0.3) + fine)
            shine_on(out, nx, ny, nz, open_share, open_share, sheen, 1, light)
            for j in range(3):
                colours[row, column, j] = out[j]


@compiled(**KERNEL)
def resolve(owner, colours, background, first, last, picture, face):
    """Average the samples of every pixel.

    background, picture: (size, size, 3) float32 as displayed, in [0, 255]; face (size, size)
    float32: share of the samples whose triangle is from `first` to `last - 1`.
    """
    size = picture.shape[0]
    times = owner.shape[0] // size
    part = np.float32(1.0 / (times * times))
    for row in range(size):
        for column in range(size):
            skin = 0
            r, g, b = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for y in range(row * times, row * times + times):
                for x in range(column * times, column * times + times):
                    if owner[y, x] < 0:
                        r += background[row, column, 0]
                        g += background[row, column, 1]
                        b += background[row, column, 2]
                        continue
                    if first <= owner[y, x] < last:
                        skin += 1
                    r += displayed(colours[y, x, 0])
                    g += displayed(colours[y, x, 1])
                    b += displayed(colours[y, x, 2])
            picture[row, column, 0] = r * part
            picture[row, column, 1] = g * part
            picture[row, column, 2] = b * part
            face[row, column] = skin * part


@compiled(**KERNEL)
def paint_cover(
    owner, weights, triangles, normals, paint, alpha, gloss, grain, light, cover, colours
):
    """Lay one layer's samples over those already in `cover` and `colours` (displayed, times
    cover). `paint` (n, 5): linear colour, and place on the surface for its grain."""
    out = np.zeros(3, np.float32)
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            k = owner[row, column]
            if k < 0:
                continue
            at = place_in(triangles, k, weights, row, column)
            nx, ny, nz = normal_at(normals, at)
            if nz < 0.0:
                nx, ny, nz = -nx, -ny, -nz
            across, along = mix(paint, at, 3), mix(paint, at, 4)
            rough = np.float32(1.0) + grain * (noise(across, along, 41) - np.float32(0.5))
            for j in range(3):
                out[j] = mix(paint, at, j) * rough
            shine_on(out, nx, ny, nz, 0.9, 1.0, gloss, 2, light)
            rest = np.float32(1.0) - alpha
            cover[row, column] = cover[row, column] * rest + alpha
            for j in range(3):
                shown = min(displayed(out[j]), np.float32(255.0))
                colours[row, column, j] = colours[row, column, j] * rest + shown * alpha
