"""Where aligned faces lie, and whether transforms and resampling hit it."""

import numpy as np
import pytest

from faceshifter_jax.faces.alignment import align, find_alignment, template_landmarks
from faceshifter_jax.faces.warp import invert, map_points, warp
from faceshifter_jax.media.levels import to_uint8
from faceshifter_jax.networks.identity import crop_for_identity
from faceshifter_jax.synthetic import render, sample_attributes, sample_identity
from faceshifter_jax.synthetic.camera import template_points

ARCFACE_POINTS = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)


def similarity(scale, degrees, shift):
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([(cos, -sin, shift[0]), (sin, cos, shift[1])])


def smooth(x, y):
    """A smooth picture (..., 3) in [0, 255] as a function of points; waves of 40 pixels."""
    waves = [np.sin(x / 6.5), np.sin(y / 7.0 + 1), np.sin((x + y) / 9.0)]
    return np.stack([127.5 + 100 * wave for wave in waves], -1)


def sampled(height, width, matrix=None):
    """`smooth` at the centres of pixels, or at the points that a matrix takes to them."""
    y, x = np.mgrid[:height, :width] + 0.5
    if matrix is not None:
        points = map_points(invert(matrix), np.stack([x, y], -1).reshape(-1, 2))
        x, y = points.T.reshape(2, height, width)
    return smooth(x, y)


@pytest.mark.parametrize("size", [64, 256, 512])
def test_the_template_is_that_of_the_embedded_faces(size):
    np.testing.assert_allclose(template_landmarks(size), template_points(size))


def test_the_crop_for_the_identity_network_has_the_landmarks_of_arcface():
    y, x = np.mgrid[:256, :256] + 0.5
    for wanted, (column, row) in zip(ARCFACE_POINTS, template_landmarks(256), strict=True):
        blob = np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 4.0**2))
        crop = np.asarray(crop_for_identity(np.repeat(blob[None, ..., None], 3, -1), 112))[
            0, ..., 0
        ]
        rows, columns = np.mgrid[:112, :112] + 0.5
        centre = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
        # Whole rows and columns are cut out, which is a fifth of a pixel off the exact crop.
        np.testing.assert_allclose(centre, wanted, atol=0.12)


@pytest.mark.parametrize(("scale", "degrees"), [(0.2, 0), (1.0, -35), (3.0, 90), (0.7, 179)])
def test_a_known_similarity_is_found(scale, degrees):
    matrix = similarity(scale, degrees, (312.5, -40.25))
    alignment = find_alignment(map_points(matrix, template_landmarks(256)), 256)
    np.testing.assert_allclose(alignment.matrix, invert(matrix), atol=1e-9)
    np.testing.assert_allclose(alignment.inverse, matrix, atol=1e-9)
    points = np.array([(3.0, 4.0), (100.0, -20.0)])
    np.testing.assert_allclose(alignment.to_picture(alignment.to_aligned(points)), points)


def test_landmarks_that_fit_no_similarity_are_met_in_least_squares():
    random = np.random.default_rng(0)
    found = template_landmarks(256) * 2 + random.normal(0, 15, (5, 2))
    wanted = template_landmarks(256)
    equations = np.zeros((10, 4))
    equations[0::2] = np.column_stack([found[:, 0], -found[:, 1], np.ones(5), np.zeros(5)])
    equations[1::2] = np.column_stack([found[:, 1], found[:, 0], np.zeros(5), np.ones(5)])
    a, b, shift_x, shift_y = np.linalg.lstsq(equations, wanted.reshape(-1))[0]
    expected = np.array([(a, -b, shift_x), (b, a, shift_y)])
    np.testing.assert_allclose(find_alignment(found, 256).matrix, expected, atol=1e-9)


def test_equal_landmarks_are_refused():
    with pytest.raises(ValueError, match="equal landmarks"):
        find_alignment(np.ones((5, 2)), 256)


@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0), (1.0, 45), (2.6, -20), (0.35, 130)])
def test_warped_pixels_are_the_pictures_at_those_points(scale, degrees):
    centre = np.array([201.3, 198.8])
    matrix = similarity(scale, degrees, (0, 0))
    matrix[:, 2] = 40 - matrix[:, :2] @ centre
    result = warp(to_uint8(sampled(400, 420)), matrix, (80, 80))
    assert np.abs(result - sampled(80, 80, matrix)).max() < 2.5
    assert np.abs(result - sampled(80, 80, matrix)).mean() < 0.5


def test_fine_patterns_shrink_to_their_mean():
    y, x = np.mgrid[:600, :600]
    board = np.repeat((255 * ((x + y) % 2)).astype(np.uint8)[..., None], 3, -1)
    small = align(board, template_landmarks(600), 64)
    assert np.abs(small.astype(float) - 127.5).max() < 3


def test_a_face_comes_back_from_a_larger_turned_picture():
    face = render(sample_identity(3), sample_attributes(4, occluder="none"), 256)
    matrix = similarity(2.3, 25, (420, 60))
    picture = to_uint8(warp(face, matrix, (900, 1000)))
    again = align(picture, map_points(matrix, template_landmarks(256)), 256)
    error = np.abs(again.astype(float) - face)[4:-4, 4:-4]
    assert error.mean() < 1
    assert np.quantile(error, 0.99) < 8


def test_beyond_the_edge_the_picture_goes_on():
    plain = np.full((100, 90, 3), (30, 90, 200), np.uint8)
    landmarks = template_landmarks(120) + np.array([-60, 50])
    square = align(plain, landmarks, 64)
    np.testing.assert_array_equal(square, np.broadcast_to(plain[0, 0], (64, 64, 3)))
    np.testing.assert_array_equal(align(plain[:1, :1], landmarks, 16)[0, 0], plain[0, 0])
