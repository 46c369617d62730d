"""maum-ai's identity network, alone and in a checkpoint of its training, against plain numpy."""

import numpy as np
import published_layouts as published
import pytest
from golden_networks import make_picture, make_state_dict

from faceshifter_jax.convert.families import convert_state_dict
from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.contract import WHOLE, View

SHAPES = published.resnet((3, 4, 6, 3), width=4, size=12)


def conv(x, kernel, stride=1):
    """PyTorch's convolution of NCHW by (out, in, K, K), padded by half of K."""
    size = kernel.shape[-1]
    padding = size // 2
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    return np.einsum("bihwyx,oiyx->bohw", windows[:, :, ::stride, ::stride], kernel, optimize=True)


def norm(x, tensors, name):
    weight, bias, mean, var = (
        tensors[f"{name}.{part}"][:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def run_resnet(tensors, x, blocks):
    x = np.maximum(norm(conv(x, tensors["conv1.weight"], 2), tensors, "bn1"), 0)
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::2, ::2].max((-1, -2))
    for stage, count in enumerate(blocks):
        for i in range(count):
            name = f"layer{stage + 1}.{i}"
            stride = 2 if stage and i == 0 else 1
            out = x
            for j in (1, 2, 3):
                out = conv(out, tensors[f"{name}.conv{j}.weight"], stride if j == 2 else 1)
                out = norm(out, tensors, f"{name}.bn{j}")
                out = np.maximum(out, 0) if j < 3 else out
            if i == 0:
                x = conv(x, tensors[f"{name}.downsample.0.weight"], stride)
                x = norm(x, tensors, f"{name}.downsample.1")
            x = np.maximum(out + x, 0)
    return x.mean((2, 3)) @ tensors["fc.weight"].T + tensors["fc.bias"]


def test_it_computes_what_torchvisions_resnet_computes():
    tensors = make_state_dict(SHAPES)
    converted = convert_state_dict(tensors, "arcface.pth")
    assert converted.family == "maum-ai ResNet-50"
    network = converted.networks["identity"]
    assert (network.input.mean, network.input.scale) == (0, 255)
    assert (network.input.alignment, network.input.view) == ("ffhq", View(WHOLE, "bilinear"))
    pictures = make_picture("small", (2, 48, 48, 3))
    ours = build_network(network).apply(network.variables, pictures)
    theirs = run_resnet(tensors, pictures.transpose(0, 3, 1, 2), (3, 4, 6, 3))
    assert ours.shape == (2, 12)
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_a_checkpoint_of_its_training_gives_both_networks():
    shapes = published.maum((4, 6, 10), (14, 14, 12, 6), identity=12)
    shapes |= {f"Z.{key}": shape for key, shape in SHAPES.items()}
    converted = convert_state_dict(make_state_dict(shapes), "epoch=9.ckpt")
    assert set(converted.networks) == {"generator", "identity"}
    assert converted.notes == ()


def test_a_classifier_of_things_is_refused():
    shapes = published.resnet((3, 4, 6, 3), width=4, size=1000)
    with pytest.raises(UserError, match="tells 1,000 kinds of things apart, not people"):
        convert_state_dict(make_state_dict(shapes), "resnet50.pth")
    with pytest.raises(UserError, match=r"\(3, 4, 5, 3\) residual blocks .* an unknown depth"):
        convert_state_dict(make_state_dict(published.resnet((3, 4, 5, 3), width=4)), "some.pth")
