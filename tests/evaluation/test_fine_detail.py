"""Specks and blur, put into right answers: what the measures of fine detail say of them."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from faceshifter_jax.evaluation.protocols.rendered_pairs import render_ground_truth
from faceshifter_jax.evaluation.protocols.scores import score_detail

SIZE, PAIRS = 64, 40


@pytest.fixture(scope="module")
def truth():
    return render_ground_truth(SIZE, num_pairs=PAIRS, num_identities=20)


def measure(truth, swaps):
    totals = score_detail(truth, np.clip(np.rint(swaps), 0, 255).astype(np.uint8))
    return {name: total.value for name, total in totals.items()}


def with_specks(pictures, diameter, *, fixed, strength=90.0, number=3):
    """Coloured dots, bright or dark, at other places of each picture or at the same ones."""
    speckled = pictures.astype(np.float64)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for index, picture in enumerate(speckled):
        random = np.random.default_rng(0 if fixed else index)
        for _ in range(number):
            row, column = random.uniform(0.35, 0.7, 2) * SIZE
            distance = np.hypot(rows - row, columns - column)
            cover = np.clip(diameter / 2 + 0.5 - distance, 0, 1)
            colour = random.choice([-1, 1]) * strength * random.uniform(0.3, 1, 3)
            picture += cover[..., None] * colour
    return speckled


def blurred(pictures, deviation):
    return gaussian_filter(pictures.astype(np.float64), deviation, axes=(1, 2))


def test_right_answers_are_right(truth):
    found = measure(truth, truth.answer)
    for name in ("detail_index", "speck_index", "speck_index_fixed"):
        assert found[name] == pytest.approx(1)


def test_a_copy_of_the_target_is_sharp_and_has_no_specks(truth):
    found = measure(truth, truth.target)
    assert found["speck_index"] == pytest.approx(1)
    assert found["detail_index"] == found["detail_index_copy_target"] == pytest.approx(1, abs=0.1)
    assert found["speck_index_fixed"] == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(("deviation", "most"), [(1, 0.5), (2, 0.2)])
def test_blur_is_less_detail_and_no_specks(truth, deviation, most):
    found = measure(truth, blurred(truth.answer, deviation))
    assert 0 < found["detail_index"] < most
    assert found["speck_index"] < 1.005
    assert found["speck_index_fixed"] < 0.9


@pytest.mark.parametrize("shift", [(1, 1), (2, -1)])
def test_sharp_faces_elsewhere_are_nearly_right(truth, shift):
    found = measure(truth, np.roll(truth.answer, shift, (1, 2)))
    assert found["detail_index"] == pytest.approx(1, abs=0.12)
    assert found["speck_index"] < 1.06
    assert found["speck_index_fixed"] == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize(("diameter", "least"), [(2, 1.02), (3, 1.08), (4, 1.15), (6, 1.15)])
def test_specks_are_seen_wherever_they_are(truth, diameter, least):
    scattered = measure(truth, with_specks(truth.answer, diameter, fixed=False))
    fixed = measure(truth, with_specks(truth.answer, diameter, fixed=True))
    assert scattered["speck_index"] > least
    assert fixed["speck_index"] > least
    assert fixed["speck_index_fixed"] > 1.5
    assert scattered["speck_index_fixed"] < 1.3


def test_more_specks_count_more(truth):
    few, many = (
        measure(truth, with_specks(truth.answer, 4, fixed=False, number=number))["speck_index"]
        for number in (1, 4)
    )
    assert many - 1 > 2.5 * (few - 1) > 0.05


def test_blur_cannot_make_up_for_specks(truth):
    soft = blurred(truth.answer, 1.5)
    found = measure(truth, with_specks(soft, 4, fixed=True))
    assert found["detail_index"] < 0.6
    assert found["speck_index"] > 1.15
    assert found["speck_index_fixed"] > 1.5


def test_noise_and_a_mesh_are_detail_that_is_not_there(truth):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    mesh = 8 * ((rows + columns) % 2 * 2 - 1)
    found = measure(truth, truth.answer + mesh[..., None])
    assert found["detail_index"] > 1.2
    assert found["speck_index_fixed"] > 3
    noise = np.random.default_rng(0).normal(0, 8, truth.answer.shape)
    assert measure(truth, truth.answer + noise)["detail_index"] > 1.2


def test_what_is_outside_the_face_does_not_count(truth):
    outside = (np.maximum(truth.face, truth.target_face) == 0)[..., None]
    noise = np.random.default_rng(0).integers(0, 256, truth.answer.shape)
    found = measure(truth, np.where(outside, noise, truth.answer))
    assert found["speck_index"] == pytest.approx(1, abs=0.01)
    assert found["detail_index"] == pytest.approx(1, abs=0.05)


def test_intervals_hold_the_figure_and_few_pairs_have_none(truth):
    totals = score_detail(
        truth, with_specks(truth.answer, 4, fixed=False).clip(0, 255).astype("u1")
    )
    for total in totals.values():
        assert len(total.left) == 20
        assert total.left.min() <= total.value <= total.left.max()
        assert np.ptp(total.left) < 0.5
    few = render_ground_truth(32, num_pairs=3, num_identities=2)
    for total in score_detail(few, few.answer).values():
        assert len(total.left) == 0
