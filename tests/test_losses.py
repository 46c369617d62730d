"""Losses against numbers worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceshifter_jax import losses


def array(*values):
    return np.array(values, np.float32)


def test_identity_loss_is_one_minus_the_cosine():
    swap = array([1, 0], [0.6, 0.8], [-1, 0], [0, 1])
    source = array([1, 0], [1, 0], [1, 0], [1, 0])
    np.testing.assert_allclose(losses.identity_loss(swap, source), [0, 0.4, 2, 1], atol=1e-6)


def test_identity_loss_has_no_gradient_once_the_cosine_is_enough():
    swap = array([0.6, 0.8], [0.8, 0.6])
    source = array([0, 1], [0, 1])

    def total(swap):
        return losses.identity_loss(swap, source, enough=0.7).sum()

    np.testing.assert_allclose(losses.identity_loss(swap, source, 0.7), [0, 0.1], atol=1e-6)
    np.testing.assert_allclose(jax.grad(total)(swap), [[0, 0], [0, -1]], atol=1e-6)


def test_answer_loss_weighs_the_places_where_people_differ():
    target = np.zeros((2, 1, 4, 3), np.float32)
    answer, swap = target.copy(), target.copy()
    answer[0, 0, 0] = 0.5  # here the people differ, and the swap copies the target
    swap[1, 0, 3] = 0.5  # here they do not, and the swap is wrong
    plain = losses.answer_loss(swap, answer, target)
    np.testing.assert_allclose(plain, [0.125 / 4, 0.125 / 4])
    weighed = losses.answer_loss(swap, answer, target, differ_weight=7.0)
    np.testing.assert_allclose(weighed, [7 * 0.125 / 10, 0.125 / 4])
    absolute = losses.answer_loss(swap, answer, target, distance="absolute", differ_weight=7.0)
    np.testing.assert_allclose(absolute, [7 * 0.5 / 10, 0.5 / 4])


def test_places_differ_from_sixteen_grey_levels_on():
    target = np.zeros((2, 1, 2, 3), np.float32)
    answer = target.copy()
    answer[0, 0, 0, 1], answer[1, 0, 0, 1] = 15.9 / 127.5, 16.1 / 127.5
    near, far = losses.answer_loss(target, answer, target, differ_weight=3.0)
    np.testing.assert_allclose(near, (15.9 / 127.5) ** 2 / 2 / 3 / 2, rtol=1e-5)
    np.testing.assert_allclose(far, 3 * (16.1 / 127.5) ** 2 / 2 / 3 / 4, rtol=1e-5)


def test_feature_loss_is_a_mean_over_maps_of_any_size():
    swap = [np.zeros((1, 2, 2, 1), np.float32), np.zeros((1, 4, 4, 3), np.float32)]
    answer = [level + i + 1 for i, level in enumerate(swap)]
    np.testing.assert_allclose(losses.feature_loss(swap, answer), [1.5])


def test_attribute_loss_is_a_mean_in_each_level_and_a_sum_over_the_levels():
    coarse = array([1, 3], [0, 0]).reshape(2, 1, 1, 2)
    fine = np.zeros((2, 2, 2, 1), np.float32)
    fine[0, 0, 0] = 4
    fine[1] = 2
    target = [np.zeros_like(coarse), np.zeros_like(fine)]
    # (1 + 9) / 2 + 16 / 4 = 9 and 0 + 4, each halved.
    np.testing.assert_allclose(losses.attribute_loss([coarse, fine], target), [4.5, 2])


def test_attribute_loss_needs_as_many_levels_on_both_sides():
    level = np.zeros((1, 1, 1, 1), np.float32)
    with pytest.raises(ValueError, match="shorter"):
        losses.attribute_loss([level, level], [level])


def test_attribute_loss_of_bfloat16_is_float32():
    level = jnp.full((1, 2, 2, 1), 3, jnp.bfloat16)
    loss = losses.attribute_loss([level], [level + 1])
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, [0.5])


def test_reconstruction_loss_is_half_the_mean_squared_error():
    swap = array([1, -1, 0, 1], [0, 0, 0, 0]).reshape(2, 2, 2, 1)
    target = array([0, 1, 0, 1], [1, 1, 1, 1]).reshape(2, 2, 2, 1)
    # Squared errors 1, 4, 0, 0 and four times 1.
    np.testing.assert_allclose(losses.reconstruction_loss(swap, target), [0.625, 0.5])


def test_gradients_of_hear_nets_losses():
    """Worked out by hand: of 1 - a.b it is -b, of half a mean square d / n, weighted for both."""
    swap, source = array([0.6, 0.8]), array([1, 0])
    gradient = jax.grad(lambda y: losses.identity_loss(y, source).sum())(swap)
    np.testing.assert_allclose(gradient, [[-1, 0]])
    result = array([0.5, -0.25, 0, 1]).reshape(1, 2, 2, 1)
    target = array([0, 0.75, 0, 0]).reshape(1, 2, 2, 1)
    weights = losses.masked_mean_weights(array(1)[0], 0.5)
    gradient = jax.grad(lambda y: (losses.reconstruction_loss(y, target) * weights).sum())(result)
    np.testing.assert_allclose(gradient.ravel(), [0.25, -0.5, 0, 0.5])
    occluder = array([1, 0.5, 1, 0]).reshape(1, 2, 2)
    gradient = jax.grad(lambda y: losses.occluder_loss(y, target, occluder).sum())(result)
    np.testing.assert_allclose(gradient.ravel(), [0.125, -0.125, 0, 0])


def test_occluder_loss_counts_as_much_as_the_occluder_hides():
    result = array([1, -1, 0, 1], [0, 0, 0, 0]).reshape(2, 2, 2, 1)
    target = array([0, 1, 0, 1], [1, 1, 1, 1]).reshape(2, 2, 2, 1)
    occluder = array([1, 0.25, 1, 1], [0, 0, 0, 0]).reshape(2, 2, 2)
    # Squared errors 1, 4, 0, 0 weighted 1, 1/4, 1, 1; over all four places, and halved.
    np.testing.assert_allclose(losses.occluder_loss(result, target, occluder), [0.25, 0])


def test_change_loss_is_the_mean_absolute_difference():
    swap = jnp.array([[[[0.0, 0.5], [1.0, -1.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    result = jnp.array([[[[0.5, 0.5], [0.0, -1.0]]], [[[0.0, 0.0], [0.0, -0.4]]]])
    np.testing.assert_allclose(losses.change_loss(result, swap), [1.5 / 4, 0.1], rtol=1e-6)
    gradient = jax.grad(lambda y: losses.change_loss(y, swap).sum())(result)
    # Where the two are equal, the absolute value has no gradient of its own.
    differ = result != swap
    np.testing.assert_allclose(gradient[differ], [0.25, -0.25, -0.25])


def test_masked_mean_weights_give_the_mean_where_the_mask_is_one():
    mask, values = array(1, 0, 0, 1, 0), array(3, 100, 100, 5, 100)
    weights = losses.masked_mean_weights(mask, mask.mean())
    np.testing.assert_allclose(weights, [2.5, 0, 0, 2.5, 0])
    np.testing.assert_allclose(np.mean(weights * values), 4)


def test_masked_mean_weights_of_an_empty_mask_are_zero():
    weights = losses.masked_mean_weights(np.zeros(3, np.float32), jnp.float32(0))
    np.testing.assert_array_equal(weights, [0, 0, 0])


def test_masked_mean_over_two_devices_with_one_share_is_the_mean_of_all():
    mask, values = array(1, 1, 1, 0), array(1, 2, 6, 50)
    halves = [
        np.mean(losses.masked_mean_weights(m, mask.mean()) * v)
        for m, v in zip(np.split(mask, 2), np.split(values, 2), strict=True)
    ]
    np.testing.assert_allclose(np.mean(halves), 3, rtol=1e-6)


REAL = [
    array([2, 0, 0.5, -1], [1, 1, 1, 1]).reshape(2, 2, 2, 1),
    array([3], [0]).reshape(2, 1, 1, 1),
]
FAKE = [
    array([-2, 0, -0.5, 1], [-1, -1, -1, 3]).reshape(2, 2, 2, 1),
    array([0], [-3]).reshape(2, 1, 1, 1),
]


def test_hinge_discriminator_loss():
    # First sample: (0 + 1 + 0.5 + 2) / 4 + (0 + 1 + 0.5 + 2) / 4 = 1.75; 0 + 1 = 1.
    # Second sample: 0 + (0 + 0 + 0 + 4) / 4 = 1; 1 + 0 = 1.
    np.testing.assert_allclose(losses.hinge_discriminator_loss(REAL, FAKE), [1.375, 1])


def test_hinge_generator_loss():
    # Means -0.375 and 0; 0 and -3.
    np.testing.assert_allclose(losses.hinge_generator_loss(FAKE), [0.1875, 1.5])


def test_hinge_gives_no_gradient_to_what_is_judged_well_enough():
    def loss(real, fake):
        return losses.hinge_discriminator_loss([real], [fake]).sum()

    good, bad = array([1.5]).reshape(1, 1, 1, 1), array([0.5]).reshape(1, 1, 1, 1)
    assert [float(g[0, 0, 0, 0]) for g in jax.grad(loss, (0, 1))(good, -good)] == [0, 0]
    assert [float(g[0, 0, 0, 0]) for g in jax.grad(loss, (0, 1))(bad, -bad)] == [-1, 1]


@pytest.mark.parametrize(
    ("cosine", "margin", "expected"),
    [
        (0.5, 0.5, 0.02360),  # cos(60 degrees + 0.5) = 0.5 * 0.87758 - 0.86603 * 0.47943
        (0.0, 0.5, -math.sin(0.5)),
        (0.8, 0.3, 0.8 * math.cos(0.3) - 0.6 * math.sin(0.3)),
        (1.0, 0.5, math.cos(0.5)),
        (-1.0, 0.5, -1 - 0.5 * math.sin(0.5)),  # past pi: the cosine less a constant
        (-0.9, 0.5, -0.9 - 0.5 * math.sin(0.5)),  # angle 2.69, and 2.69 + 0.5 > pi
        (0.3, 0.0, 0.3),
        (-1.0, 0.0, -1.0),
    ],
)
def test_angular_margin_of_the_right_class(cosine, margin, expected):
    logits = losses.angular_margin_logits(
        array([cosine, 0.25, -0.5]), np.array([0], np.int32), margin=margin, scale=10.0
    )
    assert logits.dtype == jnp.float32
    # At a cosine of 1 it is clipped by 1e-6, which is an angle of 0.0014.
    np.testing.assert_allclose(logits, [[10 * expected, 2.5, -5]], atol=2e-2)
    if abs(cosine) < 1:
        np.testing.assert_allclose(logits[0, 0], 10 * expected, atol=1e-4)


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5, 1.2, math.pi / 2])
def test_angular_margin_falls_with_the_angle_and_never_helps(margin):
    cosines = np.cos(np.linspace(0, np.pi, 2001, dtype=np.float32))[:, None]
    labels = np.zeros(len(cosines), np.int32)
    logits = losses.angular_margin_logits(cosines, labels, margin=margin, scale=1.0)[:, 0]
    assert (np.diff(logits) <= 1e-6).all()
    assert (logits <= cosines[:, 0] + 1e-5).all()


@pytest.mark.parametrize("cosine", [1.0, -1.0, 1.0000001, -1.0000001, 0.0])
def test_angular_margin_has_a_finite_gradient_everywhere(cosine):
    def loss(cosines):
        labels = np.array([0], np.int32)
        logits = losses.angular_margin_logits(cosines, labels, margin=0.5, scale=64.0)
        return losses.cross_entropy_loss(logits, labels).sum()

    gradient = jax.grad(loss)(array([cosine, 0.5]))
    assert np.isfinite(gradient).all()


def test_cross_entropy():
    logits = array([0, math.log(3)], [0, math.log(3)], [1000, 0])
    expected = [math.log(4), math.log(4 / 3), 1000]
    result = losses.cross_entropy_loss(logits, np.array([0, 1, 1], np.int32))
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_every_loss_is_one_number_a_sample():
    vector, picture = np.ones((5, 4), np.float32), np.ones((5, 2, 2, 3), np.float32)
    results = [
        losses.identity_loss(vector, vector),
        losses.attribute_loss([picture], [picture]),
        losses.reconstruction_loss(picture, picture),
        losses.hinge_discriminator_loss([picture], [picture]),
        losses.hinge_generator_loss([picture]),
        losses.cross_entropy_loss(vector, np.zeros(5, np.int32)),
    ]
    assert [(r.shape, r.dtype) for r in results] == [((5,), jnp.float32)] * 6
