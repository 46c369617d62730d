"""Preparing pictures as a TFDS dataset, and reading batches from it for training.

`prepare_photos`, `prepare_folder` and `prepare_embedded` write a dataset, `build_loader` reads it
batch by batch, `PreparedDataset` picture by picture. They are imported on first use: this way the
command line and the worker processes of a preparation start without TFDS, grain and jax.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faceshifter_jax.data.loader import Loader, LoaderInfo, build_loader, count_identities
    from faceshifter_jax.data.preparation.prepare import (
        prepare_embedded,
        prepare_folder,
        prepare_photos,
    )
    from faceshifter_jax.data.prepared import PreparedDataset

_HOMES = {
    "Loader": "loader",
    "LoaderInfo": "loader",
    "PreparedDataset": "prepared",
    "build_loader": "loader",
    "count_identities": "loader",
    "prepare_embedded": "preparation.prepare",
    "prepare_folder": "preparation.prepare",
    "prepare_photos": "preparation.prepare",
}

__all__ = [
    "Loader",
    "LoaderInfo",
    "PreparedDataset",
    "build_loader",
    "count_identities",
    "prepare_embedded",
    "prepare_folder",
    "prepare_photos",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
