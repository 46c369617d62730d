"""Finding the weights among the other content of a checkpoint."""

from typing import Any

from faceshifter_jax.convert.torch_pickle import Tensor, UnusableTensor

Leaf = Tensor | UnusableTensor

_WRAPPERS = ("state_dict", "state_dict_backbone", "model")
# Prefixes that DataParallel and torch.compile add to every key.
_PREFIXES = ("module.", "_orig_mod.")
_DEEPEST = 16


def find_state_dict(value: Any) -> dict[str, Leaf]:
    """Returns the weights by key; an empty dict if there are none.

    From a dict that holds dicts with tensors, at any depth, this takes

    - the one under `state_dict`, `state_dict_backbone` or `model`, in this order;
    - otherwise the only one, as if it were the whole file;
    - otherwise all of them, each key prefixed with the name of its dict, as in `G.conv1.weight`.

    Scalars next to such dicts (a step, an epoch) are ignored, and so is the state of an optimiser.
    `module.` and `_orig_mod.` are removed where every key of a dict begins with them. A dict that
    appears in two places counts once.
    """
    return _find(value, set(), 0)


def _find(value: Any, seen: set[int], depth: int) -> dict[str, Leaf]:
    if not isinstance(value, dict) or id(value) in seen or depth > _DEEPEST:
        return {}
    seen.add(id(value))
    if "param_groups" in value:  # torch.optim.Optimizer.state_dict()
        return {}
    for name in _WRAPPERS:
        if found := _find(value.get(name), seen, depth + 1):
            return found
    named = {key: item for key, item in value.items() if isinstance(key, str)}
    tensors = {key: item for key, item in named.items() if isinstance(item, Leaf)}
    parts = {
        key: found
        for key, item in named.items()
        if not key.startswith("optim") and (found := _find(item, seen, depth + 1))
    }
    return without_prefixes(_join(tensors, parts))


def _join(tensors: dict[str, Leaf], parts: dict[str, dict[str, Leaf]]) -> dict[str, Leaf]:
    if parts and all(isinstance(item, Tensor) and not item.shape for item in tensors.values()):
        tensors = {}
    if len(parts) == 1 and not tensors:
        return next(iter(parts.values()))
    nested = {f"{name}.{key}": item for name, part in parts.items() for key, item in part.items()}
    return tensors | nested


def without_prefixes(tensors: dict[str, Any]) -> dict[str, Any]:
    """Removes the prefix that every key has because the network was wrapped for training."""
    for _ in range(_DEEPEST):
        found = [prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in tensors)]
        if not tensors or not found:
            break
        tensors = {key[len(found[0]) :]: item for key, item in tensors.items()}
    return tensors
