"""Intervals against what theory says of them."""

import numpy as np
import pytest

from faceshifter_jax.evaluation.intervals import bootstrap_mean, jackknife


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


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(2)
    ends = [bootstrap_mean(random.exponential(1, 60), 300) for _ in range(300)]
    covered = np.mean([low < 1 < high for low, high in ends])
    assert 0.88 < covered < 0.98


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(0, 1, 20)
    low, high = jackknife(lambda rows: float(values[rows].mean()), len(values))
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.959964 * error)
    assert np.isnan(jackknife(lambda rows: 0.0, 3)).all()
