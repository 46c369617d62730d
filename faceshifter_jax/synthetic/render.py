"""One picture of one person: geometry, samples, colours, occluder."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.synthetic.attributes import Attributes, expression_weights
from faceshifter_jax.synthetic.background import background_picture
from faceshifter_jax.synthetic.camera import Camera, build_camera, head_landmarks
from faceshifter_jax.synthetic.eyes import eye_directions, eye_vertices, gaze_direction
from faceshifter_jax.synthetic.hair import Mesh, hair_mesh
from faceshifter_jax.synthetic.identity import Identity, neutral_vertices
from faceshifter_jax.synthetic.lighting import light_values, linear
from faceshifter_jax.synthetic.model import head_model
from faceshifter_jax.synthetic.occluders import Cover, occluder_cover
from faceshifter_jax.synthetic.raster import Samples, vertex_normals
from faceshifter_jax.synthetic.shading import resolve, shade_eyes, shade_hair, shade_skin, thin_out
from faceshifter_jax.synthetic.skin import skin_values

SMALLEST, LARGEST = 32, 1024
# Lids are thin: eyes count as this much deeper (decimetres), so that no lid is pierced.
EYE_SINK = np.float32(0.045)


@dataclass(frozen=True, eq=False)
class Layers:
    """A picture and what is known about it.

    image          (size, size, 3) uint8 RGB
    occluder_mask  (size, size) float32 in [0, 1]: the occluder's cover; the picture is
                   (1 - mask) * picture without it + mask * occluder
    face_mask      (size, size) float32 in [0, 1]: cover of head and neck without hair, without the
                   occluder
    landmarks      (5, 2) float32: column and row in pixels of the pupils, the nose tip and the
                   mouth corners, the picture's left first
    """

    image: np.ndarray
    occluder_mask: np.ndarray
    face_mask: np.ndarray
    landmarks: np.ndarray


def supersampling(size: int) -> int:
    """Samples along a pixel's side."""
    return 3 if size < 128 else 2


def _expressive(neutral: np.ndarray, attributes: Attributes) -> np.ndarray:
    vertices = neutral.copy()
    head_model().expression.add_to(vertices, expression_weights(attributes))
    return vertices


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What depends on the attributes and the size alone, not on the person; read-only.

    hair            its mesh, None where there is none
    lock_normals    the normals of the posed hair
    hairy           the samples that the hair would cover if nothing was before it
    cover           the occluder's, None where there is none
    """

    camera: Camera
    background: np.ndarray
    light: np.ndarray
    hair: Mesh | None
    lock_normals: np.ndarray | None
    hairy: Samples | None
    cover: Cover | None


# The people of a group are rendered one after another under the same attributes, and so are the
# target and the right answer of a swap.
@lru_cache(maxsize=2)
def _surroundings(attributes: Attributes, size: int) -> Surroundings:
    mean = _expressive(neutral_vertices(None), attributes)
    camera = build_camera(attributes, mean, size)
    hair = hair_mesh(attributes.hair)
    lock_normals = hairy = None
    if hair is not None:
        locks = camera.pose(hair.vertices)
        hairy = Samples(size, supersampling(size))
        first = _first_hair()
        hairy.draw(camera.project(locks) * hairy.scale, hair.triangles, first, cull=False)
        thin_out(hairy.triangle, hairy.weights, hair.triangles, first, hair.strands)
        lock_normals = vertex_normals(locks, hair.triangles)
    return Surroundings(
        camera=camera,
        background=background_picture(attributes.background, size),
        light=light_values(attributes.light),
        hair=hair,
        lock_normals=lock_normals,
        hairy=hairy,
        cover=occluder_cover(attributes, mean, camera, supersampling(size)),
    )


def _first_hair() -> int:
    """Number of the hair's first triangle: head, teeth and eyes come before it."""
    return len(head_model().triangles) + len(eye_directions()[1])


def _draw_head(
    samples: Samples,
    vertices: np.ndarray,
    around: Surroundings,
    identity: Identity,
    attributes: Attributes,
    colours: np.ndarray,
) -> None:
    """Head, eyes and hair into the samples and their colours; triangles count from 0."""
    model, camera, light = head_model(), around.camera, around.light
    times = samples.scale
    posed = camera.pose(vertices)
    head, centres = posed[:-2], vertices[-2:]
    directions, eye_triangles = eye_directions()
    eyes = camera.pose(eye_vertices(centres, model.eye_radius))
    first_eye = len(model.triangles)
    points, skin = camera.project(head) * times, model.first_tooth
    samples.draw(points, model.triangles[:skin], 0, cull=True)
    samples.draw(points, model.triangles[skin:], skin, cull=False)
    balls = camera.project(eyes) * times
    balls[:, 2] -= EYE_SINK
    samples.draw(balls, eye_triangles, first_eye, cull=True)
    buffers = (samples.triangle, samples.weights)
    hair = around.hair
    if hair is not None and around.hairy is not None:
        samples.take_nearer(around.hairy)
        parts = (hair.triangles, _first_hair(), around.lock_normals, hair.strands)
        shade_hair(*buffers, *parts, linear(attributes.hair.colour), light, colours)
    values = skin_values(identity, attributes)
    normals = vertex_normals(head, model.triangles)
    shade_skin(*buffers, model.triangles, normals, model.surface, values, light, colours)
    iris = np.append(linear(identity.iris_colour), identity.iris_pattern).astype(np.float32)
    gaze = gaze_direction(attributes.gaze)
    normals = (directions @ camera.turn.T).astype(np.float32)
    shade_eyes(*buffers, eye_triangles, first_eye, normals, directions, iris, gaze, light, colours)


def render_layers(identity: Identity, attributes: Attributes, size: int) -> Layers:
    """The picture of `identity` taken with `attributes`, with its masks and landmarks.

    size: 32 to 1024 pixels. Background, hair, occluder and crop depend on the attributes alone.
    Raises UserError for another size.
    """
    if not isinstance(size, int | np.integer) or not SMALLEST <= size <= LARGEST:
        raise UserError(f"size must be a whole number from {SMALLEST} to {LARGEST}, not {size!r}")
    size = int(size)
    around = _surroundings(attributes, size)
    vertices = _expressive(neutral_vertices(identity), attributes)
    samples = Samples(size, supersampling(size))
    colours = np.empty((*samples.triangle.shape, 3), np.float32)
    _draw_head(samples, vertices, around, identity, attributes, colours)
    picture = np.empty((size, size, 3), np.float32)
    face = np.empty((size, size), np.float32)
    first_head = head_model().first_head
    resolve(samples.triangle, colours, around.background, first_head, _first_hair(), picture, face)
    mask = np.zeros((size, size), np.float32)
    if around.cover is not None:
        mask = around.cover.mask.copy()
        picture += (around.cover.colour - picture) * mask[..., None]
    camera = around.camera
    points = camera.project(camera.pose(head_landmarks(vertices)))[:, :2]
    image = np.floor(np.clip(picture, 0.0, 255.0) + np.float32(0.5)).astype(np.uint8)
    return Layers(image, mask, face * (1 - mask), np.ascontiguousarray(points))


def render(identity: Identity, attributes: Attributes, size: int) -> np.ndarray:
    """`render_layers` for its picture alone: (size, size, 3) uint8 RGB."""
    return render_layers(identity, attributes, size).image
