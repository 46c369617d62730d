"""Colours of samples: skin, eyes and hair, in linear light.

Every kernel reads the buffers of `raster.Samples` and writes the samples of the triangles
numbered `first` to `first + len(triangles) - 1` into `colours` (count, count, 3) float32.
"""

import numba
import numpy as np

from faceshifter_jax.synthetic.kernels import KERNEL, blend, noise, smoothstep
from faceshifter_jax.synthetic.lighting import displayed, shine_on
from faceshifter_jax.synthetic.skin import OPENNESS, TONGUE, TOOTH, paint_face


@numba.njit(**KERNEL)
def shade_skin(owner, weights, triangles, normals, surface, values, light, colours):
    """Head, teeth and tongue; their triangles are numbered from 0."""
    place = np.zeros(10, np.float32)
    out = np.zeros(3, np.float32)
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            k = owner[row, column]
            if k < 0 or k >= triangles.shape[0]:
                continue
            a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
            u, v = weights[row, column, 0], weights[row, column, 1]
            w = np.float32(1.0) - u - v
            for j in range(10):
                place[j] = surface[a, j] * u + surface[b, j] * v + surface[c, j] * w
            nx = normals[a, 0] * u + normals[b, 0] * v + normals[c, 0] * w
            ny = normals[a, 1] * u + normals[b, 1] * v + normals[c, 1] * w
            nz = normals[a, 2] * u + normals[b, 2] * v + normals[c, 2] * w
            scale = np.float32(1.0) / max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-6)
            if place[TOOTH] > 0.5 and nz < 0.0:
                scale = -scale
            gloss = paint_face(out, place, values)
            # Baked with the mouth closed, so teeth and tongue would stay black when it opens.
            open_share = max(
                place[OPENNESS], np.float32(0.55) * place[TOOTH] + np.float32(0.4) * place[TONGUE]
            )
            lit = smoothstep(np.float32(0.05), np.float32(0.55), open_share)
            shine_on(out, nx * scale, ny * scale, nz * scale, open_share, lit, gloss, 2, light)
            for j in range(3):
                colours[row, column, j] = out[j]


@numba.njit(**KERNEL)
def shade_eyes(owner, weights, triangles, first, normals, directions, iris, gaze, light, colours):
    """Eyeballs: `directions` (n, 3) from an eye's centre in the head's frame, `iris` its linear
    colour and pattern, `gaze` (3,) the direction looked in."""
    out = np.zeros(3, np.float32)
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            k = owner[row, column] - first
            if k < 0 or k >= triangles.shape[0]:
                continue
            a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
            u, v = weights[row, column, 0], weights[row, column, 1]
            w = np.float32(1.0) - u - v
            x = directions[a, 0] * u + directions[b, 0] * v + directions[c, 0] * w
            y = directions[a, 1] * u + directions[b, 1] * v + directions[c, 1] * w
            z = directions[a, 2] * u + directions[b, 2] * v + directions[c, 2] * w
            nx = normals[a, 0] * u + normals[b, 0] * v + normals[c, 0] * w
            ny = normals[a, 1] * u + normals[b, 1] * v + normals[c, 1] * w
            nz = normals[a, 2] * u + normals[b, 2] * v + normals[c, 2] * w
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


@numba.njit(**KERNEL)
def thin_out(owner, weights, triangles, first, strands):
    """Drop the samples beyond the tips of their strands, which end at different places."""
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            k = owner[row, column] - first
            if k < 0:
                continue
            a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
            u, v = weights[row, column, 0], weights[row, column, 1]
            w = np.float32(1.0) - u - v
            tip = strands[a, 3] * u + strands[b, 3] * v + strands[c, 3] * w
            if tip <= 0.0:
                continue
            across = strands[a, 0] * u + strands[b, 0] * v + strands[c, 0] * w
            reach = np.float32(0.7) * noise(across * 3, 0, 21)
            reach += np.float32(0.5) * noise(across, 0, 22)
            if tip > reach:
                owner[row, column] = -1


@numba.njit(**KERNEL)
def shade_hair(owner, weights, triangles, first, normals, strands, colour, light, colours):
    """Hair: `strands` (n, 4) across and along the strands, openness, nearness to the tip;
    `colour` linear."""
    out = np.zeros(3, np.float32)
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            k = owner[row, column] - first
            if k < 0 or k >= triangles.shape[0]:
                continue
            a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
            u, v = weights[row, column, 0], weights[row, column, 1]
            w = np.float32(1.0) - u - v
            across = strands[a, 0] * u + strands[b, 0] * v + strands[c, 0] * w
            along = strands[a, 1] * u + strands[b, 1] * v + strands[c, 1] * w
            open_share = strands[a, 2] * u + strands[b, 2] * v + strands[c, 2] * w
            nx = normals[a, 0] * u + normals[b, 0] * v + normals[c, 0] * w
            ny = normals[a, 1] * u + normals[b, 1] * v + normals[c, 1] * w
            nz = normals[a, 2] * u + normals[b, 2] * v + normals[c, 2] * w
            if nz < 0.0:
                nx, ny, nz = -nx, -ny, -nz
            scale = np.float32(1.0) / max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-6)
            fine = noise(across * 3, along * 2, 11)
            lock = noise(across, along, 12)
            tone = np.float32(0.45) + np.float32(0.55) * fine + np.float32(0.35) * lock
            for j in range(3):
                out[j] = colour[j] * tone
            sheen = np.float32(0.10) * (np.float32(0.3) + fine)
            shine_on(
                out, nx * scale, ny * scale, nz * scale, open_share, open_share, sheen, 1, light
            )
            for j in range(3):
                colours[row, column, j] = out[j]


@numba.njit(**KERNEL)
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
