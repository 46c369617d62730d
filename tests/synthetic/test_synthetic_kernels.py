"""What numba's cache cannot see: a kernel must use nothing of another file of the package."""

import ast
import importlib
import inspect
import pkgutil

import pytest
from numba.core.dispatcher import Dispatcher

from faceshifter_jax import synthetic

MODULES = [
    name for _, name, _ in pkgutil.iter_modules(synthetic.__path__, "faceshifter_jax.synthetic.")
]


def kernels_of(module):
    found = [value for value in vars(module).values() if isinstance(value, Dispatcher)]
    return [kernel for kernel in found if kernel.py_func.__module__ == module.__name__]


def imported_from_the_package(module):
    nodes = ast.walk(ast.parse(inspect.getsource(module)))
    return {
        alias.asname or alias.name.split(".")[0]
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.level or "faceshifter_jax" in node.module)
        for alias in node.names
    }


@pytest.mark.parametrize("name", MODULES)
def test_kernels_use_nothing_of_another_file(name):
    module = importlib.import_module(name)
    for kernel in kernels_of(module):
        used = set(kernel.py_func.__code__.co_names)
        assert used.isdisjoint(imported_from_the_package(module)), kernel.py_func.__name__


def test_there_are_kernels_to_check():
    modules = map(importlib.import_module, MODULES)
    names = {kernel.py_func.__name__ for module in modules for kernel in kernels_of(module)}
    assert {"shade_skin", "paint_cover", "fill"} <= names
