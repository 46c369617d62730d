"""IResNet in ONNX: our network gives the numbers of onnxruntime."""

import sys

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from golden_networks import GOLDEN, make_picture, make_weight
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import OnnxIResNet

from faceshifter_jax.convert.onnx_iresnet import convert_onnx
from faceshifter_jax.errors import UserError
from faceshifter_jax.models import STAGE_BLOCKS, IResNet


def run_onnx(path, pictures):
    """What onnxruntime makes of pictures (B, S, S, 3)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return session.run(None, {name: pictures.transpose(0, 3, 1, 2)})[0]


def embed(network, pictures):
    module = IResNet(**network.settings)
    shapes = jax.eval_shape(module.init, jax.random.key(0), pictures)
    expected = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), shapes)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), network.variables) == expected
    return jax.jit(module.apply)(network.variables, pictures)


def assert_agrees(ours, theirs):
    error = np.abs(ours - theirs).max() / np.ptp(theirs)
    print(f"error: {error:.2e} of the range")
    assert error < 1e-4


def test_golden_network_of_the_model_zoo(tmp_path):
    model = onnx.load(GOLDEN / "iresnet50_onnx.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.raw_data = make_weight(tensor.name, tuple(tensor.dims)).tobytes()
    path = tmp_path / "w600k_r50.onnx"
    onnx.save(model, path)
    converted = convert_onnx(path)
    network = converted.networks["identity"]
    assert converted.family == "InsightFace ONNX IResNet-50, batch normalisation folded"
    assert (network.settings["depth"], network.settings["width"]) == (50, 64)
    assert (network.input.size, network.input.mean, network.input.scale) == (112, 127.5, 127.5)
    pictures = make_picture("iresnet50.input", (2, 112, 112, 3))
    embedding = embed(network, pictures)
    with np.load(GOLDEN / "iresnet50_onnx.npz") as golden:
        assert_agrees(embedding, golden["embedding"])
    assert_agrees(embedding, run_onnx(path, pictures))


@pytest.mark.parametrize(
    ("depth", "options", "family"),
    [
        (34, {}, "InsightFace ONNX IResNet-34, batch normalisation folded"),
        (34, {"folded": 0.0, "spelling": "old", "size": 48}, "InsightFace ONNX IResNet-34"),
        (18, {"folded": 0.5, "spelling": "old", "dtype": np.float16}, None),
        (100, {}, "InsightFace ONNX IResNet-100, batch normalisation folded"),
    ],
)
def test_other_depths_and_spellings(depth, options, family, tmp_path):
    builder = OnnxIResNet(STAGE_BLOCKS[depth], **options)
    path = tmp_path / "some.file"
    onnx.save(builder.build(), path)
    converted = convert_onnx(path)
    assert converted.family == family or family is None
    network = converted.networks["identity"]
    assert network.settings == {
        "depth": depth,
        "width": 4,
        "embedding_size": 6,
        "variant": "iresnet",
        "squeeze_excitation": False,
    }
    assert network.input.size == builder.size
    pictures = make_picture("some", (2, builder.size, builder.size, 3))
    assert_agrees(embed(network, pictures), run_onnx(path, pictures))


def test_a_graph_that_scales_grey_levels_itself(tmp_path):
    path = tmp_path / "old.onnx"
    onnx.save(OnnxIResNet(STAGE_BLOCKS[10], scaling=(127.5, 128.0)).build(), path)
    converted = convert_onnx(path)
    network = converted.networks["identity"]
    assert (network.input.mean, network.input.scale) == (127.5, 128.0)
    assert "127.5" in converted.notes[0]
    grey = np.random.default_rng(2).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    pictures = (grey - network.input.mean) / network.input.scale
    assert_agrees(embed(network, pictures), run_onnx(path, grey))


def small_model():
    return OnnxIResNet(STAGE_BLOCKS[10]).build()


def refusal(path):
    with pytest.raises(UserError) as caught:
        convert_onnx(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def make_model(*nodes, outputs=("y",), weights=None):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, 64, 64])],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_operatorsetid("", 11)])


def conv(x, weights, y, stride=1):
    return helper.make_node("Conv", [x, weights], [y], strides=[stride] * 2, pads=[1] * 4)


def test_refuses_a_detector(tmp_path):
    weights = {"w": np.ones((8, 3, 3, 3), np.float32), "v": np.ones((8, 8, 3, 3), np.float32)}
    path = tmp_path / "det_10g.onnx"
    relu = helper.make_node("Relu", ["a"], ["b"])
    onnx.save(make_model(conv("x", "w", "a", 2), relu, weights=weights), path)
    assert "Conv has strides [2, 2], where [1, 1] was expected" in refusal(path)
    heads = conv("b", "v", "scores"), conv("b", "v", "boxes")
    outputs = ("scores", "boxes")
    model = make_model(conv("x", "w", "a"), relu, *heads, outputs=outputs, weights=weights)
    onnx.save(model, path)
    assert "Relu follows Conv, where PRelu was expected" in refusal(path)


def test_refuses_other_numbers_of_blocks(tmp_path):
    path = tmp_path / "a.onnx"
    onnx.save(OnnxIResNet((1, 2, 1, 1)).build(), path)
    assert "(1, 2, 1, 1) blocks" in refusal(path)


def test_refuses_a_shortcut_from_elsewhere(tmp_path):
    model = OnnxIResNet(STAGE_BLOCKS[18]).build()
    first, second = [node for node in model.graph.node if node.op_type == "Add"][:2]
    second.input[list(second.input).index(first.output[0])] = first.input[0]
    path = tmp_path / "b.onnx"
    onnx.save(model, path)
    assert "Conv follows BatchNormalization" in refusal(path)


def test_refuses_integer_weights(tmp_path):
    model = small_model()
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    scaled = helper.make_node("DequantizeLinear", [node.input[1], node.input[2]], ["real"])
    node.input[1] = "real"
    model.graph.node.insert(0, scaled)
    path = tmp_path / "c.onnx"
    onnx.save(model, path)
    assert "kernel of Conv is not among the stored weights" in refusal(path)


def test_refuses_what_is_cut_short(tmp_path):
    whole = small_model().SerializeToString()
    path = tmp_path / "d.onnx"
    for length in (0, 1, 10, *np.linspace(20, len(whole) - 1, 40).astype(int)):
        path.write_bytes(whole[:length])
        refusal(path)
    assert "cut short" in refusal(GOLDEN / "iresnet50_onnx.onnx")
    assert "cannot be read" in refusal(tmp_path / "nothing.onnx")


def test_weights_beside_the_file(tmp_path):
    model = small_model()
    inside = convert_weights(model, tmp_path / "e.onnx")
    beside = tmp_path / "f.onnx"
    onnx.save(model, beside, save_as_external_data=True, location="f.data", size_threshold=0)
    outside = convert_onnx(beside).networks["identity"].variables
    jax.tree.map(np.testing.assert_array_equal, inside, outside)
    (tmp_path / "f.data").rename(tmp_path / "g.data")
    assert "not next to it" in refusal(beside)


def convert_weights(model, path):
    onnx.save(model, path)
    return convert_onnx(path).networks["identity"].variables


def test_weights_outside_the_folder_are_not_read(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "h.onnx"
    onnx.save(small_model(), path, save_as_external_data=True, location="h.data", size_threshold=0)
    (folder / "h.data").rename(tmp_path / "h.data")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../h.data"
    path.write_bytes(model.SerializeToString())
    refusal(path)


def test_names_the_package_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"faceshifter-jax\[convert\]"):
        convert_onnx(tmp_path / "i.onnx")
