"""Reads pickles that hold nothing but data: containers, numbers, text, bytes and arrays.

A pickle is a program for a small stack machine, and two of its instructions name and call functions of Python. This is
a machine without these: names other than those of `array` are refused, and what is built for an array is built here.
Nothing of a file is ever executed, imported or hashed at length. The memory it takes is a small multiple of the file:
the C library's machine lets a few bytes claim gigabytes (a memo with one far entry, one list made into arrays again
and again), which is why it is not used, not even with its names restricted.

Source: the standard library's `pickletools`, which describes every instruction.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from objstore.errors import StoreError

PROTOCOL_MAX: Final = 5
STACK_MAX: Final = 1 << 18  # pickles hand over long lists in batches of a thousand
MARKS_MAX: Final = 1000
CONTAINERS_MAX: Final = 1 << 22
NUMBER_BYTES_MAX: Final = 16
TYPECODES: Final = frozenset("BHILQbhilq")
# How an array's bytes are laid out, by the number the standard library gives it: (item size, is big-endian).
MACHINE_FORMATS: Final = {0: (1, False), 2: (2, False), 3: (2, True), 6: (4, False), 7: (4, True)}
SCALARS: Final = (str, bytes, int, float, type(None))
UINT2: Final = struct.Struct("<H")
INT4: Final = struct.Struct("<i")
UINT4: Final = struct.Struct("<I")
UINT8: Final = struct.Struct("<Q")
FLOAT8: Final = struct.Struct(">d")


@dataclass(eq=False)
class PickleRefused(StoreError):
    """The pickle is damaged, or holds what is no plain data."""

    reason: str

    message = "{reason}"


@dataclass(frozen=True)
class _Name:
    """Stands on the stack for one of the two functions that make arrays."""

    name: str


ARRAY: Final = _Name("array.array")
ARRAY_OF_BYTES: Final = _Name("array._array_reconstructor")
NAMES: Final = {name.name: name for name in (ARRAY, ARRAY_OF_BYTES)}


def load_plain_pickle(content: bytes) -> object:
    """The value in a pickle of a binary protocol (2 to 5). Raises PickleRefused."""
    return _Machine(content).run()


class _Machine:
    """The stack machine. `_marks` are places in the stack where the items of a container begin."""

    def __init__(self, content: bytes) -> None:
        self._content: Final = content
        self._place = 0
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._containers = 0
        # Every item of an array takes a byte of the file at least, unless one list is used for several arrays.
        self._array_items_left = len(content)
        self._done = False

    def run(self) -> object:
        content, instructions = self._content, {code: method.__get__(self) for code, method in INSTRUCTIONS.items()}
        try:
            while not self._done:
                code = content[self._place]
                self._place += 1
                instructions[code]()
                if len(self._stack) > STACK_MAX:
                    _refuse("it puts too much on its stack")
            return self._pop()
        except KeyError as error:
            _refuse(f"it has an instruction or entry that plain data does not need: {error}")
        except (IndexError, struct.error):
            _refuse("it is truncated or damaged")
        except (ValueError, OverflowError, TypeError) as error:
            _refuse(f"it is damaged: {error}")

    def _take(self, length: int) -> bytes:
        end = self._place + length
        if end > len(self._content):
            raise IndexError
        piece = self._content[self._place : end]
        self._place = end
        return piece

    def _number(self, form: struct.Struct) -> int:
        (value,) = form.unpack(self._take(form.size))
        return int(value)

    def _line(self) -> str:
        end = self._content.index(b"\n", self._place)
        line = self._content[self._place : end].decode("ascii")
        self._place = end + 1
        return line

    def _pop(self) -> object:
        if self._marks and self._marks[-1] >= len(self._stack):
            raise IndexError
        return self._stack.pop()

    def _top(self) -> object:
        return self._stack[-1]

    def _items(self) -> list[object]:
        """Everything since the last mark, taken off the stack."""
        begin = self._marks.pop()
        items = self._stack[begin:]
        del self._stack[begin:]
        return items

    def _container(self, value: object) -> None:
        self._containers += 1
        if self._containers > CONTAINERS_MAX:
            _refuse("it has too many containers")
        self._stack.append(value)

    def protocol(self) -> None:
        if (version := self._take(1)[0]) > PROTOCOL_MAX:
            _refuse(f"its protocol {version} is not known")

    def frame(self) -> None:
        self._take(UINT8.size)

    def stop(self) -> None:
        self._done = True

    def mark(self) -> None:
        if len(self._marks) >= MARKS_MAX:
            _refuse("it is nested too deeply")
        self._marks.append(len(self._stack))

    def none(self) -> None:
        self._stack.append(None)

    def true(self) -> None:
        self._stack.append(True)

    def false(self) -> None:
        self._stack.append(False)

    def int1(self) -> None:
        self._stack.append(self._content[self._place])
        self._place += 1

    def int2(self) -> None:
        self._stack.append(self._number(UINT2))

    def int4(self) -> None:
        self._stack.append(self._number(INT4))

    def long1(self) -> None:
        length = self._take(1)[0]
        if length > NUMBER_BYTES_MAX:
            _refuse(f"it has a number of {length} bytes")
        self._stack.append(int.from_bytes(self._take(length), "little", signed=True))

    def float8(self) -> None:
        (value,) = FLOAT8.unpack(self._take(FLOAT8.size))
        self._stack.append(value)

    def text1(self) -> None:
        self._stack.append(self._take(self._take(1)[0]).decode())

    def text4(self) -> None:
        self._stack.append(self._take(self._number(UINT4)).decode())

    def bytes1(self) -> None:
        self._stack.append(self._take(self._take(1)[0]))

    def bytes4(self) -> None:
        self._stack.append(self._take(self._number(UINT4)))

    def bytes8(self) -> None:
        self._stack.append(self._take(self._number(UINT8)))

    def put1(self) -> None:
        self._memo[self._take(1)[0]] = self._top()

    def put4(self) -> None:
        self._memo[self._number(UINT4)] = self._top()

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._top()

    def get1(self) -> None:
        self._stack.append(self._memo[self._take(1)[0]])

    def get4(self) -> None:
        self._stack.append(self._memo[self._number(UINT4)])

    def empty_list(self) -> None:
        self._container([])

    def append(self) -> None:
        item = self._pop()
        self._list().append(item)

    def appends(self) -> None:
        items = self._items()
        self._list().extend(items)

    def _list(self) -> list[object]:
        target = self._top()
        if not isinstance(target, list):
            _refuse("it appends to what is no list")
        return target

    def empty_dict(self) -> None:
        self._container({})

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def set_items(self) -> None:
        self._set(self._items())

    def _set(self, items: list[object]) -> None:
        target = self._top()
        if not isinstance(target, dict):
            _refuse("it sets an item of what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def empty_set(self) -> None:
        self._container(set())

    def add_items(self) -> None:
        items = self._items()
        target = self._top()
        if not isinstance(target, set):
            _refuse("it adds to what is no set")
        target.update(_key(item) for item in items)

    def empty_tuple(self) -> None:
        self._container(())

    def tuple1(self) -> None:
        self._tuple(1)

    def tuple2(self) -> None:
        self._tuple(2)

    def tuple3(self) -> None:
        self._tuple(3)

    def _tuple(self, length: int) -> None:
        items = [self._pop() for _ in range(length)]
        self._container(tuple(reversed(items)))

    def tuple_of_items(self) -> None:
        self._container(tuple(self._items()))

    def named(self) -> None:
        module = self._line()
        self._name(module, self._line())

    def named_on_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _name(self, module: object, name: object) -> None:
        full = f"{module}.{name}"
        if full not in NAMES:
            _refuse(f"it names {full!r:.100}, which is no plain data")
        self._stack.append(NAMES[full])

    def call(self) -> None:
        arguments, function = self._pop(), self._pop()
        match function, arguments:
            case _Name("array.array"), (str(typecode), list() | bytes() as items):
                self._container(self._array(typecode, items))
            case _Name("array._array_reconstructor"), (_Name("array.array"), str(typecode), int(form), bytes(items)):
                self._container(self._array(typecode, items, form))
            case _:
                _refuse("it calls what makes no array")

    def _array(self, typecode: str, items: list[object] | bytes, form: int | None = None) -> array[int]:
        self._array_items_left -= len(items)
        if self._array_items_left < 0 or typecode not in TYPECODES:
            _refuse("it has an array of another kind, or uses one list for many")
        result: array[int] = array(typecode, items)  # type: ignore[arg-type]  # other items than numbers: TypeError
        if form is None:
            return result
        size, is_big = MACHINE_FORMATS[form]
        if size != result.itemsize:
            _refuse("it has an array of another machine")
        if is_big != (sys.byteorder == "big"):
            result.byteswap()
        return result


def _key(value: object) -> object:
    """A key is a scalar or a flat tuple of such: hashing what is nested can take for ever."""
    parts = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(part, SCALARS) for part in parts):
        _refuse("it has a key that is neither a number nor text")
    return value


def _refuse(reason: str) -> NoReturn:
    raise PickleRefused(reason)


# The instructions of pickletools.opcodes by their code. What is missing here makes objects, or is of protocol 0.
INSTRUCTIONS: Final[dict[int, Callable[[_Machine], None]]] = {
    ord("\x80"): _Machine.protocol,
    ord("\x95"): _Machine.frame,
    ord("."): _Machine.stop,
    ord("("): _Machine.mark,
    ord("N"): _Machine.none,
    ord("\x88"): _Machine.true,
    ord("\x89"): _Machine.false,
    ord("K"): _Machine.int1,
    ord("M"): _Machine.int2,
    ord("J"): _Machine.int4,
    ord("\x8a"): _Machine.long1,
    ord("G"): _Machine.float8,
    ord("\x8c"): _Machine.text1,
    ord("X"): _Machine.text4,
    ord("U"): _Machine.text1,  # the text of Python 2
    ord("T"): _Machine.text4,
    ord("C"): _Machine.bytes1,
    ord("B"): _Machine.bytes4,
    ord("\x8e"): _Machine.bytes8,
    ord("q"): _Machine.put1,
    ord("r"): _Machine.put4,
    ord("\x94"): _Machine.memoize,
    ord("h"): _Machine.get1,
    ord("j"): _Machine.get4,
    ord("]"): _Machine.empty_list,
    ord("a"): _Machine.append,
    ord("e"): _Machine.appends,
    ord("}"): _Machine.empty_dict,
    ord("s"): _Machine.set_item,
    ord("u"): _Machine.set_items,
    ord("\x8f"): _Machine.empty_set,
    ord("\x90"): _Machine.add_items,
    ord(")"): _Machine.empty_tuple,
    ord("\x85"): _Machine.tuple1,
    ord("\x86"): _Machine.tuple2,
    ord("\x87"): _Machine.tuple3,
    ord("t"): _Machine.tuple_of_items,
    ord("c"): _Machine.named,
    ord("\x93"): _Machine.named_on_stack,
    ord("R"): _Machine.call,
}
