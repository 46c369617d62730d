"""What sources contribute to swaps, computed once for each."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

# Sources whose terms are kept, 100 kB each at paper scale: the people of a film, and then some.
_SOURCES = 64


class SourceMemory:
    """Remembers what sources contribute to swaps: frames of a film share a few sources.

    Attributes:
      find_terms: uint8 (1, S, S, 3) to the pytree of arrays, one row each, that is remembered.
      capacity: sources whose terms are kept, those that were asked for last.
    """

    def __init__(self, find_terms: Callable[[np.ndarray], Any], capacity: int = _SOURCES):
        self.find_terms = find_terms
        self.capacity = capacity
        self._known: OrderedDict[bytes, Any] = OrderedDict()

    def find(self, sources: np.ndarray) -> Any:
        """The terms of uint8 (B, S, S, 3): a pytree of numpy arrays with B rows."""
        rows = [self._find_one(source) for source in sources]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)

    def _find_one(self, source: np.ndarray) -> Any:
        key = hashlib.sha256(np.ascontiguousarray(source)).digest()
        if key not in self._known:
            self._known[key] = jax.device_get(self.find_terms(source[None]))
        self._known.move_to_end(key)
        terms = self._known[key]
        if len(self._known) > self.capacity:
            self._known.popitem(last=False)
        return terms
