"""MobileFaceNet in TFLite: our network gives the numbers of the TFLite interpreter."""

import contextlib
import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow as tf

from faceshifter_jax.convert.mobilefacenet import convert_tflite
from faceshifter_jax.errors import UserError
from faceshifter_jax.models import MobileFaceNet

REAL = Path(
    os.environ.get(
        "MOBILEFACENET", Path(__file__).parents[3] / "shared" / "models" / "MobileFaceNet.tflite"
    )
)
SIZE = 32
STAGES = [[2, 8, 2, 2], [3, 12, 1, 2], [2, 12, 2, 1], [1, 16, 1, 1]]

pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")


def prelu_of_mobilefacenet_tf(x, slope):
    return tf.nn.relu(x) + slope * (x - abs(x)) * 0.5


def prelu_of_keras(x, slope):
    """The converter knows it and writes the operator PRELU."""
    return tf.nn.relu(x) + (-slope[None, None]) * tf.nn.relu(-x)


def other_prelu(x, slope):
    return tf.nn.relu(x) - slope * tf.nn.relu(-x)


class TinyNetwork:
    """A MobileFaceNet of a few channels with random weights and statistics."""

    def __init__(
        self, separable=True, prelus=(prelu_of_mobilefacenet_tf,), stages=STAGES, end=None
    ):
        self.separable, self.prelus, self.stages, self.end = separable, prelus, stages, end

    def unit(self, x, features, kernel, stride=1, linear=False, padding="SAME"):
        """Convolution, normalisation, PReLU; depthwise without `features`."""
        channels = x.shape[-1]
        shape = (kernel, kernel, channels, features or 1)
        fan_in = kernel * kernel * (channels if features else 1)
        weights = tf.constant(self.random.standard_normal(shape) / fan_in**0.5, tf.float32)
        if features:
            x = tf.nn.conv2d(x, weights, stride, padding)
        else:
            x = tf.nn.depthwise_conv2d(x, weights, (1, stride, stride, 1), padding)
        shift, mean, slope = self.random.standard_normal((3, x.shape[-1])).astype(np.float32) / 4
        scale, variance = self.random.uniform(0.5, 1.5, (2, x.shape[-1])).astype(np.float32)
        x = tf.nn.batch_normalization(x, mean, variance, shift, scale, 1e-3)
        if linear:
            return x
        self.prelus = (*self.prelus[1:], self.prelus[0])
        return self.prelus[0](x, slope)

    def __call__(self, x):
        self.random = np.random.default_rng(5)
        x = self.unit(x, 8, 3, 2)
        x = self.unit(x, None, 3)
        if self.separable:
            x = self.unit(x, 8, 1, linear=True)
        for expansion, channels, blocks, first_stride in self.stages:
            for i in range(blocks):
                stride = first_stride if i == 0 else 1
                y = self.unit(x, expansion * x.shape[-1], 1)
                y = self.unit(y, None, 3, stride)
                y = self.unit(y, channels, 1, linear=True)
                x = x + y if stride == 1 and channels == x.shape[-1] else y
        x = self.unit(x, 20, 1)
        x = self.unit(x, None, x.shape[1], linear=True, padding="VALID")
        if self.separable:
            x = self.unit(x, 20, 1, linear=True)
        x = tf.reshape(self.unit(x, 10, 1, linear=True), (-1, 10))
        return self.end(x) if self.end else x


def write(path, network, shape=(2, SIZE, SIZE, 3), stored_as=None):
    function = tf.function(network, input_signature=[tf.TensorSpec(shape)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    if stored_as:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if stored_as == tf.float16:
        converter.target_spec.supported_types = [stored_as]
    path.write_bytes(converter.convert())
    return path


def interpret(path, pictures):
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pictures)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def random_pictures(*shape):
    return np.random.default_rng(3).uniform(-1, 1, shape).astype(np.float32)


def assert_same_numbers(path, size, end=np.asarray, batch=2):
    """Converts the file, compares with the interpreter, returns the converted network."""
    network = convert_tflite(path).networks["identity"]
    pictures = random_pictures(batch, size, size, 3)
    module = MobileFaceNet(**network.settings)
    shapes = jax.eval_shape(module.init, jax.random.key(0), pictures)
    expected = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), shapes)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), network.variables) == expected
    ours = end(jax.jit(module.apply)(network.variables, pictures))
    theirs = interpret(path, pictures)
    error = np.abs(ours - theirs).max() / np.ptp(theirs)
    print(f"error: {error:.2e} of the range")
    assert error < 1e-4
    return network


