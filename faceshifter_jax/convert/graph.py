"""A network as a graph of operators, from any format, and walking it."""

import dataclasses
import importlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from faceshifter_jax.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One operator.

    Attributes:
      op: its type as the format names it.
      inputs, outputs: names of tensors; an optional input that is left out is "".
      attributes: plain values by name.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """A network that takes one tensor.

    Names only connect outputs to inputs.

    Attributes:
      path: the file, for messages.
      expected: what the reader expects, such as `an IResNet`, for messages.
      nodes: the operators in an order in which they can run.
      constants: weights by name, float32 or integers.
      input: name of the picture's tensor.
      input_shape: its shape, with None for what the file does not fix.
      outputs: names of the results.
    """

    path: Path
    expected: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    input: str
    input_shape: tuple[int | None, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        used, made = set(), {self.input}
        for node in self.nodes:
            used.update(node.inputs)
            # Otherwise following the tensors might never terminate.
            if not made.isdisjoint(node.outputs) or not used.isdisjoint(node.outputs):
                raise UserError(f"{self.path} is damaged: its operators cannot be run in order")
            made.update(node.outputs)

    @cached_property
    def _users(self) -> dict[str, list[Node]]:
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                users.setdefault(name, []).append(node)
        return users

    @cached_property
    def _makers(self) -> dict[str, str]:
        return {name: node.op for node in self.nodes for name in node.outputs}

    def users(self, name: str) -> list[Node]:
        """Returns the operators that take the tensor `name`."""
        return self._users.get(name, [])

    def only_user(self, name: str, *ops: str) -> Node:
        """Returns the one operator that takes the tensor `name`.

        Raises:
          UserError: it is not the only one, or not one of `ops`.
        """
        users = self.users(name)
        if len(users) != 1 or users[0].op not in ops:
            self.refuse(name, " or ".join(ops))
        return users[0]

    def refuse(self, name: str, wanted: str) -> NoReturn:
        """Raises the UserError that something other than `wanted` follows the tensor `name`."""
        found = " and ".join(sorted(user.op for user in self.users(name))) or "nothing"
        before = "the input" if name == self.input else self._makers.get(name, "a constant")
        self.fail(f"{found} follows {before}, where {wanted} was expected")

    def fail(self, reason: str) -> NoReturn:
        """Raises the UserError that the file is not what was expected, with a reason."""
        # The file's own names may hold line breaks.
        reason = " ".join(reason.split())
        raise UserError(f"{self.path} is not {self.expected} of a known layout: {reason}")

    def number(self, node: Node, attribute: str, default: float) -> float:
        """Returns an attribute that is one number; UserError if it is not."""
        value = node.attributes.get(attribute, default)
        if not isinstance(value, (int, float)):
            self.fail(f"{node.op} has {attribute} {value!r}, but a number was expected")
        return value

    def constant(
        self, node: Node, index: int, role: str, shape: tuple[int, ...] | None = None
    ) -> np.ndarray:
        """Returns the weights that are a node's input with the given index.

        Raises:
          UserError: they are missing, not stored or, if `shape` is given, of another shape.
        """
        name = node.inputs[index] if index < len(node.inputs) else ""
        if name not in self.constants:
            self.fail(f"the {role} of {node.op} is not among the stored weights")
        value = self.constants[name]
        if shape is not None and value.shape != shape:
            found, wanted = list(value.shape), list(shape)
            self.fail(f"the {role} of {node.op} has shape {found}, where {wanted} was expected")
        return value


def import_extra(package: str) -> ModuleType:
    """Imports a package of the extra `convert`.

    Raises:
      UserError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise UserError(
            f"reading this file needs the package {package}: "
            'pip install "faceshifter-jax[convert]", in a checkout pip install -e ".[convert]"'
        ) from error
