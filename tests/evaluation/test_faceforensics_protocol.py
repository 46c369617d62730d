"""The protocol `faceforensics` on a small folder of that layout, made of rendered faces."""

import numpy as np
import pytest
from faceforensics_folder import NAMES, encode, make_folder, video_of
from lazy_subjects import COPY_SOURCE, COPY_TARGET, PIXELS, arguments_of
from onnx import helper
from onnx_estimators import save_hopenet_like, save_mean_colour, save_model

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.protocols import faceforensics
from faceshifter_jax.evaluation.protocols.registry import choose_protocol
from faceshifter_jax.faces.alignment import align, template_landmarks
from faceshifter_jax.faces.face import Face
from faceshifter_jax.media.video_frames import read_frames

SIZE = 32


class AlignedFaces:
    """Finds the face where rendered pictures have it, but for black ones."""

    def detect(self, picture):
        if picture.mean() < 8:
            return []
        box = np.array([0, 0, *picture.shape[1::-1]], np.float32)
        return [Face(template_landmarks(len(picture)).astype(np.float32), box, 1.0)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("ff"))


def prepare(root, **given):
    arguments = arguments_of(protocol="faceforensics", data=str(root), **given)
    assert choose_protocol(arguments) is faceforensics
    return faceforensics.prepare(arguments, SIZE, AlignedFaces())


@pytest.fixture(scope="module")
def data(root):
    return prepare(root)


def test_listed_pairs_go_both_ways_and_frames_meet_their_own_number(data):
    assert data.names == NAMES
    assert data.facts["pairs"] == 4
    # Of 12 frames the third and the ninth are not read, and the first three are black.
    assert data.facts["frames_without_face"] == 2
    assert len(data.faces) == 38
    assert data.facts["alignment"] == "arcface"
    found = list(zip(data.video[data.target], data.video[data.source], strict=True))
    assert {pair: found.count(pair) for pair in set(found)} == {
        (0, 1): 10, (1, 0): 10, (2, 3): 8, (3, 2): 8
    }  # fmt: skip
    np.testing.assert_array_equal(np.bincount(data.pair), [10, 10, 8, 8])


def test_faces_are_cut_as_the_checkpoint_wants_them(root, data):
    arguments = arguments_of(protocol="faceforensics", data=str(root))
    choose_protocol(arguments)
    tight = faceforensics.prepare(arguments, SIZE, AlignedFaces(), alignment="insightface-0.2")
    assert tight.facts["alignment"] == "insightface-0.2"
    frame = next(frame for frame in read_frames(video_of(root, NAMES[0]), 10) if frame.mean() >= 8)
    landmarks = template_landmarks(len(frame))
    np.testing.assert_array_equal(tight.faces[0], align(frame, landmarks, SIZE, "insightface-0.2"))
    assert (tight.faces != data.faces).any()


def test_copies_score_as_they_must(data):
    source = faceforensics.evaluate(data, COPY_SOURCE, PIXELS).metrics()
    assert source["id_retrieval"] == 1
    assert source["id_cosine_source"] == pytest.approx(1)
    target = faceforensics.evaluate(data, COPY_TARGET, PIXELS).metrics()
    assert target["id_retrieval"] == target["copy_target_retrieval"] == 0
    assert target["id_cosine_source"] == target["copy_target_cosine_source"] < 1


def test_without_estimators_their_columns_are_empty(data):
    findings = faceforensics.evaluate(data, COPY_TARGET, PIXELS)
    assert findings.metrics()["pose_error"] is None
    assert findings.metrics()["expression_error"] is None
    assert "pose_error" not in findings.intervals()


def test_pose_and_expression_are_distances_of_what_the_estimators_print(root, tmp_path):
    data = prepare(
        root,
        pose=save_hopenet_like(tmp_path / "pose.onnx"),
        pose_range="unit",
        expression=save_mean_colour(tmp_path / "expression.onnx", ("B", 3, SIZE, SIZE)),
        expression_range="bytes",
        expression_part="0:2",
    )
    perfect = faceforensics.evaluate(data, COPY_TARGET, PIXELS).metrics()
    assert perfect["pose_error"] == perfect["expression_error"] == 0
    metrics = faceforensics.evaluate(data, COPY_SOURCE, PIXELS).metrics()
    source, target = data.faces[data.source], data.faces[data.target]
    colours = source.mean((1, 2))[:, :2] - target.mean((1, 2))[:, :2]
    distance = np.linalg.norm(colours, axis=1)
    by_pair = [distance[data.pair == pair].mean() for pair in range(4)]
    assert metrics["expression_error"] == pytest.approx(np.mean(by_pair), rel=1e-3)
    degrees = np.linalg.norm(data.pose(source) - data.pose(target), axis=1)
    by_pair = [degrees[data.pair == pair].mean() for pair in range(4)]
    assert metrics["pose_error"] == pytest.approx(np.mean(by_pair)) != 0


