"""MobileFaceNet: shapes, size and gradients; its convolutions are those of every framework."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filling import fill

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import MobileFaceNet
from faceshifter_jax.models.layers import convolve_depthwise
from faceshifter_jax.models.mobilefacenet import convolve_same

TINY = MobileFaceNet(embedding_size=10, stem_channels=8, stages=((2, 8, 2, 2),), head_channels=16)


def random(*shape):
    return np.random.default_rng(len(shape)).uniform(-1, 1, shape).astype(np.float32)


def count(network):
    """Numbers in the file of a network whose normalisations are folded."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 112, 112, 3)))
    leaves = jax.tree_util.tree_leaves_with_path(shapes["params"])
    return sum(leaf.size for path, leaf in leaves if path[-1].key != "scale")


def test_parameters():
    # MobileFaceNet_TF's file has 1.29 M, the paper says 0.99 M.
    assert count(MobileFaceNet()) == 1_292_992
    assert round(count(MobileFaceNet(embedding_size=128, separable=False)) / 1e6, 2) == 0.99


@pytest.mark.parametrize(
    ("batch", "size", "stride"), [(2, 3, 1), (2, 3, 2), (2, 1, 2), (2, 2, 3), (0, 3, 2)]
)
@pytest.mark.parametrize("depthwise", [True, False])
def test_convolutions_and_their_gradients(batch, size, stride, depthwise):
    """Also where one side is odd and the other even, so that padding differs."""
    x, kernel = random(batch, 9, 8, 6), random(size, size, 1 if depthwise else 6, 6)
    convolve = convolve_depthwise if depthwise else convolve_same

    def reference(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=6 if depthwise else 1,
        )

    ours, our_pull = jax.vjp(lambda x, kernel: convolve(x, kernel, stride), x, kernel)
    theirs, their_pull = jax.vjp(reference, x, kernel)
    cotangent = random(*theirs.shape)
    gradients = zip(our_pull(cotangent), their_pull(cotangent), strict=True)
    for a, b in [(ours, theirs), *gradients]:
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.fixture(scope="module")
def tiny():
    pictures = random(3, 32, 32, 3)
    return fill(TINY, pictures), pictures


def test_embeds_and_learns(tiny):
    """Embedding, its gradients in training and the statistics that training updates."""
    variables, pictures = tiny

    @jax.jit
    def run(params, pictures):
        def loss(params, pictures):
            embedding, updates = TINY.apply(
                {**variables, "params": params}, pictures, True, mutable=["batch_stats"]
            )
            return jnp.square(embedding).sum(), (embedding, updates["batch_stats"])

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, pictures)

    (_, (embedding, stats)), gradients = run(variables["params"], pictures)
    assert (embedding.shape, embedding.dtype) == ((3, 10), jnp.float32)
    for gradient in jax.tree.leaves(gradients):
        assert np.all(np.isfinite(gradient))
    assert np.any(gradients[1] != 0)
    assert np.any(stats["stem"]["norm"]["norm"]["mean"] != 0)


def test_half_precision_gives_a_float32_embedding_close_by(tiny):
    variables, pictures = tiny
    wide = jax.jit(TINY.apply)(variables, pictures)
    half = jax.jit(TINY.clone(dtype=jnp.bfloat16).apply)(variables, pictures)
    assert half.dtype == jnp.float32
    assert not np.array_equal(wide, half)
    np.testing.assert_allclose(half, wide, atol=0.05 * np.ptp(wide))


def test_odd_sizes_and_lists_for_settings():
    pictures = random(1, 29, 29, 3)
    network = TINY.clone(stages=[[2, 8, 1, 2], [1, 12, 1, 2]], separable=False)
    shapes = jax.eval_shape(network.init, jax.random.key(0), pictures)
    assert shapes["params"]["head_depthwise"]["kernel"].shape == (4, 4, 1, 16)


@pytest.mark.parametrize("stages", [((2, 8, 1),), ((2, 8, 0, 1),)])
def test_refuses_stages_that_are_none(stages):
    with pytest.raises(UserError, match="stages"):
        MobileFaceNet(stages=stages).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
