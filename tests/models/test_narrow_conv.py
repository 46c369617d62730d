import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceshifter_jax.models import layers


@pytest.mark.parametrize(
    ("height", "width", "size", "channels", "features", "padding"),
    [(9, 8, 3, 32, 3, 1), (8, 8, 4, 32, 1, 2), (5, 6, 1, 4, 2, 0), (6, 7, 3, 30, 3, 0)],
)
def test_a_narrow_convolution_is_the_plain_one(height, width, size, channels, features, padding):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, height, width, channels))
    kernel = jax.random.normal(keys[1], (size, size, channels, features))

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            ((padding, padding), (padding, padding)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    wanted, pull_back = jax.vjp(plain, x, kernel)
    given, pull_back_given = jax.vjp(lambda x, k: layers.narrow_conv(x, k, padding), x, kernel)
    cotangent = jax.random.normal(keys[2], wanted.shape)
    pairs = zip((wanted, *pull_back(cotangent)), (given, *pull_back_given(cotangent)), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * float(np.abs(a).max()))


@pytest.mark.parametrize(("batch", "side"), [(0, 5), (2, 1)], ids=["no pictures", "no places"])
def test_nothing_to_compute(batch, side):
    x, kernel = jnp.zeros((batch, side, side, 32)), jnp.zeros((3, 3, 32, 3))
    assert layers.narrow_conv(x, kernel, 0).shape == (batch, max(0, side - 2), max(0, side - 2), 3)


def test_bfloat16_is_rounded_at_the_taps_and_at_the_end():
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(keys[0], (2, 6, 5, 32), jnp.bfloat16)
    kernel = jax.random.normal(keys[1], (3, 3, 32, 3), jnp.bfloat16)
    result = layers.narrow_conv(x, kernel, 1)
    assert result.dtype == jnp.bfloat16
    wide, weights = (np.asarray(a, np.float32) for a in (x, kernel))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(wide, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (1, 2)
    )
    wanted = np.einsum("bhwcij,ijcd->bhwd", windows, weights)
    # Half a unit in the last place is 2**-9 of a value: nine taps, of which each is smaller than
    # the largest sum, and the sum itself.
    np.testing.assert_allclose(
        np.asarray(result, np.float32), wanted, rtol=2**-8, atol=2**-8 * np.abs(wanted).max()
    )


def test_on_a_tpu_the_picture_is_made_by_a_product(monkeypatch):
    """The last convolution of the AEI-Net, 64 to 3 channels; one of 64 to 64 stays what it is."""
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    x = jax.ShapeDtypeStruct((1, 8, 8, 64), np.float32)

    def operations(features: int) -> str:
        kernel = jax.ShapeDtypeStruct((3, 3, 64, features), np.float32)
        return str(jax.make_jaxpr(lambda x, k: layers.convolve(x, k, 1, 1))(x, kernel))

    assert "conv_general_dilated" not in operations(3)
    assert "conv_general_dilated" in operations(64)
