"""A PyTorch state dict, read by its keys and shapes."""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from faceshifter_jax.errors import UserError


class StateDict(Mapping[str, np.ndarray]):
    """Tensors by key, without the counters of batch normalisation that nothing needs.

    Attributes:
      path: where they come from, for messages.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], path: str):
        self.path = path
        self._tensors = {
            key: tensor
            for key, tensor in tensors.items()
            if key.rpartition(".")[2] != "num_batches_tracked"
        }

    def __getitem__(self, key: str) -> np.ndarray:
        return self._tensors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, key: str, num_dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor that must be there.

        Raises:
          UserError: it is missing, of another number of dimensions, or empty.
        """
        if key not in self._tensors:
            raise UserError(f"{self.path} is incomplete: it has no tensor {key}")
        shape = tuple(self._tensors[key].shape)
        if len(shape) != num_dimensions or 0 in shape:
            raise UserError(
                f"{self.path}: {key} has shape {shape}, but must have {num_dimensions} "
                "dimensions of 1 or more"
            )
        return shape

    def has_module(self, name: str) -> bool:
        """Whether any tensor belongs to the module of that name."""
        return any(key.startswith(f"{name}.") for key in self._tensors)

    def count(self, pattern: str) -> int:
        """One more than the largest number that `pattern`'s group matches; 0 without a match."""
        found = (re.match(pattern, key) for key in self._tensors)
        return max((int(match[1]) + 1 for match in found if match), default=0)

    def has_key_like(self, pattern: str, kernel: int | None = None) -> bool:
        """Whether a key matches, belonging to a `kernel` x `kernel` convolution if that is set."""
        return any(
            re.fullmatch(pattern, key) and (kernel is None or tensor.shape[2:] == (kernel, kernel))
            for key, tensor in self._tensors.items()
        )

    def common_prefix(self) -> str:
        """The first part that all keys share, with its dot; "" if there is none."""
        firsts = {key.partition(".")[0] for key in self._tensors if "." in key}
        shared = len(firsts) == 1 and all("." in key for key in self._tensors)
        return f"{firsts.pop()}." if shared else ""

    def within(self, prefix: str) -> "StateDict":
        """The tensors whose keys start with `prefix`, under the rest of their keys."""
        return StateDict(
            {
                key.removeprefix(prefix): tensor
                for key, tensor in self._tensors.items()
                if key.startswith(prefix)
            },
            self.path,
        )

    def without(self, *prefixes: str) -> "StateDict":
        """All tensors but those whose keys start with one of `prefixes`."""
        rest = {key: t for key, t in self._tensors.items() if not key.startswith(prefixes)}
        return StateDict(rest, self.path)