def test_layout_of_mobilefacenet_tf(tmp_path):
    network = assert_same_numbers(write(tmp_path / "a.bin", TinyNetwork()), SIZE)
    assert network.settings == {
        "embedding_size": 10,
        "stem_channels": 8,
        "stages": STAGES,
        "head_channels": 20,
        "separable": True,
    }
    assert (network.architecture, network.embedding_size) == ("MobileFaceNet", 10)
    taken = network.input
    assert (taken.size, taken.channel_order, taken.mean, taken.scale) == (SIZE, "rgb", 127.5, 128)


def test_layout_of_the_paper_in_float16(tmp_path):
    """Also other forms of PReLU, an odd size, and an embedding that is normalised in the file."""
    prelus = prelu_of_keras, other_prelu
    tiny = TinyNetwork(False, prelus, STAGES[:1], lambda x: tf.math.l2_normalize(x, 1))
    path = write(tmp_path / "b.tflite", tiny, (1, 29, 29, 3), tf.float16)
    network = assert_same_numbers(
        path, 29, lambda x: x / np.linalg.norm(x, axis=1, keepdims=True), batch=1
    )
    assert not network.settings["separable"]


@pytest.mark.skipif(not REAL.exists(), reason="set MOBILEFACENET to the file of MobileFaceNet_TF")
def test_the_published_file():
    network = assert_same_numbers(REAL, 112)
    defaults = MobileFaceNet()
    assert MobileFaceNet(**network.settings).stages == [list(row) for row in defaults.stages]
    settings = {key: getattr(defaults, key) for key in network.settings if key != "stages"}
    assert settings == {key: network.settings[key] for key in settings}
    assert network.input.size == 112


def refusal(path):
    with pytest.raises(UserError) as caught:
        convert_tflite(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_refuses_integer_weights(tmp_path):
    # The converter leaves kernels of less than 1024 numbers as they are.
    tiny = TinyNetwork(stages=[[128, 8, 1, 2]])
    path = write(tmp_path / "c.tflite", tiny, stored_as=tf.int8)
    assert "quantised to int8" in refusal(path)


def relu_network(x):
    x = tf.nn.conv2d(x, tf.ones((3, 3, 3, 8)), 2, "SAME")
    return tf.nn.relu(tf.nn.depthwise_conv2d(x, tf.ones((3, 3, 8, 1)), (1, 1, 1, 1), "SAME"))


def pooling_network(x):
    x = tf.nn.conv2d(x, tf.ones((3, 3, 3, 8)), 2, "SAME")
    return tf.nn.max_pool2d(x, 2, 2, "SAME")


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (relu_network, "activation other than PReLU"),
        (pooling_network, "MAX_POOL_2D follows CONV"),
    ],
)
def test_refuses_other_networks(network, reason, tmp_path):
    assert reason in refusal(write(tmp_path / "d.tflite", network, (1, SIZE, SIZE, 3)))


def test_refuses_sums_across_blocks(tmp_path):
    """A skip over two blocks would be lost without notice."""

    class Skipping(TinyNetwork):
        def unit(self, x, features, kernel, stride=1, linear=False, padding="SAME"):
            y = super().unit(x, features, kernel, stride, linear, padding)
            return y + y if linear and features == 20 else y

    path = write(tmp_path / "e.tflite", Skipping(stages=STAGES[:1]))
    assert "sum" in refusal(path)


def test_refuses_what_is_damaged(tmp_path):
    whole = write(tmp_path / "f.tflite", TinyNetwork(stages=STAGES[:1])).read_bytes()
    path = tmp_path / "g.tflite"
    for length in (*range(0, 64, 5), *np.linspace(64, len(whole) - 64, 40).astype(int)):
        path.write_bytes(whole[:length])
        refusal(path)
    random = np.random.default_rng(1)
    for _ in range(60):
        damaged = np.frombuffer(whole, np.uint8).copy()
        places = random.integers(0, len(whole), 200)
        damaged[places] = random.integers(0, 256, places.size)
        path.write_bytes(damaged.tobytes())
        # Where weights alone are hit, nothing tells.
        with contextlib.suppress(UserError):
            convert_tflite(path)


def test_names_the_package_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(UserError, match=r"faceshifter-jax\[convert\]"):
        convert_tflite(tmp_path / "h.tflite")


def test_refuses_a_missing_file(tmp_path):
    assert "cannot be read" in refusal(tmp_path / "nothing.tflite")
