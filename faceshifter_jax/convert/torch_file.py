"""Reading PyTorch and safetensors weights, without PyTorch and without running anything."""

import math
import mmap
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from faceshifter_jax.convert.find_state_dict import find_state_dict
from faceshifter_jax.convert.restricted_pickle import Inert
from faceshifter_jax.convert.torch_formats import Saved, read_saved
from faceshifter_jax.convert.torch_pickle import RefusedName, Tensor, UnusableTensor
from faceshifter_jax.errors import UserError

# Half precision doubles and tied weights count twice. A file whose tensors grow by far more is
# made to fill the memory: with strides of 0, one number stands for a tensor of any size.
_MOST_GROWTH = 8
_ALWAYS_ALLOWED_BYTES = 2**24
_LONGEST_NAME = 100


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Returns the weights in a file of torch.save or safetensors, by key.

    The kind of file is recognised by its content; `find_state_dict` chooses the tensors of a
    checkpoint that are its weights.

    Returns:
      Arrays in C order: floating point of any width as float32, integers and booleans as they
      are. They may be read-only views of the file, which must not change while they are
      used.

    Raises:
      UserError: the file does not exist, is of another kind or damaged, has no tensors or weights
        that are sparse, quantised or complex, or is a pickle that would run code if PyTorch loaded
        it without restrictions; none of that code was run.
    """
    path = Path(path)
    content = _map(path)
    try:
        saved = read_saved(path, content)
    except RefusedName as error:
        raise UserError(f"{path} {_describe_refusal(error)}") from error
    tensors = find_state_dict(saved.value)
    if not tensors:
        raise UserError(f"{path} holds no tensors by name: {_describe(saved.value)}")
    return _as_arrays(path, tensors, saved, len(content))


def _map(path: Path) -> mmap.mmap:
    if path.is_dir():
        raise UserError(f"{path} is a directory: name a file of weights")
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not an ordinary file")
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise UserError(f"{path} is empty: get it again")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _as_arrays(
    path: Path, tensors: Mapping[str, Tensor | UnusableTensor], saved: Saved, file_size: int
) -> dict[str, np.ndarray]:
    usable: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if isinstance(tensor, UnusableTensor) or tensor.storage.dtype.kind == "c":
            kind = tensor.kind if isinstance(tensor, UnusableTensor) else "complex"
            raise UserError(f"{path}: the tensor {_quote(key)} is {kind}, which is not supported")
        usable[key] = tensor
    total = sum(math.prod(t.shape) * _target_dtype(t).itemsize for t in usable.values())
    if total > _MOST_GROWTH * file_size + _ALWAYS_ALLOWED_BYTES:
        raise UserError(
            f"{path} has {file_size} bytes and tensors of {total}: it is not an ordinary checkpoint"
        )
    arrays = {}
    for key, tensor in usable.items():
        try:
            arrays[key] = _as_array(tensor, saved.storages[tensor.storage.key])
        except (KeyError, ValueError, OverflowError) as error:
            # numpy checks shape and strides against the available bytes.
            raise UserError(
                f"{path} is damaged or incomplete, get it again: the tensor {_quote(key)} "
                "does not lie in its data"
            ) from error
    return arrays


def _as_array(tensor: Tensor, storage: memoryview) -> np.ndarray:
    dtype = tensor.storage.dtype
    # Axes of one entry may have any stride, but numpy's are limited.
    strides = [
        stride * dtype.itemsize if length > 1 else 0
        for length, stride in zip(tensor.shape, tensor.strides, strict=True)
    ]
    array = np.ndarray(
        tensor.shape,
        dtype,
        buffer=storage,
        offset=(tensor.storage.start + tensor.offset) * dtype.itemsize,
        strides=strides,
    )
    return np.require(array, _target_dtype(tensor), ["C", "A"])


def _target_dtype(tensor: Tensor) -> np.dtype:
    """Returns the dtype in which a tensor is returned."""
    dtype = tensor.storage.dtype
    return dtype if dtype.kind in "iub" else np.dtype(np.float32)


def _describe_refusal(error: RefusedName) -> str:
    name = _quote(error.name)
    if not error.is_class:
        return f"would run {name} when loaded: refused, nothing was run"
    return (
        f"holds a whole Python object, not a state_dict, and would run {name} when loaded: "
        "refused, nothing was run; in its original project, save model.state_dict() instead"
    )


def _describe(value: object) -> str:
    if not isinstance(value, dict):
        return f"it is a saved {'object' if isinstance(value, Inert) else type(value).__name__}"
    keys = [_quote(key) if isinstance(key, str) else type(key).__name__ for key in value]
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return f"its keys are {', '.join(keys[:5])}{more}" if keys else "it is an empty dict"


def _quote(name: str) -> str:
    """Quotes a name from a file so that a message stays on one line."""
    return (
        name if name.isprintable() and len(name) <= _LONGEST_NAME else ascii(name[:_LONGEST_NAME])
    )
