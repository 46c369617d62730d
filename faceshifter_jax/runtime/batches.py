"""Work on many rows, a batch of one size at a time, so that a function is compiled once."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def pad_rows(rows: np.ndarray, size: int) -> np.ndarray:
    """Returns `size` rows: those given, at least one, and copies of the last one."""
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), 0)])


def apply_in_batches(function: Callable[..., Any], arrays: tuple[Any, ...], size: int) -> Any:
    """Applies a function to rows, `size` at a time; the last batch is padded.

    Args:
      function: takes as many arguments as `arrays` has entries, with `size` rows each, and gives
        a pytree of arrays with as many rows.
      arrays: pytrees of numpy arrays with B rows, at least one.
      size: rows of a batch.

    Returns:
      the pytree of numpy arrays with B rows.
    """
    results = []
    for begin in range(0, len(jax.tree.leaves(arrays)[0]), size):
        batch = jax.tree.map(lambda rows, first=begin: rows[first : first + size], arrays)
        count = len(jax.tree.leaves(batch)[0])
        computed = function(*jax.tree.map(lambda rows: pad_rows(rows, size), batch))
        results.append(jax.tree.map(lambda rows, n=count: np.asarray(rows)[:n], computed))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *results)
