"""Things in front of the face. All of them follow from the attributes and the mean head alone.

An occluder is drawn into separate samples with a cover and a colour for each, then averaged to
pixels: cover in [0, 1] and colour. Triangles of its mesh are numbered in `alpha`'s order.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from faceshifter_jax.synthetic.attributes import Attributes
from faceshifter_jax.synthetic.camera import Camera
from faceshifter_jax.synthetic.lighting import light_values
from faceshifter_jax.synthetic.model import head_model
from faceshifter_jax.synthetic.occluder_meshes import (
    OccluderMesh,
    fringe_mesh,
    glasses_mesh,
    hand_mesh,
    mask_mesh,
)
from faceshifter_jax.synthetic.raster import Samples, vertex_normals
from faceshifter_jax.synthetic.seeding import OCCLUDER, seeded
from faceshifter_jax.synthetic.shading import paint_cover

MESHES: dict[str, Callable[[Attributes, np.ndarray], OccluderMesh]] = {
    "glasses": glasses_mesh,
    "hand": hand_mesh,
    "mask": mask_mesh,
    "fringe": fringe_mesh,
}


@dataclass(frozen=True, eq=False)
class Cover:
    """mask (size, size) float32 in [0, 1]; colour (size, size, 3) float32 as displayed, in
    [0, 255], of what is there where the mask is not 0."""

    mask: np.ndarray
    colour: np.ndarray


def occluder_cover(
    attributes: Attributes, mean: np.ndarray, camera: Camera, times: int
) -> Cover | None:
    """The occluder of a picture, None where it has none. `mean` is the unposed mean head with the
    attributes' expression (n + 2, 3), `times` the samples along a pixel's side."""
    kind = attributes.occluder.kind
    if kind == "none":
        return None
    if kind == "shape":
        return _shape_cover(attributes, camera.size, times)
    mesh = MESHES[kind](attributes, mean)
    posed = camera.pose(mesh.vertices)
    samples = Samples(camera.size, times)
    points = camera.project(posed) * samples.scale
    if mesh.hidden_by_head:
        head = camera.project(camera.pose(mean[:-2])) * samples.scale
        samples.block(head, head_model().triangles)
    normals = vertex_normals(posed, mesh.triangles)
    light = light_values(attributes.light)
    count = len(samples.triangle)
    cover = np.zeros((count, count), np.float32)
    colours = np.zeros((count, count, 3), np.float32)
    for first, last, alpha in mesh.layers:
        layer = samples.copy()
        layer.draw(points, mesh.triangles[first:last], first, cull=False)
        paint_cover(
            *(layer.triangle, layer.weights, mesh.triangles, normals, mesh.paint),
            *(np.float32(alpha), np.float32(mesh.gloss), np.float32(mesh.grain), light),
            *(cover, colours),
        )
    return average_cover(cover, colours, times)


def average_cover(cover: np.ndarray, colours: np.ndarray, times: int) -> Cover:
    """Pixels from samples: mean cover, and mean colour weighted by the cover."""
    size = len(cover) // times
    mask = cover.reshape(size, times, size, times).mean((1, 3), dtype=np.float32)
    total = colours.reshape(size, times, size, times, 3).mean((1, 3), dtype=np.float32)
    return Cover(mask, total / np.maximum(mask, np.float32(1e-6))[..., None])


def _shape_cover(attributes: Attributes, size: int, times: int) -> Cover:
    """A plain ellipse, polygon or bar, flat or softly shaded."""
    occluder = attributes.occluder
    rng = seeded(occluder.pattern, OCCLUDER)
    place = (np.arange(size * times) + 0.5) / (size * times)
    x, y = np.meshgrid(place, place)
    x, y = x - rng.uniform(0.28, 0.72), y - rng.uniform(0.35, 0.85)
    turn = rng.uniform(0, 2 * np.pi)
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    kind = rng.integers(3)
    if kind == 0:
        width, height = rng.uniform(0.08, 0.24, 2)
        inside = (x / width) ** 2 + (y / height) ** 2 < 1
    elif kind == 1:
        corners, reach = int(rng.integers(3, 8)), rng.uniform(0.10, 0.24)
        sides = [
            x * np.cos(angle) + y * np.sin(angle) < reach * rng.uniform(0.7, 1.0)
            for angle in 2 * np.pi * np.arange(corners) / corners
        ]
        inside = np.all(sides, 0) & (x * x + y * y < (2 * reach) ** 2)
    else:
        inside = (np.abs(y) < rng.uniform(0.02, 0.07)) & (np.abs(x) < rng.uniform(0.3, 1.2))
    shade = 1.0 + rng.uniform(0.0, 0.9) * (x * np.cos(turn) - y) + 0 * y
    colour = np.array(occluder.colour) * shade[..., None] * 255
    colours = np.where(inside[..., None], np.clip(colour, 0, 255), 0).astype(np.float32)
    return average_cover(inside.astype(np.float32), colours, times)
