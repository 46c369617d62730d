"""Compiled kernels: numba, with its cache where there is a place for one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """Decorates a function that numba compiles, as `numba.njit(**options)` does.

    What was compiled is kept for the next process, next to the function's file or in the user's
    folder for caches. Where neither can be written to, as in a read-only installation without a
    home, each process compiles anew.
    """

    def decorate(function: Callable) -> Callable:
        if _may_have_place(function):
            try:
                return numba.njit(cache=True, **options)(function)
            except RuntimeError:
                # "cannot cache function ...: no locator available"; nothing is compiled as yet.
                pass
        return numba.njit(**options)(function)

    return decorate


def _may_have_place(function: Callable) -> bool:
    """Whether numba may look for one: without a home it would make a folder named ~."""
    if os.path.expanduser("~") != "~":
        return True
    folder = Path(function.__code__.co_filename).parent
    cache = folder / "__pycache__"
    return os.access(cache if cache.exists() else folder, os.W_OK)
