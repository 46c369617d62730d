"""ONNX files run by onnxruntime, against what they must answer."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_estimators import save_hopenet_like, save_mean_colour, save_model

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.features import (
    OnnxNetwork,
    decode_pose,
    load_expression,
    load_features,
    load_pose,
)


def plain(*colours, size=16):
    return np.stack([np.full((size, size, 3), colour, np.uint8) for colour in colours])


@pytest.mark.parametrize(
    ("range_name", "expected"),
    [
        ("bytes", [255.0, 51, 0]),
        ("unit", [1.0, 0.2, 0]),
        ("signed", [1.0, -0.6, -1]),
        ("imagenet", [(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, -0.406 / 0.225]),
    ],
)
def test_grey_levels_enter_as_they_were_said_to(range_name, expected, tmp_path):
    features = load_features(save_mean_colour(tmp_path / "mean.onnx"), range_name)
    found = features(plain((255, 51, 0), (0, 0, 0)))
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [("B", 3, 8, 8), ("B", 8, 8, 3), (4, 3, 8, 8), ("B", 3, "H", "W")]
)
def test_either_layout_and_any_batch(shape, tmp_path):
    features = load_features(save_mean_colour(tmp_path / "mean.onnx", shape), "bytes")
    colours = [(k, 2 * k, 255 - k) for k in range(37)]
    np.testing.assert_allclose(features(plain(*colours)), colours, atol=1e-3)


def test_bytes_for_a_network_that_takes_them(tmp_path):
    nodes = [
        helper.make_node("Cast", ["picture"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["mean"], axes=(2, 3), keepdims=1),
    ]
    path = save_model(tmp_path / "bytes.onnx", nodes, ["mean"], dtype=TensorProto.UINT8)
    np.testing.assert_allclose(load_features(path, "unit")(plain((9, 8, 7))), [[9, 8, 7]])


def test_hopenets_bins_become_degrees(tmp_path):
    pose = load_pose(save_hopenet_like(tmp_path / "pose.onnx"), "unit")
    # Bins 33, 11 and 0: 0, -66 and -99 degrees.
    levels = [255 * k / 66 for k in (33, 11, 0)]
    degrees = pose(plain(np.round(levels)))
    np.testing.assert_allclose(degrees, [[0, -66, -99]], atol=0.5)


def test_pose_is_the_expectation_under_a_softmax():
    scores = np.full((3, 1, 66), -np.inf)
    scores[:, 0, 30:32] = np.log([[1, 1], [1, 3], [4, 0.0001]])
    expected = [[-7.5, -6.75, -9 + 3 * 0.0001 / 4.0001]]
    np.testing.assert_allclose(decode_pose(list(scores), "x"), expected)
    np.testing.assert_allclose(decode_pose([scores.transpose(1, 0, 2)], "x"), expected)
    angles = np.array([[1.0, 2, 3]])
    np.testing.assert_array_equal(decode_pose([angles], "x"), angles)
    for outputs in ([np.zeros((1, 4))], [np.zeros((1, 62))] * 3):
        with pytest.raises(UserError, match="three outputs of 66 bins"):
            decode_pose(outputs, "x")


def test_expression_is_the_part_that_was_named(tmp_path):
    path = save_mean_colour(tmp_path / "mean.onnx")
    found = load_expression(path, "bytes", slice(1, None))(plain((9, 8, 7)))
    np.testing.assert_allclose(found, [[8, 7]])
    with pytest.raises(UserError, match="more than the 3 numbers"):
        load_expression(path, "bytes", slice(5, 9))(plain((9, 8, 7)))


def test_files_that_are_no_such_network(tmp_path):
    (tmp_path / "text.onnx").write_text("text")
    grey = [helper.make_node("Identity", ["picture"], ["out"])]
    save_model(tmp_path / "grey.onnx", grey, ["out"], shape=("B", 1, 8, 8))
    save_model(tmp_path / "flat.onnx", grey, ["out"], shape=("B", 8))
    for name, reason in {
        "missing.onnx": "no ONNX file at",
        "text.onnx": "not a readable ONNX file",
        "grey.onnx": "colour pictures",
        "flat.onnx": "four axes",
    }.items():
        with pytest.raises(UserError, match=reason) as error:
            OnnxNetwork(str(tmp_path / name), range_name="unit", default_size=8)
        assert "\n" not in str(error.value)
