"""MTCNN on embedded faces, whose landmarks are known."""

import sys

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.face import Face
from faceshifter_jax.faces.finder import FaceFinder, build_detector
from faceshifter_jax.faces.mtcnn_detector import MTCNNDetector
from faceshifter_jax.swapping.swapper import Swapper
from faceshifter_jax.synthetic import render_layers, sample_attributes, sample_identity

EYE_DISTANCE = 0.267
"""Of the template, as a share of the aligned picture's side."""


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """Loaded where files lie that carry the names of its weights."""
    folder = tmp_path_factory.mktemp("somewhere")
    for name in ("pnet.lz4", "rnet.lz4", "onet.lz4"):
        (folder / name).write_text("not what MTCNN may read")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return MTCNNDetector()


def face_layers(seed, size=256):
    return render_layers(
        sample_identity(seed), sample_attributes(seed + 100, occluder="none"), size
    )


def largest(detector, picture):
    return FaceFinder(64, detector).require(picture, "the picture")[0].face


def error_of(face, landmarks):
    return np.hypot(*(face.landmarks - landmarks).T)


def test_landmarks_of_embedded_faces(detector):
    errors = []
    for seed in range(8):
        layers = face_layers(seed)
        faces = detector.detect(layers.image)
        assert faces, f"no face in the picture of seed {seed}"
        face = max(faces, key=lambda face: face.area)
        assert face.landmarks.shape == (5, 2)
        assert face.landmarks.dtype == face.box.dtype == np.float32
        errors.append(error_of(face, layers.landmarks) / (EYE_DISTANCE * 256))
    assert np.mean(errors) < 0.08
    assert tf.config.get_visible_devices("GPU") == []


def test_faces_of_a_large_picture_are_found_where_they_are(detector):
    scene = np.full((900, 1600, 3), (90, 110, 130), np.uint8)
    places = ((300, 100, 500), (1000, 400, 300))
    truths = []
    for seed, (left, top, size) in enumerate(places):
        layers = face_layers(seed, size)
        scene[top : top + size, left : left + size] = layers.image
        truths.append(layers.landmarks + np.array([left, top]))
    faces = sorted(detector.detect(scene), key=lambda face: -face.area)
    assert len(faces) == 2
    for face, truth, (_, _, size) in zip(faces, truths, places, strict=True):
        assert error_of(face, truth).mean() < 0.1 * EYE_DISTANCE * size
        left, top, right, bottom = face.box
        assert np.all((face.landmarks > (left, top)) & (face.landmarks < (right, bottom)))
    assert FaceFinder(64, detector).find(scene)[0].face.area == faces[0].area


def test_a_face_that_fills_its_picture_is_found_too(detector):
    layers = face_layers(3)
    tight = layers.image[70:226, 50:206]
    face = largest(detector, tight)
    assert error_of(face, layers.landmarks - (50, 70)).mean() < 0.12 * EYE_DISTANCE * 256


