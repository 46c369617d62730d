"""Reading pickles as plain data, on a stack machine that cannot call arbitrary code.

A pickle is a program for a stack machine, and two of its instructions in effect say "import this
name" and "call it". `pickle.Unpickler` executes them. The machine here knows the same instructions
but asks `resolve` what each name stands for, and no instruction calls anything but a `Constructor`
that `resolve` returned, or sets an attribute.
"""

import pickletools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO


class DamagedPickle(Exception):
    """The bytes are not a complete and valid pickle."""


class Inert:
    """Placeholder for an object that does not matter: it stores nothing and does nothing."""

    def __repr__(self) -> str:
        return "INERT"


INERT = Inert()


@dataclass(frozen=True)
class Constructor:
    """The meaning of a name in a pickle: one of our functions, which builds plain data.

    Attributes:
      build: takes the arguments as one tuple, of anything a pickle can hold; raises DamagedPickle
        for arguments that it cannot use.
    """

    build: Callable[[tuple], Any]


Resolve = Callable[[str, str], Any]
PersistentLoad = Callable[[Any], Any]


def read_pickle(stream: BinaryIO, resolve: Resolve, persistent_load: PersistentLoad) -> Any:
    """Reads one pickle and leaves the stream directly after it.

    Containers come back as list, tuple and dict, sets as INERT. Dict items whose key is neither
    text, bytes nor a number are dropped.

    Args:
      stream: where the pickle begins.
      resolve: from module and name to a Constructor, INERT or any value that is not called;
        raises for names to be refused.
      persistent_load: from a persistent id to its value.

    Raises:
      DamagedPickle: not a complete and valid pickle.
    """
    machine = _Machine(resolve, persistent_load)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            machine.step(opcode.name, argument)
        return machine.stack[-1]
    except (LookupError, ValueError) as error:
        raise DamagedPickle("its pickle is cut off or invalid") from error


_LITERAL_NAMES = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE "
    "BINUNICODE8"
)
_LITERALS = frozenset(_LITERAL_NAMES.split())
_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    # Sets hash their elements, which for tuples nested deep enough overflows the C stack.
    "EMPTY_SET": lambda: INERT,
}
_KEYS = (str, bytes, int, float, type(None))
# In dicts of so many keys, large numbers are dropped: keys of one hash would take for ever.
_MOST_LARGE = 1000


class _Machine:
    """The stack, the stacks below the marks, and the memo."""

    def __init__(self, resolve: Resolve, persistent_load: PersistentLoad):
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._resolve = resolve
        self._persistent_load = persistent_load

    def step(self, opcode: str, argument: Any) -> None:
        """Executes one instruction, named as in pickletools, with the argument stored in it."""
        if opcode in _LITERALS:
            self.stack.append(argument)
        elif opcode in _NEW:
            self.stack.append(_NEW[opcode]())
        elif not (self._step_stack(opcode, argument) or self._step_container(opcode)):
            self._step_object(opcode, argument)

    def _step_stack(self, opcode: str, argument: Any) -> bool:
        stack = self.stack
        match opcode:
            case "MARK":
                self._below.append(stack)
                self.stack = []
            case "POP" if stack:
                stack.pop()
            case "POP" | "POP_MARK":
                self._pop_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _:
                return False
        return True

    def _step_container(self, opcode: str) -> bool:
        match opcode:
            case "TUPLE":
                self._push(tuple(self._pop_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._push(tuple(self._pop(int(opcode[-1]))))
            case "LIST":
                self._push(self._pop_mark())
            case "DICT":
                self._push(_fill({}, self._pop_mark()))
            case "FROZENSET":
                self._pop_mark()
                self._push(INERT)
            case "APPEND":
                items = self._pop(1)
                _extend(self.stack[-1], items)
            case "APPENDS" | "ADDITEMS":
                items = self._pop_mark()
                _extend(self.stack[-1], items)
            case "SETITEM":
                items = self._pop(2)
                _fill(self.stack[-1], items)
            case "SETITEMS":
                items = self._pop_mark()
                _fill(self.stack[-1], items)
            case _:
                return False
        return True

    def _step_object(self, opcode: str, argument: Any) -> None:
        match opcode:
            case "GLOBAL":
                self._push(self._resolve(*_split(argument)))
            case "STACK_GLOBAL":
                module, name = self._pop(2)
                if not (isinstance(module, str) and isinstance(name, str)):
                    raise DamagedPickle("a name is not a text")
                self._push(self._resolve(module, name))
            case "INST":
                self._push(_construct(self._resolve(*_split(argument)), tuple(self._pop_mark())))
            case "OBJ":
                kind, *arguments = self._pop_mark()
                self._push(_construct(kind, tuple(arguments)))
            case "REDUCE" | "NEWOBJ":
                self._push(_construct(*self._pop(2)))
            case "NEWOBJ_EX":
                kind, arguments, _ = self._pop(3)
                self._push(_construct(kind, arguments))
            case "BUILD":
                # Would give an object its state: nothing built here has one.
                self._push(self._pop(2)[0])
            case "PERSID" | "BINPERSID":
                name = argument if opcode == "PERSID" else self._pop(1)[0]
                self._push(self._persistent_load(name))
            case "EXT1" | "EXT2" | "EXT4":
                # The number of a name that this process may have registered and even imported.
                self._push(self._resolve("copyreg", f"extension {argument}"))
            case _:
                raise DamagedPickle(f"the instruction {opcode} is not allowed in a file")

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _pop(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        if len(items) < count:
            raise DamagedPickle("the stack is too short")
        del self.stack[-count:]
        return items

    def _pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items


def _split(name: str) -> tuple[str, str]:
    module, _, attribute = name.partition(" ")
    return module, attribute


def _construct(kind: Any, arguments: Any) -> Any:
    if kind is INERT:
        return INERT
    if not isinstance(kind, Constructor) or not isinstance(arguments, tuple):
        raise DamagedPickle("it calls something that is not a function")
    return kind.build(arguments)


def _extend(container: Any, items: list[Any]) -> None:
    if isinstance(container, list):
        container.extend(items)
    elif container is not INERT:
        raise DamagedPickle("it appends to something that is not a list")


def _fill(container: Any, items: list[Any]) -> Any:
    """Sets keys to values, given in turns; returns the container."""
    if not isinstance(container, dict) and container is not INERT:
        raise DamagedPickle("it sets an item of something that is not a dict")
    if container is not INERT:
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, _KEYS) and not (_is_large(key) and len(container) >= _MOST_LARGE):
                container[key] = value
    return container


def _is_large(key: Any) -> bool:
    """Whether a key may have the hash of others: all multiples of a certain prime have one."""
    return isinstance(key, int) and abs(key) >= sys.hash_info.modulus
