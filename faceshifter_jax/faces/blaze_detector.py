"""The detector that comes with the package: BlazeFace finds, the face mesh says where exactly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from faceshifter_jax.faces.face import BRIGHTENED, Face, shares
from faceshifter_jax.faces.face_networks import NETWORKS, has_accelerator, load_network
from faceshifter_jax.faces.mesh import Mesh, fit_meshes
from faceshifter_jax.faces.views import View, tiles, whole

MIN_SCORE = 0.4
"""Confidence of BlazeFace from which on the mesh looks at what it found, and has the last word."""

# Grid sides and anchors at each place.
_GRIDS = {"short_range": ((16, 2), (8, 6)), "full_range": ((48, 1),)}
_BORDER = 0.25  # around a picture that is looked at in all turns, as a share of its longer side
_SAME_DETECTION = 0.3  # share of the union of two boxes that is in both
_SAME_FACE = 0.4  # share of the smaller of two boxes that is in both
# A box that ends where a tile does is of a part of a face, unless the picture ends there, too.
_EDGE = 0.02
# Beyond it, shrinking once is faster than shrinking for each tile.
_LONGEST_SIDE = 1536


@dataclass(frozen=True, eq=False)
class Detection:
    """What BlazeFace found.

    Attributes:
      points: (8, 2): left top and right bottom of the box, the eyes, the nose's tip, the middle of
        the mouth, and both ears; the person's right eye and ear come first.
      score: in [0, 1].
    """

    points: np.ndarray
    score: float


class BlazeFaceDetector:
    """Finds faces from 3 % of a picture's longer side, however they are turned in the plane."""

    def __init__(self, min_score: float = MIN_SCORE, *, small_faces: bool = False):
        """Loads the networks.

        Args:
          min_score: what BlazeFace is less sure of is left out.
          small_faces: look for faces from 1.5 %, too, which takes several times as long.

        Raises:
          UserError: their files are damaged.
        """
        with_jax = has_accelerator()
        self._find = {name: load_network(name, with_jax=with_jax) for name in _GRIDS}
        self._fit = load_network("face_mesh", with_jax=with_jax)
        self._min_score = min_score
        self._counts = (2, 4) if small_faces else (2,)

    def detect(self, picture: np.ndarray) -> list[Face]:
        """Finds the faces of a picture, uint8 (H, W, 3), RGB, the surest first."""
        return self.detect_many([picture])[0]

    def detect_many(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        """Finds the faces of several pictures; the networks see their parts together."""
        return [[mesh.face() for mesh in meshes] for meshes in self.find_meshes(pictures)]

    def find_meshes(self, pictures: Sequence[np.ndarray]) -> list[list[Mesh]]:
        """Like `detect_many`, with all points of the faces."""
        found: list[list[Mesh]] = [[] for _ in pictures]
        for brightened in (False, True):
            for views_of in (self._usual_views, _views_with_border):
                missing = [i for i, meshes in enumerate(found) if not meshes]
                shown = [pictures[i] for i in missing]
                if brightened:
                    shown = [BRIGHTENED[picture] for picture in shown]
                views = [views_of(*picture.shape[1::-1]) for picture in shown]
                for i, meshes in zip(missing, self._look(shown, views), strict=True):
                    found[i] = meshes
        return found

    def _usual_views(self, width: int, height: int) -> list[tuple[str, View]]:
        # The short range takes a turned face for an upright one, but is surer of it in its turn.
        views = [("short_range", whole(width, height, quarters=turn)) for turn in range(4)]
        for count in self._counts:
            smaller = tiles(width, height, count)
            # Enlarging a picture shows nothing new.
            if smaller[0].side >= NETWORKS["full_range"].size:
                views += [("full_range", tile) for tile in smaller]
        return views if len(views) > 4 else [*views, ("full_range", whole(width, height))]

    def _look(
        self, pictures: Sequence[np.ndarray], views: Sequence[list[tuple[str, View]]]
    ) -> list[list[Mesh]]:
        found: list[list[Detection]] = [[] for _ in pictures]
        images = [Image.fromarray(picture) for picture in pictures]
        small = [_shrunk(image) for image in images]
        for name, run in self._find.items():
            seen = [(i, view) for i, own in enumerate(views) for n, view in own if n == name]
            if not seen:
                continue
            squares = [
                view.scaled(small[i].width / images[i].width).cut_out(small[i], NETWORKS[name].size)
                for i, view in seen
            ]
            boxes, logits = run(np.stack(squares))
            for j, (i, view) in enumerate(seen):
                found[i] += self._read(name, view, boxes[j], logits[j], images[i].size)
        return [
            _keep_best(fit_meshes(self._fit, picture, _distinct(own)))
            for picture, own in zip(pictures, found, strict=True)
        ]

    def _read(
        self,
        name: str,
        view: View,
        boxes: np.ndarray,
        logits: np.ndarray,
        picture_size: tuple[int, int],
    ) -> Iterator[Detection]:
        """Yields what one view shows: boxes (N, 16) and logits (N, 1) from its anchors."""
        scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -80, 80)))
        for i in np.flatnonzero(scores >= self._min_score):
            points = boxes[i].reshape(-1, 2) / NETWORKS[name].size
            points[0] += _ANCHORS[name][i]
            points[2:] += _ANCHORS[name][i]
            centre, half = points[0].copy(), points[1] / 2
            points[:2] = centre - half, centre + half
            if (half > 0).all() and not _is_cut(view, points[:2], picture_size):
                placed = view.to_picture(points)
                placed[:2] = placed[:2].min(0), placed[:2].max(0)
                yield Detection(placed, float(scores[i]))


