"""Paste-back: what it leaves alone, where it puts the face, and that no edge shows."""

import numpy as np
import pytest

from faceshifter_jax.faces.alignment import find_alignment, template_landmarks
from faceshifter_jax.faces.face import Face
from faceshifter_jax.faces.finder import FaceFinder
from faceshifter_jax.faces.mesh import fit_to_square
from faceshifter_jax.faces.warp import map_points, warp
from faceshifter_jax.media.levels import to_uint8
from faceshifter_jax.swapping import pasting
from faceshifter_jax.swapping.defaults import MASKS
from faceshifter_jax.swapping.hull import hull_mask
from faceshifter_jax.swapping.pasting import face_mask, paste, put_back, swap_mask
from faceshifter_jax.synthetic import render, sample_attributes, sample_identity

PLACES = {
    "small": ((256, 256), 0.5, 10, (60, 40)),
    "as large": ((256, 256), 1.0, 0, (0, 0)),
    "large": ((700, 900), 2.2, -20, (100, 200)),
    "over the edge": ((400, 400), 1.5, 5, (120, -60)),
}
"""Height and width of the picture; scale, degrees and shift of the face's square in it."""


@pytest.fixture(params=PLACES)
def scene(request):
    """A picture with a face and much fine detail, and the face's alignment."""
    (height, width), scale, degrees, shift = PLACES[request.param]
    turn = np.radians(degrees)
    matrix = scale * np.array([(np.cos(turn), -np.sin(turn), 0), (np.sin(turn), np.cos(turn), 0)])
    matrix[:, 2] = shift
    face = render(sample_identity(5), sample_attributes(6, occluder="none"), 256)
    picture = warp(face, matrix, (height, width))
    picture += np.random.default_rng(0).normal(0, 12, picture.shape)
    return to_uint8(picture), find_alignment(map_points(matrix, template_landmarks(256)), 256)


def mask_of(alignment):
    return face_mask(template_landmarks(alignment.size), alignment.size)


def put(picture, alignment, network, **options):
    square = alignment.cut_out(picture)
    return paste(picture, square, network(square), alignment, mask_of(alignment), **options)


def levels_between(a, b):
    return np.abs(a.astype(int) - b)


def points_of_pixels(chosen):
    return np.argwhere(chosen)[:, ::-1] + 0.5


