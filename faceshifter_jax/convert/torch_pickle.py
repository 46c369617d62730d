"""Meanings of the names in a PyTorch checkpoint: descriptions of tensors, or placeholders."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from faceshifter_jax.convert.restricted_pickle import INERT, Constructor, DamagedPickle

_LARGEST = 2**128
_MOST_AXES = 32


class RefusedName(Exception):
    """A name that would run code.

    Attributes:
      name: module and name, joined by a dot.
      is_class: it looks like a class of the project that wrote the file.
    """

    def __init__(self, module: str, name: str):
        super().__init__(module, name)
        self.name = f"{module}.{name}"
        self.is_class = name[:1].isupper() and module.split(".")[0] not in sys.stdlib_module_names


@dataclass(frozen=True, eq=False)
class Storage:
    """A run of numbers in the file.

    Attributes:
      key: the name under which the file has the bytes.
      dtype: of the numbers; little-endian.
      size: the number of them.
      start: the index of the first one, counted in numbers; not 0 for a view of another storage.
    """

    key: str
    dtype: np.dtype
    size: int
    start: int = 0


@dataclass(frozen=True, eq=False)
class Tensor:
    """A strided window of a storage, entirely inside it; offset and strides count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class UnusableTensor:
    """A tensor of a kind that no converter needs, such as `sparse`."""

    kind: str


def resolve(module: str, name: str) -> Any:
    """Returns the meaning of a name: a Constructor, a dtype (storage types) or INERT.

    Names are compared as a whole, so nothing is reached through the attributes of another.

    Raises:
      RefusedName: any name that is not known to be harmless.
    """
    if (module, name) in _CONSTRUCTORS:
        return _CONSTRUCTORS[module, name]
    if module in _STORAGE_MODULES and name in _STORAGES:
        return _STORAGES[name]
    if name in _HARMLESS.get(module, ()):
        return INERT
    if name in _HARMLESS_OF_PACKAGES.get(module.split(".")[0], ()):
        return INERT
    raise RefusedName(module, name)


def load_storage(persistent_id: Any) -> Storage:
    """Returns the object that a persistent id describes; `storage` is the only kind.

    Raises:
      DamagedPickle: anything else.
    """
    match persistent_id:
        case ("storage", np.dtype() as dtype, str(key), _, int(size), *view) if (
            0 <= size < _LARGEST
        ):
            pass
        case _:
            raise DamagedPickle("it refers to data in an unknown way")
    match view:
        case [] | [None]:
            return Storage(key, dtype, size)
        case [(str(), int(start), int(view_size))] if 0 <= start <= start + view_size <= size:
            return Storage(key, dtype, view_size, start)
        case _:
            raise DamagedPickle("a part of a storage lies outside of it")


def _build_tensor(arguments: tuple) -> Tensor:
    """Builds a tensor from (storage, offset, shape, strides); the rest is for training."""
    match arguments:
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_):
            pass
        case _:
            raise DamagedPickle("a tensor is described in an unknown way")
    numbers = (offset, *shape, *strides)
    # Multiplying integers of a million digits takes minutes.
    are_counts = all(isinstance(n, int) and 0 <= n < _LARGEST for n in numbers)
    if len(shape) != len(strides) or len(shape) > _MOST_AXES or not are_counts:
        raise DamagedPickle("a tensor has an impossible shape")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= storage.size:
        raise DamagedPickle("a tensor goes past the end of its data")
    return Tensor(storage, offset, shape, strides)


def _first(arguments: tuple) -> Any:
    """Builds a parameter from (tensor, ...): it is its tensor."""
    if not arguments:
        raise DamagedPickle("a parameter without a tensor")
    return arguments[0]


def _build_dict(arguments: tuple) -> dict:
    """Builds a dict from nothing, or from ([(key, value), ...],) as Python 2 wrote it."""
    match arguments:
        case ([*pairs],) if all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
            return {key: value for key, value in pairs if isinstance(key, str)}
    return {}


def _unusable(kind: str) -> Constructor:
    return Constructor(lambda _: UnusableTensor(kind))


