"""Crops as the projects that published generators cut them, by their numbers."""

import numpy as np
import pytest
from published_pictures import (
    AHEAD,
    RIGHT,
    SOURCE,
    TARGET,
    ghost_matrix,
    picture,
    resized,
    taotaonice_matrix,
    warped,
)

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import ALIGNMENTS, align, find_alignment
from faceshifter_jax.faces.finder import FaceFinder
from faceshifter_jax.faces.opencv_sampling import resize_as_opencv, warp_as_opencv
from faceshifter_jax.networks.contract import REGIONS


@pytest.mark.parametrize(
    ("name", "size", "landmarks", "row"),
    [
        ("insightface-0.2", 224, SOURCE, (0.9144, 0.04981, -28.71707)),
        ("insightface-0.2", 224, TARGET, (0.90647, -0.01828, -19.07903)),
        ("taotaonice", 256, SOURCE, (0.993, 0.05855, -25.4905)),
        ("taotaonice", 256, TARGET, (1.14228, -0.03361, -46.76251)),
    ],
)
def test_matrices_of_pixel_indices_are_those_of_the_originals(name, size, landmarks, row):
    down = {-28.71707: -4.09186, -19.07903: -6.56478, -25.4905: 5.32547, -46.76251: -23.4568}
    a, b, x = row
    matrix = find_alignment(landmarks, size, name).index_matrix
    np.testing.assert_allclose(matrix, [(a, b, x), (-b, a, down[x])], atol=3e-5)


def test_the_best_of_five_poses_is_taken():
    for landmarks, template in ((SOURCE, AHEAD), (TARGET, RIGHT)):
        ours = find_alignment(landmarks, 224, "insightface-0.2").index_matrix
        np.testing.assert_allclose(ours, ghost_matrix(landmarks, template), atol=1e-9)
    # A profile takes a template of profiles: its eyes lie 6 of 112 pixels apart.
    profile = np.array([(51.6, 50.1), (57.6, 50.0), (35.7, 69.0), (51.2, 89.1), (57.0, 89.7)])
    alignment = find_alignment(profile * 2 + 30, 112, "insightface-0.2")
    np.testing.assert_allclose(alignment.to_aligned(profile * 2 + 30.5), profile + 0.5, atol=0.2)


def test_crops_are_those_of_the_originals_to_the_grey_level():
    source = align(picture(0), SOURCE, 224, "insightface-0.2")
    assert source[0, 0].tolist() == [222, 39, 157]
    assert source[112, 112].tolist() == [60, 161, 226]
    target = resize_as_opencv(align(picture(1), TARGET, 224, "insightface-0.2"), 256)
    assert target[112, 112].tolist() == [56, 33, 28]
    for k, landmarks in enumerate((SOURCE, TARGET)):
        ours = align(picture(k), landmarks, 256, "taotaonice")
        error = np.abs(ours - warped(picture(k), taotaonice_matrix(landmarks), 256))
        assert error.mean() < 0.07
        # At the photo's edge, where a pixel's step is 255, 1/64 of a pixel is 4.
        assert np.percentile(error, 99.9) <= 1
        assert error.max() <= 4


@pytest.mark.parametrize(("size", "scale", "degrees"), [(96, 0.5, 10), (200, 2.3, -75), (64, 1, 0)])
def test_the_warp_is_bilinear_with_zeros_outside(size, scale, degrees):
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    matrix = np.array([(cos, -sin, -20.3), (sin, cos, 11.7)])
    ours = warp_as_opencv(picture(0), matrix, size)
    exact = warped(picture(0), matrix, size)
    # Positions are rounded to 1/32 of a pixel, as OpenCV rounds them.
    assert np.abs(ours - exact).mean() < 0.5
    outside = exact.max(-1) == 0
    assert not ours[outside].any()
    if scale == 1:
        assert np.abs(ours - exact).max() <= 4


@pytest.mark.parametrize(("old", "new"), [(224, 256), (256, 224), (224, 112), (50, 50)])
def test_squares_are_resized_with_half_pixel_centres(old, new):
    square = np.random.default_rng(0).integers(0, 256, (old, old, 3)).astype(np.uint8)
    ours = resize_as_opencv(square, new)
    assert ours.shape == (new, new, 3)
    assert np.abs(ours - resized(square, new, corners=False)).max() < 1.1


def test_the_ffhq_square_lies_where_ffhq_puts_it():
    # Eyes 80 apart, 90 above the mouth: half a side of 1.8 * 90 pixels beats 2 * 80.
    landmarks = np.array([(160, 200), (240, 200), (200, 250), (170, 290), (230, 290)], float)
    matrix = find_alignment(landmarks, 256, "ffhq").index_matrix
    corners = np.array([(200 - 162, 209 - 162, 1), (200 + 162, 209 + 162, 1)])
    np.testing.assert_allclose(corners @ matrix.T, [(-0.5 + 0, -0.5), (255.5, 255.5)], atol=0.5)
    # Turned by a quarter the square turns along.
    turned = landmarks @ np.array([(0, 1), (-1, 0)]) + (500, 0)
    quarter = find_alignment(turned, 256, "ffhq").to_picture(np.array([(0.0, 0.0)]))
    upright = find_alignment(landmarks, 256, "ffhq").to_picture(np.array([(0.0, 0.0)]))
    np.testing.assert_allclose(
        quarter - 0.5, (upright - 0.5) @ np.array([(0, 1), (-1, 0)]) + (500, 0), atol=1e-9
    )


def test_the_ffhq_square_is_antialiased_and_continues_the_photo():
    y, x = np.mgrid[:600, :600]
    board = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, -1)
    landmarks = np.array([(200, 220), (400, 220), (300, 320), (220, 420), (380, 420)], float)
    square = align(board, landmarks, 64, "ffhq")
    assert np.abs(square[8:-8, 8:-8].astype(float) - 127.5).max() < 8
    # A face in the corner: what is missing is mirrored, not black.
    near = align(np.full((300, 300, 3), 200, np.uint8), landmarks / 4 - (20, 20), 128, "ffhq")
    assert (near == 200).all()


def test_the_photo_is_continued_by_black_where_the_original_does_so():
    plain = np.full((120, 120, 3), 200, np.uint8)
    landmarks = np.array([(5, 5), (45, 5), (25, 28), (10, 50), (40, 50)], float)
    for name, border in (("insightface-0.2", 0), ("taotaonice", 0), ("arcface", 200)):
        square = align(plain, landmarks, 112, name)
        assert square[0, 0].tolist() == [border] * 3
        assert square[70, 56].tolist() == [200] * 3


def test_squares_of_tight_arcface_are_the_middle_of_the_wide_ones():
    wide = align(picture(0), SOURCE, 256).astype(float)
    tight = align(picture(0), SOURCE, 218, "arcface-tight").astype(float)
    error = np.abs(wide[19:237, 19:237] - tight)
    # By splines or bilinearly, by halves or by indices: much the same.
    assert np.median(error) < 3


def test_every_alignment_has_its_usual_region_and_no_other_is_known():
    assert ALIGNMENTS.keys() == REGIONS.keys()
    with pytest.raises(UserError, match="there is no alignment 'dlib'; known are arcface: "):
        FaceFinder(64, alignment="dlib")


def test_a_face_upside_down_has_a_square_too():
    landmarks = np.array([(160, 290), (240, 290), (200, 250), (160, 210), (240, 210)], float)
    for name in ALIGNMENTS:
        assert np.isfinite(find_alignment(landmarks, 64, name).inverse).all()
    with pytest.raises(ValueError, match="no direction"):
        find_alignment(np.ones((5, 2)), 64, "ffhq")
