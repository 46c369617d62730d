"""Whole pictures through a network whose right answer is known."""

import jax
import numpy as np
import pytest
from PIL import Image
from rendered_scenes import PLACES, render_face, render_scene
from trained_workdirs import save_networks

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.finder import FaceFinder
from faceshifter_jax.faces.mtcnn_detector import MTCNNDetector
from faceshifter_jax.media.photos import load_photo
from faceshifter_jax.media.provenance.reading import read_provenance
from faceshifter_jax.swapping.swapper import Swapper

SIZE = 256


class Remembering:
    """A detector that looks at each picture once."""

    def __init__(self):
        self.detector = MTCNNDetector()
        self.found = {}

    def detect(self, picture):
        key = picture.tobytes()
        if key not in self.found:
            self.found[key] = self.detector.detect(picture)
        return self.found[key]


@pytest.fixture(scope="module")
def detector():
    return Remembering()


@pytest.fixture(scope="module")
def scene():
    return render_scene((5, 6))


@pytest.fixture(scope="module")
def source():
    return render_face(7, 8)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return str(save_networks(tmp_path_factory.mktemp("networks"))[0])


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def middle_of(place):
    left, top, side = place
    return np.s_[top + side // 3 : top + side * 4 // 5, left + side // 3 : left + side * 2 // 3]


def outside_of_faces():
    # A rendered face ends at its square's edge, where a mask that follows it goes on a little.
    outside = np.ones((720, 1280), bool)
    for left, top, side in PLACES:
        outside[top - 60 : top + side + 60, left - 60 : left + side + 60] = False
    return outside


@pytest.mark.parametrize("size", [64, 256])
def test_a_network_that_does_nothing_gives_the_scene_back(size, detector, scene, source):
    result = Swapper(lambda sources, targets: targets, size, detector).swap(
        source, scene, faces="all"
    )
    assert np.abs(result.astype(int) - scene).max() <= 2
    outside = outside_of_faces()
    np.testing.assert_array_equal(result[outside], scene[outside])


def test_a_network_that_knows_the_answer_makes_the_scene_with_other_people(detector, scene, source):
    answer = render_scene((7, 7))
    finder = FaceFinder(SIZE, detector)
    alignments = [found.alignment for found in finder.find(scene)]
    assert len(alignments) == 2

    def network(sources, targets):
        assert len(sources) == len(targets) == 2
        return np.stack([alignment.cut_out(answer) for alignment in alignments])

    result = Swapper(network, SIZE, detector, batch_size=2).swap(source, scene, faces="all")
    outside = outside_of_faces()
    np.testing.assert_array_equal(result[outside], scene[outside])
    for place in PLACES:
        middle = middle_of(place)
        assert psnr(result[middle], answer[middle]) > 30
        assert psnr(result[middle], answer[middle]) > psnr(scene[middle], answer[middle]) + 6


def test_the_largest_face_alone_by_default(detector, scene, source):
    result = Swapper(lambda sources, targets: 255 - targets, SIZE, detector).swap(source, scene)
    left, top, side = PLACES[1]
    other = np.s_[top : top + side, left : left + side]
    np.testing.assert_array_equal(result[other], scene[other])
    assert (result != scene).any()


def test_faces_of_many_pictures_share_batches_in_order(detector, scene, source):
    calls = []

    def network(sources, targets):
        calls.append(len(targets))
        return 255 - targets

    wall = np.full((90, 90, 3), 80, np.uint8)
    faces = [render_face(i, 30 + i) for i in (1, 2)]
    targets = [faces[0], wall, scene, faces[1]]
    swapper = Swapper(network, SIZE, detector, batch_size=3)
    assignment, _ = swapper.assign_source(source, "all")
    results = list(swapper.swap_photos(assignment, iter(targets)))
    assert calls == [3, 1]
    assert isinstance(results[1], UserError)
    one = Swapper(network, SIZE, detector)
    for i in (0, 2, 3):
        alone = one.swap(source, targets[i], faces="all")
        np.testing.assert_array_equal(results[i].photo.pixels, alone)


def test_what_is_no_picture_is_one_clear_line(detector, source):
    swapper = Swapper(lambda sources, targets: targets, SIZE, detector)
    with pytest.raises(ValueError, match="the target has no pixels"):
        swapper.swap(source, source[:0])
    for other in (None, [[0, 0, 0]], b"a.png", Image.fromarray(source)):
        with pytest.raises(ValueError, match=r"the source must be a file's name, uint8 .*, not"):
            swapper.swap(other, source)
    with pytest.raises(ValueError, match="at least one pair"):
        swapper.assign_people([])


def test_squares_are_checked():
    swapper = Swapper(lambda sources, targets: targets, 8)
    good = np.zeros((2, 8, 8, 3), np.uint8)
    assert swapper.swap_batch(good, good) is good
    for bad in (good[:, :7], good[0], good[:0], good.astype(float)):
        with pytest.raises(ValueError, match=r"targets must be uint8 \(B, 8, 8, 3\)"):
            swapper.swap_batch(good, bad)
    with pytest.raises(ValueError, match="sources must be an array, not list"):
        swapper.swap_batch(good.tolist(), good)
    with pytest.raises(ValueError, match="2 sources and 1 targets"):
        swapper.swap_batch(good, good[:1])


def test_a_trained_network_is_compiled_once(workdir, detector, scene, source):
    swapper = Swapper.load(workdir, detector=detector)
    compiled = []

    def listen(event, duration, **kwargs):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    swapper.swap(source, source)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        swapper.swap(source, scene, faces="all")
        swapper.swap(scene, source)
        assert list(swapper.swap_photos(swapper.assign_source(source)[0], [scene, source]))
        assert compiled == []
        # The listener does hear of compilations.
        jax.jit(lambda x: x * 3.5)(np.ones(7)).block_until_ready()
        assert compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_a_swap_with_its_explanations_and_its_file(workdir, detector, scene, source, tmp_path):
    swapper = Swapper.load(workdir, detector=detector)
    assignment, notes = swapper.assign_source(source, "all")
    assert notes == []
    swap = swapper.swap_photo(assignment, scene, explain=True)
    assert len(swap.faces) == 2
    size = swapper.image_size
    for face in swap.faces:
        assert face.target.shape == face.swapped.shape == (size, size, 3)
        assert face.explanation.errors.shape == (1, size, size, 3)
        assert face.explanation.masks.shape[2:] == (size, size)
        assert face.explanation.errors.dtype == face.explanation.masks.dtype == np.uint8
    assert swapper.save(swap, tmp_path / "a.png") == []
    np.testing.assert_array_equal(load_photo(tmp_path / "a.png").pixels, swap.photo.pixels)
    assert read_provenance(tmp_path / "a.png") == swapper.provenance
    with pytest.raises(UserError, match="--overwrite"):
        swapper.save(swap, tmp_path / "a.png")
    assert swapper.assign_source(scene)[1][0].startswith(
        "the source: of its 2 faces the largest is"
    )
