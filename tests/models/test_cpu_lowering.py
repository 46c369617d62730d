"""Each CPU lowering against XLA's own operation: values and both gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceshifter_jax.models import cpu_lowering, layers


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_same(ours, reference, *inputs):
    """Values and the gradients of a random projection; float32 sums in another order."""

    def run(function, *inputs):
        result, pull_back = jax.vjp(function, *inputs)
        weights = jnp.sin(jnp.arange(result.size, dtype=jnp.float32)).reshape(result.shape)
        return result, *pull_back(weights)

    got, want = (jax.jit(run, static_argnums=0)(f, *inputs) for f in (ours, reference))
    for a, b in zip(got, want, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "stride", "padding", "height", "width", "channels", "features"),
    [
        (3, 1, 1, 2, 2, 5, 4),  # the generator's first level: smaller than the kernel
        (3, 1, 1, 1, 3, 2, 3),
        (3, 1, 0, 3, 5, 2, 3),
        (3, 1, 2, 3, 2, 1, 2),
        (4, 1, 2, 5, 6, 3, 1),
        (4, 2, 1, 8, 6, 3, 5),
        (4, 2, 1, 7, 5, 3, 2),  # a row and a column that no place covers
        (4, 2, 2, 9, 4, 2, 3),
        (3, 2, 1, 7, 6, 2, 4),
        (3, 2, 1, 8, 5, 2, 1),
        (2, 2, 0, 5, 4, 1, 2),
        (1, 2, 0, 5, 6, 3, 2),
        (5, 3, 2, 8, 9, 2, 2),
    ],
)
def test_conv_by_product(size, stride, padding, height, width, channels, features):
    assert_same(
        lambda x, kernel: cpu_lowering.conv_by_product(x, kernel, stride, padding),
        lambda x, kernel: cpu_lowering.plain_conv(x, kernel, stride, padding),
        random(2, height, width, channels),
        random(size, size, channels, features, seed=1),
    )


@pytest.mark.parametrize("pixels", [1, 28, 1024], ids=["row by row", "by two", "one block"])
@pytest.mark.parametrize(
    ("size", "padding", "height", "width", "channels", "features"),
    [
        (3, 1, 6, 7, 2, 3),
        (3, 1, 5, 4, 3, 1),
        (3, 0, 6, 5, 1, 4),
        (3, 2, 4, 5, 2, 2),
        (3, 4, 2, 3, 2, 2),  # a border that no kernel leaves
        (4, 2, 5, 6, 3, 2),
        (2, 1, 4, 3, 2, 5),
        (5, 2, 6, 6, 1, 2),
    ],
)
def test_conv_over_picture(size, padding, height, width, channels, features, pixels, monkeypatch):
    monkeypatch.setattr(cpu_lowering, "_PIXELS_OF_A_BLOCK", pixels)
    assert_same(
        lambda x, kernel: cpu_lowering.conv_over_picture(x, kernel, padding),
        lambda x, kernel: cpu_lowering.plain_conv(x, kernel, 1, padding),
        random(2, height, width, channels),
        random(size, size, channels, features, seed=1),
    )


OVER_MAPS = ("conv_over_map", "conv_over_picture", "conv_to_few")


@pytest.mark.parametrize("name", ["conv_by_product", *OVER_MAPS])
@pytest.mark.parametrize(
    ("shape", "size", "padding"),
    [((0, 5, 4, 2), 3, 1), ((2, 1, 1, 2), 3, 0), ((2, 2, 5, 2), 4, 0), ((2, 0, 0, 2), 3, 0)],
    ids=["no pictures", "smaller than the kernel", "lower than the kernel", "no pixels"],
)
def test_nothing_to_compute(name, shape, size, padding):
    stride = () if name in OVER_MAPS else (1,)
    assert_same(
        lambda x, kernel: getattr(cpu_lowering, name)(x, kernel, *stride, padding),
        lambda x, kernel: cpu_lowering.plain_conv(x, kernel, 1, padding),
        random(*shape),
        random(size, size, 2, 3, seed=1),
    )


@pytest.mark.parametrize("shape", [(0, 4, 4, 2), (2, 1, 1, 2)])
def test_nothing_to_compute_with_a_stride(shape):
    assert_same(
        lambda x, kernel: cpu_lowering.conv_by_product(x, kernel, 2, 0),
        lambda x, kernel: cpu_lowering.plain_conv(x, kernel, 2, 0),
        random(*shape),
        random(4, 4, 2, 3, seed=1),
    )


@pytest.mark.parametrize("name", OVER_MAPS)
def test_gradients_of_gradients_and_of_many(name, monkeypatch):
    monkeypatch.setattr(cpu_lowering, "_PIXELS_OF_A_BLOCK", 12)
    x, kernels = random(2, 4, 5, 2), random(3, 3, 3, 2, 2, seed=1)

    def gradients(conv):
        return jax.grad(lambda x, kernel: jnp.square(conv(x, kernel)).sum(), (0, 1))

    def twice(conv):
        def size(x, kernel):
            return sum(jnp.square(g).sum() for g in gradients(conv)(x, kernel))

        return jax.grad(size, (0, 1))(x, kernels[0])

    def both(conv):
        return *twice(conv), *jax.vmap(gradients(conv), (None, 0))(x, kernels)

    def ours(x, kernel):
        return getattr(cpu_lowering, name)(x, kernel, 1)

    expected = both(lambda x, kernel: cpu_lowering.plain_conv(x, kernel, 1, 1))
    for got, want in zip(both(ours), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6 * np.abs(want).max())


def test_kernel_gradient_in_double_precision_is_summed_in_it():
    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(random(*s), jnp.float64) for s in ((1, 9, 8, 2), (3, 3, 2, 3)))
        got, want = (
            jax.grad(lambda kernel, conv=conv: jnp.square(conv(kernel)).sum())(kernel)
            for conv in (
                lambda kernel: cpu_lowering.conv_over_picture(x, kernel, 1),
                lambda kernel: cpu_lowering.plain_conv(x, kernel, 1, 1),
            )
        )
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("lowering", ["conv_over_map", "conv_to_few"])
@pytest.mark.parametrize(
    ("size", "padding", "height", "width", "channels", "features"),
    [
        (3, 1, 6, 7, 2, 3),
        (3, 0, 6, 5, 3, 1),
        (3, 2, 4, 5, 2, 2),
        (4, 2, 5, 6, 3, 1),
        (2, 1, 4, 3, 2, 5),
        (5, 1, 6, 7, 1, 2),
        (1, 0, 3, 2, 4, 2),
    ],
)
def test_gradients_over_maps(lowering, size, padding, height, width, channels, features):
    assert_same(
        lambda x, kernel: getattr(cpu_lowering, lowering)(x, kernel, padding),
        lambda x, kernel: cpu_lowering.plain_conv(x, kernel, 1, padding),
        random(2, height, width, channels),
        random(size, size, channels, features, seed=1),
    )


@pytest.mark.parametrize(
    ("height", "width", "channels", "features"),
    [(1, 1, 2, 3), (2, 1, 3, 40), (2, 2, 4, 9), (3, 5, 3, 1), (4, 3, 1, 2), (8, 6, 5, 3)],
)
@pytest.mark.parametrize(
    "up_conv",
    [
        cpu_lowering.up_conv_by_products,
        lambda x, kernel: cpu_lowering.up_conv_by_phases(x, kernel, cpu_lowering.conv_over_map),
    ],
    ids=["products", "phases"],
)
def test_up_conv(up_conv, height, width, channels, features):
    assert_same(
        up_conv,
        lambda x, kernel: jax.lax.conv_transpose(x, kernel, (2, 2), "SAME"),
        random(2, height, width, channels),
        random(4, 4, channels, features, seed=1),
    )


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 1, 3, 1), (2, 4, 5, 3), (1, 7, 2, 2)])
def test_upsample_by_sums(shape, monkeypatch):
    monkeypatch.setattr(layers, "_on_cpu", lambda: False)
    assert_same(cpu_lowering.upsample_by_sums, layers.upsample, random(*shape))


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (lambda x, k: cpu_lowering.conv_by_product(x, k, 2, 1), [(1, 4, 4, 2), (4, 4, 2, 3)]),
        (lambda x, k: cpu_lowering.conv_over_picture(x, k, 1), [(1, 4, 4, 2), (3, 3, 2, 3)]),
        (lambda x, k: cpu_lowering.conv_over_map(x, k, 1), [(1, 4, 4, 2), (3, 3, 2, 3)]),
        (lambda x, k: cpu_lowering.conv_to_few(x, k, 1), [(1, 4, 4, 2), (3, 3, 2, 3)]),
        (cpu_lowering.up_conv_by_products, [(1, 4, 4, 2), (4, 4, 2, 3)]),
        (cpu_lowering.upsample_by_sums, [(1, 4, 4, 2)]),
    ],
    ids=["by product", "over picture", "over map", "to few", "up", "upsample"],
)
def test_bfloat16_stays_bfloat16(function, inputs):
    arrays = [jnp.ones(shape, jnp.bfloat16) for shape in inputs]
    result, pull_back = jax.vjp(function, *arrays)
    assert {g.dtype for g in (result, *pull_back(result))} == {jnp.dtype(jnp.bfloat16)}


def test_sum_of_many_blocks_in_bfloat16_is_rounded_once(monkeypatch):
    monkeypatch.setattr(cpu_lowering, "_PIXELS_OF_A_BLOCK", 1)
    x, cotangent = 0.5 + random(8, 64, 4, 2), 0.5 + random(8, 64, 4, 3, seed=1)
    kernel = random(3, 3, 2, 3, seed=2)

    def gradient(dtype):
        values = (jnp.asarray(value, dtype) for value in (x, kernel, cotangent))
        x_, kernel_, cotangent_ = values
        _, pull_back = jax.vjp(lambda k: cpu_lowering.conv_over_picture(x_, k, 1), kernel_)
        return np.asarray(pull_back(cotangent_)[0], np.float32)

    exact = gradient(jnp.float32)
    error = np.abs(gradient(jnp.bfloat16) - exact).max() / np.abs(exact).max()
    # Half a unit in the last place is 0.002; a running sum in bfloat16 is off by more than 0.1.
    assert error < 0.01


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "expected"),
    [
        ((2, 2, 2, 1024), (3, 3, 1024, 1024), 1, "conv_by_product"),
        ((2, 16, 16, 1024), (3, 3, 1024, 1024), 1, "conv_by_product"),
        ((2, 32, 32, 512), (3, 3, 512, 512), 1, "conv_over_picture"),
        ((2, 256, 256, 64), (3, 3, 64, 64), 1, "conv_over_picture"),
        ((2, 256, 256, 64), (3, 3, 64, 3), 1, "conv_to_few"),
        ((8, 112, 112, 3), (3, 3, 3, 64), 1, "conv_by_product"),
        ((8, 64, 64, 24), (3, 3, 24, 24), 1, "conv_over_map"),
        ((32, 64, 64, 24), (3, 3, 24, 24), 1, "plain_conv"),
        ((32, 65, 65, 24), (2, 2, 24, 48), 1, "conv_over_picture"),
        ((2, 256, 256, 3), (4, 4, 3, 32), 2, "conv_by_product"),
        ((2, 64, 64, 3), (7, 7, 3, 64), 2, "plain_conv"),
    ],
)
def test_which_lowering_is_taken(shape, kernel, stride, expected, monkeypatch):
    taken = []
    names = ("conv_by_product", "conv_over_picture", "conv_over_map", "conv_to_few", "plain_conv")
    for name in names:
        monkeypatch.setattr(cpu_lowering, name, lambda *_, name=name: taken.append(name))
    layers.convolve(jax.ShapeDtypeStruct(shape, jnp.float32),
                    jax.ShapeDtypeStruct(kernel, jnp.float32), stride, 1)  # fmt: skip
    assert taken == [expected]