def _views_with_border(width: int, height: int) -> list[tuple[str, View]]:
    views = [whole(width, height, border=_BORDER, quarters=quarters) for quarters in range(4)]
    return [(name, view) for name in _GRIDS for view in views]


def _anchors(grids: Sequence[tuple[int, int]]) -> np.ndarray:
    """(N, 2): the middles of the places of grids, row by row, as shares of the picture's side."""
    places = []
    for side, repeats in grids:
        y, x = (np.mgrid[:side, :side] + 0.5) / side
        places.append(np.stack([x, y], -1).reshape(-1, 2).repeat(repeats, 0))
    return np.concatenate(places)


_ANCHORS = {name: _anchors(grids) for name, grids in _GRIDS.items()}


def _shrunk(image: Image.Image) -> Image.Image:
    factor = max(image.size) / _LONGEST_SIDE
    if factor <= 1:
        return image
    width, height = (max(1, round(length / factor)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _is_cut(view: View, box: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether a box of a view ends at an edge behind which the picture goes on."""
    if view.quarters:
        return False
    width, height = size
    start, stop = np.array([view.left, view.top]), np.array([view.left, view.top]) + view.side
    goes_on = np.concatenate([start > 0.5, stop < (width - 0.5, height - 0.5)])
    at_edge = np.concatenate([box[0] < _EDGE, box[1] > 1 - _EDGE])
    return bool((goes_on & at_edge).any())


def _distinct(found: list[Detection]) -> list[Detection]:
    """Of detections of one face the surest, whichever view it comes from."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda detection: -detection.score):
        boxes = [other.points[:2].reshape(4) for other in kept]
        if all(shares(one.points[:2].reshape(4), box)[0] < _SAME_DETECTION for box in boxes):
            kept.append(one)
    return kept


def _keep_best(meshes: list[Mesh]) -> list[Mesh]:
    """Of meshes of one face the surest."""
    kept: list[Mesh] = []
    for mesh in sorted(meshes, key=lambda mesh: -mesh.score):
        if all(shares(mesh.box, other.box)[1] < _SAME_FACE for other in kept):
            kept.append(mesh)
    return kept