def test_a_dark_face_is_found_too(detector):
    layers = face_layers(2)
    dark = (layers.image * 0.06).astype(np.uint8)
    # So few levels are left that the landmarks are rough.
    face = largest(detector, dark)
    assert error_of(face, layers.landmarks).mean() < 0.25 * EYE_DISTANCE * 256


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 8), (25, 21), (300, 200)])
def test_pictures_without_a_face(detector, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    picture = np.repeat(((x * 2 + y) % 256).astype(np.uint8)[..., None], 3, -1)
    assert detector.detect(picture) == []
    with pytest.raises(UserError, match=r"^no face was found in a\.jpg: ") as caught:
        FaceFinder(64, detector).require(picture, "a.jpg")
    assert "\n" not in str(caught.value)


def test_small_faces_beside_a_large_one_are_found_when_asked_for():
    scene = np.full((1000, 2700, 3), (90, 110, 130), np.uint8)
    scene[100:800, 100:800] = face_layers(0, 700).image
    scene[500:570, 1500:1570] = face_layers(1, 70).image
    small, large = MTCNNDetector(small_faces=True).detect(scene), MTCNNDetector().detect(scene)
    assert len(large) == 1
    assert len(small) == 2
    assert small[0].area == large[0].area


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_face_that_lies_on_its_side_is_not_taken_for_a_smaller_one(detector, quarters):
    """What MTCNN finds there has landmarks in a corner of its box: a blotch would be drawn."""
    turned = np.ascontiguousarray(np.rot90(skimage.data.astronaut(), quarters))
    with pytest.raises(UserError, match=r"no face was found in the picture.*upright"):
        largest(detector, turned)
    scene = np.full((260, 400, 3), (120, 110, 100), np.uint8)
    for seed in (1, 11):
        layers = render_layers(
            sample_identity(seed), sample_attributes(seed + 50, occluder="none"), 200
        )
        scene[30:230, 100:300] = layers.image
        turned = np.ascontiguousarray(np.rot90(scene, quarters))
        assert FaceFinder(64, detector).find(turned) == []
        assert len(FaceFinder(64, detector).find(scene)) == 1


def test_an_upright_and_a_tilted_photograph_are_found(detector):
    upright = skimage.data.astronaut()
    tilted = np.asarray(Image.fromarray(upright).rotate(40, Image.Resampling.BICUBIC))
    for picture in (upright, tilted):
        assert largest(detector, picture).area > 80**2


class Crossed:
    """A detector whose left is right, and one whose landmarks are no numbers."""

    def __init__(self, landmarks):
        self.landmarks = np.array(landmarks, np.float32)

    def detect(self, picture):
        return [Face(self.landmarks, np.array((0, 0, 60, 60), np.float32), 1.0)]


@pytest.mark.parametrize(
    "landmarks",
    [
        [(40, 20), (20, 20), (30, 30), (40, 42), (20, 42)],
        [(np.nan, 20), (40, 20), (30, 30), (20, 42), (40, 42)],
        [(30, 30)] * 5,
        [(20, 20), (40, 20), (300, 30), (20, 42), (40, 42)],
    ],
)
def test_landmarks_that_no_face_has_are_no_face(landmarks):
    with pytest.raises(UserError, match="no face was found"):
        FaceFinder(64, Crossed(landmarks)).require(np.zeros((60, 60, 3), np.uint8), "it")


class Found:
    """A detector that knows what it finds."""

    boxes = ((0, 0, 9, 9), (5, 5, 40, 30), (0, 0, 80, 3))

    def detect(self, picture):
        marks = np.array([(1, 1), (3, 1), (2, 2), (1, 3), (3, 3)], np.float32)
        return [Face(marks * i, np.array(box, np.float32), 1.0) for i, box in enumerate(self.boxes)]


def test_faces_come_the_largest_first_and_those_without_extent_not_at_all():
    faces = FaceFinder(64, Found()).find(np.zeros((50, 90, 3), np.uint8))
    assert [tuple(found.face.box) for found in faces] == [(5, 5, 40, 30), (0, 0, 80, 3)]
    assert faces[0].square.shape == (64, 64, 3)
    assert str(faces[0]) == "the face of 35x25 pixels at (5, 5)"


def test_a_detector_of_ones_own_is_named_by_its_place():
    assert isinstance(build_detector(f"{__name__}:Found"), Found)
    finder = FaceFinder(64, f"{__name__}:Found")
    assert len(finder.find(np.zeros((50, 90, 3), np.uint8))) == 2


@pytest.mark.parametrize("name", ["nothing", "no.such.module:Class", "faceshifter_jax:Nobody"])
def test_detectors_that_do_not_exist_are_refused(name):
    with pytest.raises(UserError, match=f"no face detector {name}: known are blazeface mtcnn"):
        build_detector(name)


class Broken:
    def __init__(self):
        raise OSError("no weights")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("os:path", "os:path cannot be made: TypeError: 'module' object is not callable"),
        (f"{__name__}:Broken", "Broken cannot be made: OSError: no weights"),
        ("builtins:dict", "builtins:dict is not a face detector: it has no method detect"),
        (":nothing", "no face detector :nothing: known are blazeface mtcnn"),
    ],
)
def test_what_is_no_detector_is_refused(name, reason):
    with pytest.raises(UserError, match=reason):
        build_detector(name)


def test_an_object_that_is_no_detector_is_refused_and_a_false_one_is_not():
    class Empty(Found):
        def __len__(self):
            return 0

    detector = Empty()
    assert Swapper(None, 64, detector).finder.detector is detector
    with pytest.raises(UserError, match=r"\[\] is not a face detector"):
        Swapper(None, 64, [])


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    with pytest.raises(UserError, match=r"pip install .*\[mtcnn\]"):
        MTCNNDetector()
