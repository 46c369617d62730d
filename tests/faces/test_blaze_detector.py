"""The package's own detector, on embedded faces, whose landmarks are known, and on a photograph."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import find_alignment
from faceshifter_jax.faces.blaze_detector import BlazeFaceDetector
from faceshifter_jax.faces.finder import FaceFinder, build_detector
from faceshifter_jax.faces.views import View, tiles, whole
from faceshifter_jax.synthetic import render_layers, sample_attributes, sample_identity

EYE_DISTANCE = 0.267
"""Of the template, as a share of the aligned picture's side."""


@pytest.fixture(scope="module")
def detector():
    return BlazeFaceDetector()


def face_layers(seed, size=256):
    return render_layers(
        sample_identity(seed), sample_attributes(seed + 100, occluder="none"), size
    )


def error_of(face, landmarks):
    return np.hypot(*(face.landmarks - landmarks).T)


def turned_back(points, quarters, width, height):
    """Points of a picture that np.rot90 turned, in the picture as it was."""
    for turn in reversed(range(quarters)):
        # Width of the picture before this turn.
        side = width if turn % 2 == 0 else height
        points = np.stack([side - points[:, 1], points[:, 0]], -1)
    return points


def test_landmarks_of_embedded_faces(detector):
    errors, shifts = [], []
    for seed in range(8):
        layers = face_layers(seed)
        (face,) = detector.detect(layers.image)
        assert face.landmarks.shape == (5, 2)
        assert face.landmarks.dtype == face.box.dtype == np.float32
        errors.append(error_of(face, layers.landmarks) / (EYE_DISTANCE * 256))
        alignment = find_alignment(layers.landmarks, 1)
        shifts.append(alignment.to_aligned(face.landmarks) - alignment.to_aligned(layers.landmarks))
    assert np.mean(errors) < 0.08
    # No point is off to one side by more than 2 % of the square.
    assert np.abs(np.mean(shifts, 0)).max() < 0.02


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_faces_that_lie_on_their_side_are_found_where_they_are(detector, quarters):
    photo = skimage.data.astronaut()
    (upright,) = detector.detect(photo)
    (turned,) = detector.detect(np.ascontiguousarray(np.rot90(photo, quarters)))
    landmarks = turned_back(turned.landmarks, quarters, *photo.shape[1::-1])
    assert error_of(upright, landmarks).max() < 0.12 * np.hypot(*np.ptp(upright.landmarks[:2], 0))
    scene = np.full((260, 400, 3), (120, 110, 100), np.uint8)
    layers = face_layers(1, 200)
    scene[30:230, 100:300] = layers.image
    (face,) = FaceFinder(64, detector).find(np.ascontiguousarray(np.rot90(scene, quarters)))
    landmarks = turned_back(face.face.landmarks, quarters, 400, 260)
    assert (
        np.hypot(*(landmarks - layers.landmarks - (100, 30)).T).mean() < 0.15 * EYE_DISTANCE * 200
    )


def test_faces_of_a_large_picture_are_found_where_they_are(detector):
    scene = np.full((900, 1600, 3), (90, 110, 130), np.uint8)
    places = ((300, 100, 500), (1000, 400, 300), (1350, 60, 130))
    truths = []
    for seed, (left, top, size) in enumerate(places):
        layers = face_layers(seed, size)
        scene[top : top + size, left : left + size] = layers.image
        truths.append(layers.landmarks + np.array([left, top]))
    faces = sorted(detector.detect(scene), key=lambda face: -face.area)
    assert len(faces) == 3
    for face, truth, (_, _, size) in zip(faces, truths, places, strict=True):
        assert error_of(face, truth).mean() < 0.12 * EYE_DISTANCE * size


def test_small_faces_are_found_when_asked_for():
    scene = np.full((1000, 2700, 3), (90, 110, 130), np.uint8)
    scene[100:800, 100:800] = face_layers(0, 700).image
    scene[500:580, 1500:1580] = face_layers(1, 80).image
    found = build_detector("blazeface", small_faces=True).detect(scene)
    assert len(found) == 2
    small = min(found, key=lambda face: face.area)
    assert np.all((small.landmarks > (1500, 500)) & (small.landmarks < (1580, 580)))


def test_tight_and_dark_faces_are_found_too(detector):
    layers = face_layers(3)
    (tight,) = detector.detect(layers.image[70:226, 50:206])
    assert error_of(tight, layers.landmarks - (50, 70)).mean() < 0.12 * EYE_DISTANCE * 256
    layers = face_layers(2)
    (dark,) = detector.detect((layers.image * 0.06).astype(np.uint8))
    assert error_of(dark, layers.landmarks).mean() < 0.25 * EYE_DISTANCE * 256


def test_several_pictures_together_give_what_each_gives_alone(detector):
    pictures = [face_layers(0).image, np.zeros((80, 120, 3), np.uint8), skimage.data.astronaut()]
    together = detector.detect_many(pictures)
    assert [len(faces) for faces in together] == [1, 0, 1]
    for faces, picture in zip(together, pictures, strict=True):
        for face, alone in zip(faces, detector.detect(picture), strict=True):
            np.testing.assert_array_equal(face.landmarks, alone.landmarks)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 8), (25, 21), (300, 200)])
def test_pictures_without_a_face(detector, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    picture = np.repeat(((x * 2 + y) % 256).astype(np.uint8)[..., None], 3, -1)
    assert detector.detect(picture) == []
    with pytest.raises(UserError, match=r"^no face was found in a\.jpg: "):
        FaceFinder(64, detector).require(picture, "a.jpg")


def test_neither_tensorflow_nor_jax_is_loaded(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(skimage.data.astronaut()).save(path)
    program = f"""
import sys
sys.modules["tensorflow"] = sys.modules["mtcnn"] = None
import numpy as np
from PIL import Image
from faceshifter_jax.faces.finder import FaceFinder
print(len(FaceFinder(64).find(np.asarray(Image.open({str(path)!r})))), "jax" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "False"], done.stderr


@pytest.mark.parametrize(("width", "height"), [(1600, 900), (900, 1600), (500, 500), (3000, 100)])
@pytest.mark.parametrize("count", [2, 4])
def test_tiles_cover_the_picture_and_overlap(width, height, count):
    views = tiles(width, height, count)
    covered = np.zeros((height, width), bool)
    for view in views:
        rows = slice(max(0, int(view.top)), int(np.ceil(view.top + view.side)))
        covered[rows, max(0, int(view.left)) : int(np.ceil(view.left + view.side))] = True
    assert covered.all()
    lefts = sorted({view.left for view in views})
    assert all(b - a < views[0].side * 0.9 for a, b in itertools.pairwise(lefts))


@pytest.mark.parametrize("quarters", range(4))
def test_views_show_points_where_they_say(quarters):
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[10:14, 70:74] = 255
    view = whole(100, 60, border=0.1, quarters=quarters)
    square = view.cut_out(Image.fromarray(picture), 120)
    y, x = (axis.mean() for axis in np.nonzero(square[..., 0] > 128))
    found = view.to_picture(np.array([(x + 0.5, y + 0.5)]) / 120)
    np.testing.assert_allclose(found, [(72, 12)], atol=0.6)
    assert View(0, 0, 10).scaled(2) == View(0, 0, 20)
