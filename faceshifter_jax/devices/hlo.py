"""Operations and loops of a compiled program, read from its text (XLA's HLO)."""

import dataclasses
import functools
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

COLLECTIVES = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")

# These move nothing themselves.
FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota"),
    *("while", "conditional", "call", "opt-barrier", "partition-id", "replica-id"),
}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.-]+) = (.*?) ([a-z][a-z0-9-]*)\((.*)$")
_ARRAY = re.compile(r"\b(pred|bf16|[a-z]+\d+)(?:e\d\w*)?\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_TILE = re.compile(r"T\(([\d,]+)\)")
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CALLED = re.compile(r"\b(?:calls|body|condition)=%?([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Collectives of one kind in one run of a program.

    Attributes:
      count: how many there are.
      num_bytes: the bytes of their results together, without padding.
    """

    count: int
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class Array:
    """An array as a program lays it out.

    Attributes:
      num_bytes: what it takes, its two last axes filled up to whole tiles.
      is_fast: it lies in one of the chip's small fast memories, not in the large one.
    """

    num_bytes: int
    is_fast: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name: what others call its result.
      shape: the text of its result's shape, of several arrays if that is a tuple.
      opcode: what it does.
      rest: the text after the opening bracket of its operands.
      is_root: its result is the computation's.
    """

    name: str
    shape: str
    opcode: str
    rest: str
    is_root: bool

    @property
    def operands(self) -> list[str]:
        """The names of the instructions whose results it takes."""
        return re.findall(r"%([\w.-]+)", self.rest.partition(")")[0])

    @property
    def arrays(self) -> list[Array]:
        """The arrays of its result."""
        return [
            Array(_filled_bytes(*found), "S(" in found[3]) for found in _ARRAY.findall(self.shape)
        ]

    @property
    def called(self) -> list[str]:
        """The names of the computations that it runs."""
        branches = _BRANCHES.search(self.rest)
        names = re.findall(r"[\w.-]+", branches[1]) if branches else []
        return _CALLED.findall(self.rest) + names


class Program:
    """A compiled program of one device, read from its text (`Compiled.as_text()`)."""

    def __init__(self, text: str):
        self._computations: dict[str, list[Instruction]] = {}
        self._entry = name = ""
        for line in text.splitlines():
            head = _COMPUTATION.match(line)
            match = _INSTRUCTION.match(line)
            if head:
                name = head[2]
                self._computations[name] = []
                self._entry = name if head[1] else self._entry
            elif match:
                is_root, result, shape, opcode, rest = match.groups()
                instruction = Instruction(result, shape, opcode, rest, bool(is_root))
                self._computations[name].append(instruction)

    def collectives(self) -> dict[str, Traffic]:
        """Returns kind (of `COLLECTIVES`) -> traffic; one in a loop counts at every turn."""
        found = defaultdict(lambda: Traffic(0, 0))
        for name, turns in self._turns().items():
            for instruction in self._computations[name]:
                kind = instruction.opcode.removesuffix("-start")
                if kind in COLLECTIVES:
                    num_bytes = turns * _num_bytes(instruction.shape)
                    found[kind] = Traffic(
                        found[kind].count + turns, found[kind].num_bytes + num_bytes
                    )
        return dict(found)

    def running(self) -> Iterator[tuple[int, Mapping[str, Instruction]]]:
        """Yields the computations that run by themselves, not inside of a fusion.

        Each as how often it runs in one run of the program, and name -> instruction in order.
        """
        for name, turns in self._turns().items():
            if name not in self._fused and name in self._computations:
                yield turns, {i.name: i for i in self._computations[name]}

    def opcodes(self, name: str) -> set[str]:
        """The opcodes in a computation, such as the one that a fusion calls."""
        return {instruction.opcode for instruction in self._computations.get(name, ())}

    def _turns(self) -> Mapping[str, int]:
        """Returns how often each computation runs in one run of the program."""
        turns: dict[str, int] = defaultdict(int)

        def visit(name: str, times: int) -> None:
            turns[name] += times
            for instruction in self._computations.get(name, ()):
                is_loop = instruction.opcode == "while"
                inner = times * (self._trip_count(instruction) if is_loop else 1)
                for called in instruction.called:
                    if called in self._computations:
                        visit(called, inner)

        visit(self._entry, 1)
        return dict(turns)

    def _trip_count(self, loop: Instruction) -> int:
        """How often a loop turns that counts from 0 up to a constant, as `lax.scan` does."""
        if known := _TRIP_COUNT.search(loop.rest):
            return int(known[1])
        condition = re.search(r"condition=%?([\w.-]+)", loop.rest)
        instructions = self._computations.get(condition[1], []) if condition else []
        bounds = {
            instruction.name: int(number[1])
            for instruction in instructions
            if instruction.opcode == "constant"
            and (number := re.match(r"(\d+)\)", instruction.rest))
        }
        root = next((i for i in instructions if i.is_root), None)
        if root is None or "direction=LT" not in root.rest:
            return 1
        return next((bounds[name] for name in root.operands if name in bounds), 1)

    @functools.cached_property
    def _fused(self) -> set[str]:
        """The computations inside fusions, whose values never reach the memory."""
        fusions = (
            instruction
            for instructions in self._computations.values()
            for instruction in instructions
            if instruction.opcode == "fusion"
        )
        return {called for fusion in fusions for called in fusion.called}


def memory_traffic(program: Program) -> int:
    """Returns the bytes that pass between a device's large memory and the rest of it in one run."""
    return sum(
        turns * moved_bytes(instruction, instructions)[0]
        for turns, instructions in program.running()
        for instruction in instructions.values()
        if moves_data(instruction)
    )


def moves_data(instruction: Instruction) -> bool:
    """Whether an operation reads or writes memory by itself."""
    opcode = instruction.opcode
    if opcode == "custom-call":
        # Slices that were fetched next to each other are seen as one array.
        return "ConcatBitcast" not in instruction.rest
    return opcode not in FREE and not opcode.endswith("-done")


def moved_bytes(instruction: Instruction, known: Mapping[str, Instruction]) -> tuple[int, int]:
    """Returns an instruction's bytes in the large memory and in fast memory.

    Every array that it takes is read once and in full, as far as this knows.

    Args:
      instruction: one that moves data.
      known: name -> instruction of its computation.
    """
    results = instruction.arrays
    operands = [
        array for name in instruction.operands if name in known for array in known[name].arrays
    ]
    if instruction.opcode in ("copy-start", "slice-start"):
        # Their results also name the operand and a semaphore.
        copied = results[0] if instruction.opcode == "copy-start" else results[1]
        results, operands = [copied], [Array(copied.num_bytes, operands[0].is_fast)]
    if 'custom_call_target="__cu' in instruction.rest:
        # NVIDIA's libraries: the second result is their workspace.
        results = results[:1]
    large = sum(array.num_bytes for array in (*results, *operands) if not array.is_fast)
    return large, sum(array.num_bytes for array in (*results, *operands) if array.is_fast)


def _num_bytes(shape: str) -> int:
    """The bytes of the arrays of a shape such as `(f32[8,128]{1,0}, bf16[])`, without padding."""
    return sum(
        math.prod(int(d) for d in dimensions.split(",") if d) * _item_bits(kind) // 8
        for kind, dimensions, *_ in _ARRAY.findall(shape)
    )


def _filled_bytes(kind: str, dimensions: str, order: str, attributes: str) -> int:
    """The bytes that an array takes, its two last axes filled up to whole tiles."""
    sizes = [int(d) for d in dimensions.split(",") if d]
    tile = _TILE.search(attributes)
    tiles = [int(t) for t in tile[1].split(",")] if tile else []
    minor_first = [int(axis) for axis in order.split(",") if axis]
    for axis, multiple in zip(minor_first, reversed(tiles), strict=False):
        sizes[axis] = -(-sizes[axis] // multiple) * multiple
    return math.prod(sizes) * _item_bits(kind) // 8


def _item_bits(kind: str) -> int:
    return 8 if kind == "pred" else int(re.sub(r"\D", "", kind))