_CONSTRUCTORS = {
    ("collections", "OrderedDict"): Constructor(_build_dict),
    ("collections", "defaultdict"): Constructor(lambda _: {}),
    ("torch._utils", "_rebuild_tensor"): Constructor(_build_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Constructor(_build_tensor),
    ("torch._utils", "_rebuild_parameter"): Constructor(_first),
    ("torch._utils", "_rebuild_parameter_with_state"): Constructor(_first),
    ("torch._utils", "_rebuild_tensor_v3"): _unusable("of a rare dtype"),
    ("torch._utils", "_rebuild_qtensor"): _unusable("quantised"),
    ("torch._utils", "_rebuild_sparse_tensor"): _unusable("sparse"),
    ("torch._utils", "_rebuild_sparse_csr_tensor"): _unusable("sparse"),
    ("torch._utils", "_rebuild_nested_tensor"): _unusable("nested"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _unusable("without data (device meta)"),
}

_STORAGE_MODULES = ("torch", "torch.storage", "torch.cuda")
_STORAGES = {
    name + "Storage": np.dtype(dtype)
    for name, dtype in {
        "Double": np.float64,
        "Float": np.float32,
        "Half": np.float16,
        "BFloat16": ml_dtypes.bfloat16,
        "Long": np.int64,
        "Int": np.int32,
        "Short": np.int16,
        "Char": np.int8,
        "Byte": np.uint8,
        "Bool": np.bool_,
        "ComplexDouble": np.complex128,
        "ComplexFloat": np.complex64,
        "QInt8": np.int8,
        "QUInt8": np.uint8,
        "QInt32": np.int32,
        "Untyped": np.uint8,
        "Typed": np.uint8,
    }.items()
}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BUILTINS = _names(
    "object set frozenset list dict tuple int float complex bool str bytes bytearray slice range "
    "unicode long xrange"
)
_NUMPY_ARRAYS = frozenset({"_reconstruct", "scalar"})
_NUMPY_BUFFERS = frozenset({"_frombuffer"})
_NUMPY_TYPES = _names(
    "ndarray dtype bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 "
    "float64 complex64 complex128 str_ bytes_"
)
_PATHS = _names("Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath")
_TORCH_VALUES = _names(
    "Size device dtype float64 float32 float16 bfloat16 double float half complex64 complex128 "
    "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz uint64 uint32 uint16 uint8 int64 "
    "int32 int16 int8 bool qint8 quint8 qint32 per_tensor_affine per_channel_affine "
    "per_channel_affine_float_qparams contiguous_format channels_last preserve_format"
)
# By module, the names that checkpoints hold besides their tensors and that only make plain values.
_HARMLESS: dict[str, frozenset[str]] = {
    "__builtin__": _BUILTINS,
    "builtins": _BUILTINS,
    "_codecs": frozenset({"encode"}),
    "argparse": frozenset({"Namespace"}),
    "collections": frozenset({"Counter", "deque"}),
    "copy_reg": frozenset({"_reconstructor"}),
    "copyreg": frozenset({"_reconstructor"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "easydict": frozenset({"EasyDict"}),
    "numpy": _NUMPY_TYPES,
    "numpy.core.multiarray": _NUMPY_ARRAYS,
    "numpy.core.numeric": _NUMPY_BUFFERS,
    "numpy._core.multiarray": _NUMPY_ARRAYS,
    "numpy._core.numeric": _NUMPY_BUFFERS,
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "torch": _TORCH_VALUES,
    "torch.serialization": frozenset({"_get_layout"}),
    "torch.torch_version": frozenset({"TorchVersion"}),
    "typing": frozenset({"Any"}),
    "yacs.config": frozenset({"CfgNode"}),
}
# By package, because these move within it from version to version. Listed one by one, because other
# classes of Lightning call their arguments.
_LIGHTNING = _names(
    "AttributeDict DeviceStatsMonitor EarlyStopping GradientAccumulationScheduler "
    "LearningRateMonitor ModelCheckpoint ModelSummary ProgressBar RichProgressBar RunningStage "
    "StochasticWeightAveraging TQDMProgressBar Timer TrainerFn TrainerStatus"
)
_HARMLESS_OF_PACKAGES: dict[str, frozenset[str]] = {
    "lightning": _LIGHTNING,
    "lightning_fabric": _LIGHTNING,
    "pytorch_lightning": _LIGHTNING,
    "omegaconf": _names(
        "AnyNode BooleanNode BytesNode ContainerMetadata DictConfig EnumNode FloatNode IntegerNode "
        "ListConfig Metadata Node PathNode StringNode"
    ),
}