def test_pixels_outside_of_the_mask_stay_to_the_bit(scene):
    picture, alignment = scene
    before = picture.copy()
    result = put(picture, alignment, lambda square: 255 - square)
    np.testing.assert_array_equal(picture, before)
    changed = (result != picture).any(-1)
    assert changed.any()
    # A pixel may only change where the mask, up to its own neighbours, is above 0.
    x, y = (alignment.to_aligned(points_of_pixels(changed)) - 0.5).T
    reach = mask_of(alignment) > 0
    rows, columns = (np.clip(np.round(v).astype(int), 1, 254) for v in (y, x))
    near = [reach[rows + i, columns + j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    assert np.all(np.any(near, 0))


def test_a_network_that_changes_nothing_leaves_the_picture(scene):
    picture, alignment = scene
    assert levels_between(put(picture, alignment, lambda square: square), picture).max() <= 2


def test_even_without_the_pictures_own_detail_a_face_comes_back_within_two_levels():
    """The picture is smooth here: the square holds all of it, there and back."""
    y, x = np.mgrid[:300, :400]
    waves = np.stack([np.sin(x / 20), np.sin(y / 25), np.sin((x - y) / 30)], -1)
    picture = to_uint8(127 + 60 * waves)
    alignment = find_alignment(template_landmarks(256) * 0.9 + np.array([60, 30]), 256)
    again = warp(alignment.cut_out(picture), alignment.inverse, picture.shape[:2])
    mask = warp(mask_of(alignment)[..., None], alignment.inverse, picture.shape[:2])[..., 0]
    assert levels_between(to_uint8(again), picture)[mask > 0.01].max() <= 2


@pytest.mark.parametrize("match_colours", [True, False])
def test_a_mark_on_the_nose_lands_on_the_nose(scene, match_colours):
    picture, alignment = scene
    y, x = np.mgrid[:256, :256] + 0.5
    nose = template_landmarks(256)[2]
    mark = 120 * np.exp(-((x - nose[0]) ** 2 + (y - nose[1]) ** 2) / (2 * 6.0**2))

    def network(square):
        return to_uint8(square * 0.5 + mark[..., None])

    marked = put(picture, alignment, network, match_colours=match_colours)
    plain = put(picture, alignment, lambda square: square // 2, match_colours=match_colours)
    weight = np.clip(marked.astype(float) - plain, 0, None).sum(-1)
    weight[weight < 60] = 0
    rows, columns = np.indices(weight.shape) + 0.5
    centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    assert np.hypot(*(alignment.to_aligned(centre[None])[0] - nose)) < 0.6


def test_where_much_changed_nothing_of_the_old_face_shines_through(scene):
    picture, alignment = scene
    result = put(picture, alignment, lambda square: np.full_like(square, 255), match_colours=False)
    x, y = np.floor(alignment.to_picture(template_landmarks(256)[2:3])[0]).astype(int)
    assert np.all(result[y - 3 : y + 4, x - 3 : x + 4] >= 253)


def test_a_shift_of_all_colours_is_taken_back_on_request():
    face = render(sample_identity(9), sample_attributes(10, occluder="none"), 256)
    picture = np.clip(face, 30, 225)
    alignment = find_alignment(template_landmarks(256), 256)
    shift = np.array([14, -9, 5], np.int16)

    def network(square):
        return (square + shift).astype(np.uint8)

    assert levels_between(put(picture, alignment, network), picture).max() <= 2
    shifted = put(picture, alignment, network, match_colours=False)
    x, y = template_landmarks(256)[2].astype(int)
    np.testing.assert_allclose(shifted[y, x].astype(int) - picture[y, x], shift, atol=1)


@pytest.mark.parametrize("seed", range(4))
def test_the_mask_covers_the_features_and_is_soft(seed):
    landmarks = template_landmarks(256) + np.random.default_rng(seed).normal(0, 6, (5, 2))
    mask = face_mask(landmarks, 256)
    assert mask.dtype == np.float32
    assert mask.min() == 0
    assert mask.max() == 1
    columns, rows = landmarks.astype(int).T
    assert mask[rows, columns].min() > 0.9
    assert max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1)) < 0.12


def test_the_mask_of_a_turned_face_ends_earlier_where_the_nose_points():
    landmarks = template_landmarks(256)
    landmarks[2, 0] -= 20
    mask = face_mask(landmarks, 256)
    assert mask[:, :128].sum() < 0.8 * mask[:, 128:].sum()
    assert mask[:, 128:].sum() == pytest.approx(
        face_mask(template_landmarks(256), 256)[:, 128:].sum(), rel=0.02
    )


def test_no_rectangle_shows_whatever_the_mask_says():
    picture = np.full((500, 600, 3), 100, np.uint8)
    alignment = find_alignment(template_landmarks(256) * 1.3 + np.array([100, 60]), 256)
    white = np.full((256, 256, 3), 255, np.uint8)
    result = paste(
        picture,
        alignment.cut_out(picture),
        white,
        alignment,
        np.ones((256, 256)),
        match_colours=False,
    )
    # An edge of the square would be a step of 155 levels from one pixel to the next.
    assert np.abs(np.diff(result[..., 0].astype(int), axis=0)).max() < 30
    assert np.abs(np.diff(result[..., 0].astype(int), axis=1)).max() < 30


def test_squares_of_another_size_go_the_same_way():
    picture = render(sample_identity(1), sample_attributes(2, occluder="none"), 300)
    alignment = find_alignment(template_landmarks(300), 64)
    assert levels_between(put(picture, alignment, lambda square: square), picture).max() <= 2


def test_the_swaps_mask_goes_with_a_chin_that_grew_and_with_nothing_apart_from_the_face():
    landmarks = template_landmarks(256)
    plain = np.full((256, 256, 3), 100, np.uint8)
    face = face_mask(landmarks, 256)
    np.testing.assert_array_equal(swap_mask(landmarks, plain, plain), face)
    rim = np.argwhere(face[:, 128] > 0).max()
    longer = plain.copy()
    longer[150 : rim + 14, 90:166] = 180
    grown = swap_mask(landmarks, plain, longer)
    assert grown.min() >= 0
    assert grown.max() <= 1
    assert np.all(grown >= face)
    assert grown[rim + 2, 128] > face[rim + 2, 128] + 0.1
    assert max(np.abs(np.diff(grown, axis=axis)).max() for axis in (0, 1)) < 0.15
    apart = plain.copy()
    apart[:20] = 255
    np.testing.assert_allclose(swap_mask(landmarks, plain, apart), face, atol=1e-6)


def test_blocks_of_rows_make_no_difference(monkeypatch):
    picture = render(sample_identity(1), sample_attributes(2, occluder="none"), 500)
    turned = template_landmarks(500) @ np.array([(0.96, 0.28), (-0.28, 0.96)]) + (70, -50)
    alignment = find_alignment(turned, 256)
    whole = put(picture, alignment, lambda square: 255 - square)
    monkeypatch.setattr(pasting, "_BLOCK_PIXELS", 5000)
    blocks = put(picture, alignment, lambda square: 255 - square)
    assert levels_between(whole, blocks).max() <= 1
    assert (whole != picture).any()


def test_the_hull_covers_the_old_outline_and_the_new_one():
    size = 256
    face = render(sample_identity(5), sample_attributes(6, occluder="none"), size)
    landmarks = template_landmarks(size)
    mesh = fit_to_square(face, landmarks)
    assert mesh is not None
    own = hull_mask(landmarks, face, face)
    assert own is not None
    assert own.shape == (size, size)
    column, row = np.clip(mesh.round().astype(int), 0, size - 1).T
    assert own[row, column].min() > 0.4
    assert own[int(mesh[:, 1].mean()), int(mesh[:, 0].mean())] == 1
    assert own[:8].max() == 0
    # No seam: from 1 to 0 over a tenth of the side.
    assert max(np.abs(np.diff(own, axis=axis)).max() for axis in (0, 1)) < 0.12
    wider = warp(face, np.array([(1.2, 0, -0.1 * size), (0, 1, 0)]), (size, size))
    both = hull_mask(landmarks, face, to_uint8(wider))
    assert both is not None
    assert both.min() >= 0
    assert np.all(both >= own - 1e-6)
    assert both.sum() > 1.05 * own.sum()


def test_a_hull_of_a_face_that_the_mesh_does_not_see_is_the_ellipse():
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    face = Face(template_landmarks(256), np.array([60, 60, 200, 220], np.float32), 1.0)
    found = FaceFinder(256).align(picture, face)
    assert hull_mask(found.landmarks, found.square, found.square) is None
    drawn = [put_back(picture, [found], [255 - found.square], mask) for mask in MASKS]
    np.testing.assert_array_equal(*drawn)
    assert levels_between(drawn[0], picture).max() > 100
