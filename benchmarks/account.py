"""Memory traffic of a compiled program: by network, by module and by kind of operation.

XLA's own count of "bytes accessed" adds up what operations read and write, wherever it lies. Two
things make it larger than the traffic with the chip's large memory: arrays that are kept in its
fast memory, and arrays that are fetched into it in slices, for each of which XLA counts the whole
array once more. Here a byte counts if it passes between the large memory and the rest of the chip.
"""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from faceshifter_jax.devices.hlo import (
    COLLECTIVES,
    FREE,
    Instruction,
    Program,
    moved_bytes,
    moves_data,
)

_NAME = re.compile(r'op_name="([^"]*)"')
_WRAPPED = re.compile(r"^(transpose\()?(?:jvp|remat|checkpoint|vmap)\((.*?)\)+$")
# A class's method is named after it; a method of a submodule after one that was named before.
_MODULE = re.compile(r"[A-Z]\w*(\.\w+)?$|\w+$")
# Steps on the way from a copy to the operation that wants it.
_CARRIERS = FREE | {"custom-call", "copy-start", "copy-done", "slice-start", "slice-done"}

OUTSIDE = "(outside of networks)"
"""The place of operations without a module's name."""


@dataclasses.dataclass(frozen=True)
class Use:
    """The bytes of one operation of a program, all of its turns together.

    Attributes:
      place: names of nested modules, outermost first; `OUTSIDE` and the operation's own name if
        it is in none.
      is_backward: it belongs to the gradients.
      kind: what sort of operation it is: `convolution`, `fusion`, `copy`, `prefetch` (into fast
        memory, or back), `collective` or its opcode.
      memory_bytes: that pass between the chip's large memory and the rest of the chip.
      fast_bytes: that it reads and writes in fast memory.
    """

    place: tuple[str, ...]
    is_backward: bool
    kind: str
    memory_bytes: int
    fast_bytes: int


@dataclasses.dataclass(frozen=True)
class Group:
    """Uses of one place, one direction and one kind together; fields as in `Use`."""

    place: str
    direction: str
    kind: str
    count: int
    memory_bytes: int
    fast_bytes: int


def uses(program: Program) -> Iterator[Use]:
    """Yields the operations of a program that move data.

    Every array that an operation takes is read once and in full, as far as this knows: an
    operation that reads a part of one moves less, one that reads an array again for every tile of
    its result moves more. What is copied into fast memory counts for whom it is copied.
    """
    for turns, instructions in program.running():
        places = _Places(instructions)
        for instruction in instructions.values():
            if not moves_data(instruction):
                continue
            place, is_backward = places.find(instruction)
            large, fast = moved_bytes(instruction, instructions)
            kind = _kind(instruction, program)
            yield Use(place, is_backward, kind, turns * large, turns * fast)


def group(found: Iterable[Use], depth: int) -> list[Group]:
    """Adds up uses by the first `depth` names of their places; the largest first."""
    totals: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for use in found:
        direction = "" if use.place[0] == OUTSIDE else ("forward", "backward")[use.is_backward]
        total = totals["/".join(use.place[:depth]), direction, use.kind]
        for i, amount in enumerate((1, use.memory_bytes, use.fast_bytes)):
            total[i] += amount
    groups = [Group(*key, *total) for key, total in totals.items()]
    return sorted(groups, key=lambda g: (-g.memory_bytes, -g.fast_bytes, g.place))


def describe_groups(groups: Sequence[Group], limit: int) -> Iterator[str]:
    """Yields the lines of a table of the `limit` largest groups and of what the others add."""
    shown, others = groups[:limit], groups[limit:]
    rows = [*shown, _sum("together", groups)]
    if others:
        rows.insert(-1, _sum(f"{len(others)} more", others))
    wide = max(len(row.place) for row in rows)
    yield f"  {'':{wide}s} {'':8s} {'':11s} {'number':>7s} {'GB':>7s} {'GB in fast memory':>18s}"
    for row in rows:
        yield (
            f"  {row.place:{wide}s} {row.direction:8s} {row.kind:11s} {row.count:7d} "
            f"{row.memory_bytes / 1e9:7.2f} {row.fast_bytes / 1e9:18.2f}"
        )


def _sum(name: str, groups: Sequence[Group]) -> Group:
    return Group(
        name,
        direction="",
        kind="",
        count=sum(g.count for g in groups),
        memory_bytes=sum(g.memory_bytes for g in groups),
        fast_bytes=sum(g.fast_bytes for g in groups),
    )


class _Places:
    """Finds the module that each instruction of a computation belongs to."""

    def __init__(self, instructions: Mapping[str, Instruction]):
        self._instructions = instructions
        self._users: dict[str, list[Instruction]] = defaultdict(list)
        for instruction in instructions.values():
            for name in instruction.operands:
                self._users[name].append(instruction)

    def find(self, instruction: Instruction) -> tuple[tuple[str, ...], bool]:
        """Returns its place and whether it is of the gradients; a copy's is its first user's."""
        named = instruction if _op_name(instruction) else self._first_named_user(instruction)
        if named is None:
            return (OUTSIDE, instruction.opcode), False
        return parse_name(_op_name(named))

    def _first_named_user(self, instruction: Instruction) -> Instruction | None:
        waiting, seen = [instruction.name], {instruction.name}
        while waiting:
            for user in self._users[waiting.pop(0)]:
                if _op_name(user):
                    return user
                if user.opcode in _CARRIERS and user.name not in seen:
                    seen.add(user.name)
                    waiting.append(user.name)
        return None


def parse_name(name: str) -> tuple[tuple[str, ...], bool]:
    """Returns the place and whether it is of the gradients, of the name that JAX gave.

    Args:
      name: such as `jit(step)/transpose(jvp(AEINet))/generator/block_7/aad_0/mul`, or several
        with semicolons between them, of which the first counts.
    """
    _, *scopes = name.partition(";")[0].split("/")
    if not scopes:
        return (OUTSIDE, name or "unknown"), False
    is_backward = "transpose(" in name
    *modules, primitive = scopes
    place = []
    for scope in modules:
        match = _WRAPPED.match(scope)
        scope = match[2] if match else scope
        if _MODULE.match(scope):
            place.append(scope.partition(".")[0])
    return (tuple(place) or (OUTSIDE, primitive)), is_backward


def _op_name(instruction: Instruction) -> str:
    match = _NAME.search(instruction.rest)
    return match[1] if match and "/" in match[1] else ""


def _kind(instruction: Instruction, program: Program) -> str:
    opcode = instruction.opcode
    if opcode == "fusion":
        inside = set().union(*(program.opcodes(name) for name in instruction.called))
        return "convolution" if inside & {"convolution", "dot"} else "fusion"
    if opcode in ("copy-start", "slice-start"):
        return "prefetch"
    return "collective" if opcode.removesuffix("-start") in COLLECTIVES else opcode