def test_frames_are_the_middles_of_equal_parts(tmp_path):
    levels = 8 * np.arange(30)
    frames = [np.full((32, 32, 3), level, np.uint8) for level in levels]
    encode(tmp_path / "grey.mp4", frames)
    read = [frame.mean() for frame in read_frames(tmp_path / "grey.mp4", 10)]
    np.testing.assert_allclose(read, levels[1::3], atol=3)
    read = [frame.mean() for frame in read_frames(tmp_path / "grey.mp4", 4)]
    np.testing.assert_allclose(read, levels[[3, 11, 18, 26]], atol=3)


def test_corrupt_videos_end_in_a_line(root, tmp_path):
    whole = video_of(root, "000").read_bytes()
    middle = whole.index(b"mdat") + 2500
    noise = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
    files = {
        "flipped.mp4": (whole[:middle] + noise + whole[middle + 400 :], "cannot read frame"),
        "cut.mp4": (whole[: len(whole) // 2], "not a video in any known format, or is cut off"),
        "text.mp4": (b"text", "not a video in any known format"),
    }
    for name, (content, reason) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=reason) as error:
            read_frames(tmp_path / name, 10)
        assert name in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="has 12 frames, 13 are needed"):
        read_frames(video_of(root, "000"), 13)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"split": "val"}, r"val\.json is missing"),
        ({"split": "broken"}, r"broken\.json is not a list of pairs"),
        ({"split": "letters"}, r"letters\.json is not a list of pairs"),
        ({"split": "names"}, r"names\.json is not a list of pairs"),
        ({"split": "twice"}, r"twice\.json lists \['003', '000'\] twice"),
        ({"split": "itself"}, r"itself\.json lists .* a video with itself"),
        ({"split": "empty"}, r"empty\.json lists no pair"),
        ({"compression": "raw"}, r"raw/videos/000\.mp4 is missing"),
        ({"split": "more"}, r"videos/999\.mp4 is missing"),
        ({"pose": "missing.onnx"}, r"no ONNX file at missing\.onnx"),
        ({"expression": "x.onnx", "expression_part": "a"}, "must look like 80:144"),
        ({"expression": "x.onnx", "expression_part": "5:5"}, "must look like 80:144"),
        ({"expression": "three.onnx", "expression_part": "1:4"}, "more than the 3 numbers"),
        ({"pose": "few.onnx"}, "few.onnx is not a readable estimator of poses"),
        ({"pose_range": "unit"}, "--pose-range has no effect without --pose"),
        ({"identities": 4}, "--identities has no effect"),
    ],
)
def test_bad_input_is_one_line(root, given, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_mean_colour(tmp_path / "three.onnx")
    flatten = helper.make_node("Flatten", ["picture"], ["flat"])
    save_model(tmp_path / "few.onnx", [flatten], ["flat"])
    lists = {
        "broken": "[[1]]",
        "letters": '["ab", "cd"]',
        "names": '[[null, "x"]]',
        "twice": '[["000", "003"], ["003", "000"]]',
        "itself": '[["000", "000"]]',
        "empty": "[]",
        "more": '[["000", "999"]]',
    }
    for name, text in lists.items():
        (root / "splits" / f"{name}.json").write_text(text)
    with pytest.raises(UserError, match=reason) as error:
        prepare(root, **given)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_faces_are_found_by_the_detector_of_the_package(root):
    arguments = arguments_of(protocol="faceforensics", data=str(root))
    choose_protocol(arguments)
    data = faceforensics.prepare(arguments, SIZE)
    assert len(data.faces) > 25
    assert faceforensics.evaluate(data, COPY_SOURCE, PIXELS).metrics()["id_retrieval"] == 1
