import jax
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


def test_on_a_tpu_the_picture_is_made_by_a_product(monkeypatch):
    """The last convolution of the AEI-Net, 64 to 3 channels; one of 64 to 64 stays what it is."""
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    x = jax.ShapeDtypeStruct((1, 8, 8, 64), np.float32)

    def operations(features: int) -> str:
        kernel = jax.ShapeDtypeStruct((3, 3, 64, features), np.float32)
        return str(jax.make_jaxpr(lambda x, k: layers.convolve(x, k, 1, 1))(x, kernel))

    assert "conv_general_dilated" not in operations(3)
    assert "conv_general_dilated" in operations(64)
