"""Intervals against what theory says of them."""

import numpy as np
import pytest
from scipy.stats import binomtest

from faceshifter_jax.evaluation.intervals import (
    bootstrap_mean,
    difference_interval,
    jackknife_interval,
    leave_groups_out,
    mean_interval,
    share_interval,
)


def test_bootstrap_of_a_mean_is_about_two_standard_errors_wide():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap_mean(values)
    error = values.std() / np.sqrt(len(values))
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.2 * error)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_bootstrap_is_always_the_same_and_leaves_out_what_is_missing():
    values = np.random.default_rng(1).uniform(0, 1, 30)
    assert bootstrap_mean(values) == bootstrap_mean(values.copy())
    assert bootstrap_mean(np.append(values, [np.nan, np.inf])) == bootstrap_mean(values)
    assert bootstrap_mean(np.full(5, 0.25)) == (0.25, 0.25)
    assert np.isnan(bootstrap_mean(np.full(3, np.nan))).all()


@pytest.mark.parametrize(("right", "pairs"), [(0, 7), (7, 7), (1, 2), (99, 100), (130, 200)])
def test_shares_have_wilsons_interval_as_scipy_has_it(right, pairs):
    values = np.repeat([1.0, np.nan, 0.0], [right, 3, pairs - right])
    expected = binomtest(right, pairs).proportion_ci(method="wilson")
    assert share_interval(values) == pytest.approx(tuple(expected), abs=1e-6)


def test_shares_of_pairs_that_have_shares_themselves_are_resampled():
    values = np.array([0.5, 1, 0, 0.25])
    assert share_interval(values) == bootstrap_mean(values)
    assert mean_interval(values, share=True) == mean_interval(values, share=False)
    assert mean_interval(np.ones(4), share=False) == (1, 1)


def test_shares_cover_the_truth_as_often_as_they_say():
    random = np.random.default_rng(3)
    for share, pairs in ((0.99, 100), (0.9, 20), (0.98, 200)):
        ends = [share_interval(random.uniform(size=pairs) < share) for _ in range(400)]
        assert np.mean([low <= share <= high for low, high in ends]) > 0.9


def test_one_pair_has_no_interval():
    for interval in (bootstrap_mean, share_interval):
        assert np.isnan(interval(np.array([1.0, np.nan]))).all()


def test_difference_of_shares_is_as_uncertain_as_they_are():
    low, high = difference_interval(np.full(7, -1.0), share=True)
    rose = share_interval(np.zeros(7))
    assert (low, high) == pytest.approx((2 * rose[0] - 1, 2 * rose[1] - 1))
    assert -1 <= low < high < 0
    assert difference_interval(np.zeros(7), share=True) == (0, 0)
    mixed = np.array([0.0, 1, 1, -1])
    assert difference_interval(mixed, share=True) == pytest.approx(bootstrap_mean(mixed))
    assert difference_interval(mixed, share=False) == bootstrap_mean(mixed)


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(2)
    ends = [bootstrap_mean(random.exponential(1, 60), 300) for _ in range(300)]
    covered = np.mean([low < 1 < high for low, high in ends])
    assert 0.88 < covered < 0.98


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(0, 1, 20)
    left = leave_groups_out(lambda rows: float(values[rows].mean()), len(values))
    low, high = jackknife_interval(values.mean(), left)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.959964 * error)
    assert np.isnan(jackknife_interval(0.0, leave_groups_out(lambda rows: 0.0, 3))).all()
