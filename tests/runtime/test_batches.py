import jax
import numpy as np
import pytest

from faceshifter_jax.runtime.batches import apply_in_batches, pad_rows


def test_rows_are_padded_with_the_last_one():
    rows = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(pad_rows(rows, 4), [[1, 2], [3, 4], [3, 4], [3, 4]])
    np.testing.assert_array_equal(pad_rows(rows, 2), rows)


@pytest.mark.parametrize("number", [1, 4, 5, 8, 11])
def test_every_row_counts_once_in_batches_of_one_size(number):
    sizes = []

    def function(pictures, others):
        sizes.append((len(pictures), len(others["weight"])))
        return {"sum": pictures.sum(1) + others["weight"]}

    pictures = np.arange(number * 3.0).reshape(number, 3)
    others = {"weight": np.arange(float(number))}
    found = apply_in_batches(function, (pictures, others), 4)
    np.testing.assert_array_equal(found["sum"], pictures.sum(1) + others["weight"])
    assert set(sizes) == {(4, 4)}
    assert len(sizes) == -(-number // 4)


def test_results_of_jax_come_back_as_numpy():
    found = apply_in_batches(jax.jit(lambda x: (x + 1, x * 2)), (np.arange(5.0),), 2)
    assert all(isinstance(leaf, np.ndarray) for leaf in found)
    np.testing.assert_array_equal(found[1], [0, 2, 4, 6, 8])
