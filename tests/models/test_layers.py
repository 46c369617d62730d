"""The building blocks against plain definitions; each lowering against XLA's own operation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceshifter_jax.models import layers
from faceshifter_jax.models.discriminator import halve


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_same_function(ours, reference, x, kernel):
    """The same values and the same gradients of a random projection, for both arguments."""
    expected = reference(x, kernel)
    np.testing.assert_allclose(ours(x, kernel), expected, atol=2e-5)
    weights = random(*expected.shape, seed=7)
    grads = [
        jax.grad(lambda *inputs, run=run: jnp.vdot(weights, run(*inputs)), (0, 1))(x, kernel)
        for run in (ours, reference)
    ]
    for got, want in zip(*grads, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.fixture(params=["small maps on a CPU", "large maps on a CPU"])
def any_size(request, monkeypatch):
    """Runs a test with the branches that each of them takes, whatever the sizes."""
    monkeypatch.setattr(layers, "_on_cpu", lambda: True)
    if request.param == "large maps on a CPU":
        for limit in ("_CACHED", "_FEW_COLUMNS", "_WIDE"):
            monkeypatch.setattr(layers, limit, 0)
        monkeypatch.setattr(layers, "_is_small", lambda x, kernel: False)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(
    ("size", "stride", "padding", "height", "width", "channels", "features"),
    [
        (1, 1, 0, 5, 4, 3, 2),
        (1, 2, 0, 5, 6, 3, 2),  # shortcut of an identity network
        (1, 1, 1, 3, 4, 2, 5),
        (3, 1, 0, 5, 7, 2, 3),
        (3, 1, 1, 5, 4, 3, 3),
        (3, 1, 1, 1, 2, 3, 4),  # smaller than the kernel
        (3, 1, 2, 4, 5, 1, 2),  # grows
        (4, 1, 2, 4, 5, 3, 1),  # grows by one: the discriminator's last two
        (4, 1, 2, 1, 1, 2, 3),
        (2, 1, 1, 3, 2, 3, 8),
        (4, 2, 1, 6, 8, 3, 5),  # halves: the attribute encoder
        (4, 2, 2, 5, 6, 2, 3),  # the discriminator
        (3, 2, 1, 7, 6, 2, 4),
    ],
)
def test_convolve(size, stride, padding, height, width, channels, features):
    def reference(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            [(padding, padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    assert_same_function(
        lambda x, kernel: layers.convolve(x, kernel, stride, padding),
        reference,
        random(2, height, width, channels),
        random(size, size, channels, features, seed=1),
    )


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(
    ("height", "width", "channels", "features"),
    [(1, 1, 2, 3), (2, 2, 4, 4), (3, 5, 3, 1), (4, 3, 1, 2), (8, 6, 5, 3)],
)
def test_up_convolve(height, width, channels, features):
    assert_same_function(
        layers.up_convolve,
        lambda x, kernel: jax.lax.conv_transpose(x, kernel, (2, 2), "SAME"),
        random(2, height, width, channels),
        random(4, 4, channels, features, seed=1),
    )


@pytest.mark.parametrize("on_cpu", [True, False])
def test_lowerings_for_the_cpu_are_for_the_cpu(on_cpu, monkeypatch):
    monkeypatch.setattr(layers, "_on_cpu", lambda: on_cpu)
    monkeypatch.setattr(layers, "_CACHED", 0)
    x = jnp.zeros((1, 8, 8, 4))
    for run, kernel in (
        (lambda x, kernel: layers.convolve(x, kernel, 2, 1), (4, 4, 4, 4)),
        (lambda x, kernel: layers.convolve(x, kernel, 1, 2), (3, 3, 4, 8)),
        (lambda x, kernel: layers.convolve_depthwise(x, kernel, 1), (3, 3, 1, 4)),
        # A function of its own, because JAX remembers what it has traced by the function.
        (lambda x, kernel: layers.up_convolve(x, kernel), (4, 4, 4, 4)),
    ):
        operations = str(jax.make_jaxpr(run)(x, jnp.zeros(kernel)))
        assert any(name in operations for name in ("custom_vjp", "dot_general")) is on_cpu


def test_up_convolve_of_one_pixel_is_the_middle_of_the_kernel():
    kernel = np.arange(16, dtype=np.float32).reshape(4, 4, 1, 1)
    result = layers.up_convolve(np.ones((1, 1, 1, 1), np.float32), kernel)
    # A transposed convolution turns its kernel, and this one's is stored turned already.
    np.testing.assert_array_equal(result[0, :, :, 0], [[10, 9], [6, 5]])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_keep_the_dtype_of_what_they_belong_to(dtype):
    x, kernel = jnp.ones((1, 4, 4, 2), dtype), jnp.ones((4, 4, 2, 3), dtype)
    for run in (lambda x, k: layers.convolve(x, k, 1, 2), layers.up_convolve):
        grads = jax.grad(lambda x, k, run=run: run(x, k).astype(jnp.float32).sum(), (0, 1))(
            x, kernel
        )
        assert [g.dtype for g in grads] == [dtype, dtype]


def test_upsample_of_three_values_by_hand():
    # Six values at 0, 0.4, 0.8, 1.2, 1.6, 2 between the corners of 0, 10, 30.
    row = np.array([0, 10, 30], np.float32).reshape(1, 1, 3, 1)
    result = layers.upsample(row)
    assert result.shape == (1, 2, 6, 1)
    for line in result[0, :, :, 0]:
        np.testing.assert_allclose(line, [0, 4, 8, 14, 22, 30], atol=1e-5)


def test_upsample_of_four_corners_by_hand():
    corners = np.array([[0, 3], [9, 12]], np.float32).reshape(1, 2, 2, 1)
    expected = np.add.outer([0, 3, 6, 9], [0, 1, 2, 3])
    np.testing.assert_allclose(layers.upsample(corners)[0, :, :, 0], expected, atol=1e-5)


def test_upsample_keeps_channels_and_samples_apart():
    x = random(2, 3, 4, 5)
    result = layers.upsample(x)
    assert result.shape == (2, 6, 8, 5)
    np.testing.assert_allclose(result[1:, ..., 3:4], layers.upsample(x[1:, ..., 3:4]), atol=1e-6)
    np.testing.assert_allclose(result[:, [0, 0, -1, -1], [0, -1, 0, -1]],
                               x[:, [0, 0, -1, -1], [0, -1, 0, -1]], atol=1e-6)  # fmt: skip


def test_instance_norm_by_its_definition():
    x = 3 + 5 * random(2, 4, 3, 6)
    mean = x.mean((1, 2), keepdims=True)
    expected = (x - mean) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(layers.instance_norm(x), expected, atol=1e-5)


def test_instance_norm_of_one_value_is_zero_and_has_a_finite_gradient():
    x = np.full((1, 2, 2, 1), 7, np.float32)
    np.testing.assert_array_equal(layers.instance_norm(x), np.zeros_like(x))
    grads = jax.grad(lambda x: jnp.square(layers.instance_norm(x)).sum())(x)
    assert np.isfinite(grads).all()


def test_instance_norm_in_bfloat16_has_statistics_in_float32():
    # 256 values that bfloat16 could not tell apart in a sum: mean 1000, deviation 4.
    x = jnp.asarray(1000 + 4 * np.sign(random(1, 16, 16, 1)), jnp.bfloat16)
    result = layers.instance_norm(x)
    assert result.dtype == jnp.bfloat16
    expected = layers.instance_norm(x.astype(jnp.float32))
    np.testing.assert_allclose(result.astype(jnp.float32), expected, rtol=0.01)


def test_batch_norm_in_training_and_evaluation():
    norm = layers.BatchNorm()
    x = 2 + 3 * random(4, 5, 5, 2)
    variables = norm.init(jax.random.key(0), x, True)
    result, updated = norm.apply(variables, x, True, mutable=["batch_stats"])
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(result, (x - mean) / np.sqrt(variance + 1e-5), atol=1e-4)
    stats = updated["batch_stats"]["norm"]
    np.testing.assert_allclose(stats["mean"], 0.01 * mean, rtol=1e-4)
    np.testing.assert_allclose(stats["var"], 0.99 + 0.01 * variance, rtol=1e-4)
    evaluated = norm.apply({**variables, **updated}, x, False)
    expected = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    np.testing.assert_allclose(evaluated, expected, atol=1e-4)


def test_prelu():
    prelu = layers.PReLU()
    x = np.array([[-4, -4], [2, 2]], np.float32)
    variables = prelu.init(jax.random.key(0), x)
    np.testing.assert_array_equal(prelu.apply(variables, x), [[-1, -1], [2, 2]])
    changed = {"params": {"slope": np.array([0.5, 0], np.float32)}}
    np.testing.assert_array_equal(prelu.apply(changed, x), [[-2, 0], [2, 2]])


def test_halve_counts_only_what_is_inside():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    # Windows of 2x2, 2x3, 3x2 and 3x3 values around (0, 0), (0, 2), (2, 0) and (2, 2).
    np.testing.assert_allclose(halve(x)[0, :, :, 0], [[2.5, 4], [8.5, 10]])


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("module", [layers.Conv(3, 4, 2, 1), layers.UpConv(3)])
def test_bias(module, use_bias):
    module = module.clone(use_bias=use_bias)
    x = random(1, 4, 4, 2)
    params = module.init(jax.random.key(0), x)["params"]
    assert set(params) == ({"kernel", "bias"} if use_bias else {"kernel"})
    if use_bias:
        moved = {**params, "bias": np.array([1, 2, 3], np.float32)}
        difference = module.apply({"params": moved}, x) - module.apply({"params": params}, x)
        np.testing.assert_allclose(difference, np.broadcast_to([1, 2, 3], difference.shape),
                                   atol=1e-5)  # fmt: skip
