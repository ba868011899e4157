"""Reads pickles that hold nothing but data: containers, numbers, text, bytes and arrays.

A pickle is a program for a small stack machine, and two of its instructions name and call functions of Python. This is
a machine without these: names other than those of `array` are refused, and what is built for an array is built here.
Nothing of a file is ever executed, imported or hashed at length. The memory it takes is a small multiple of the file:
the C library's machine lets a few bytes claim gigabytes (a memo with one far entry, one list made into arrays again
and again), which is why it is not used, not even with its names restricted.

Source: the standard library's `pickletools`, which describes every instruction, and takes a pickle apart into them
without carrying out any.
"""

from __future__ import annotations

import pickletools
import sys
import warnings
from array import array
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from objstore.errors import StoreError

PROTOCOL_MAX: Final = 5
STACK_MAX: Final = 1 << 18  # pickles hand over long lists in batches of a thousand
MARKS_MAX: Final = 1000
CONTAINERS_MAX: Final = 1 << 22
NUMBER_BITS_MAX: Final = 128
TYPECODES: Final = frozenset("BHILQbhilq")
# How an array's bytes are laid out, by the number the standard library gives it: (item size, is big-endian).
MACHINE_FORMATS: Final = {0: (1, False), 2: (2, False), 3: (2, True), 6: (4, False), 7: (4, True)}
SCALARS: Final = (str, bytes, int, float, type(None))
CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
CONTAINERS: Final[dict[str, type]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
Container = TypeVar("Container", list[object], dict[object, object], set[object])


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
    return _Machine(len(content)).run(content)


class _Machine:
    """The stack machine. `_marks` are places in the stack where the items of a container begin."""

    def __init__(self, length: int) -> None:
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._containers = 0
        # Every item of an array takes a byte of the file at least, unless one list is used for several arrays.
        self._array_items_left = length

    def run(self, content: bytes) -> object:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # text with an unknown escape is only warned of, and is damage
                for instruction, argument, _ in pickletools.genops(content):
                    self._step(instruction.name, argument)
                    if len(self._stack) > STACK_MAX:
                        _refuse("it puts too much on its stack")
            return self._pop()
        except KeyError as error:
            _refuse(f"it takes what was never put: {error}")
        except IndexError:
            _refuse("it is damaged: an instruction finds nothing to work on")
        except (ValueError, OverflowError, TypeError, Warning) as error:
            _refuse(f"it is truncated or damaged: {error}")

    def _step(self, name: str, argument: Any) -> None:
        match name:
            case "BININT" | "BININT1" | "BININT2" | "BINFLOAT" | "SHORT_BINBYTES" | "BINBYTES" | "BINBYTES8":
                self._stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            case "BINGET" | "LONG_BINGET":
                self._stack.append(self._memo[argument])
            case "LONG1":
                self._stack.append(_number(argument))
            case "BINUNICODE" | "SHORT_BINUNICODE":
                self._stack.append(argument.encode().decode())  # half a surrogate pair is no text: ValueError
            case "BINSTRING" | "SHORT_BINSTRING":  # the text of Python 2, which pickletools takes for Latin-1
                self._stack.append(argument.encode("latin-1").decode())
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self._stack.append(CONSTANTS[name])
            case "PROTO":
                if argument > PROTOCOL_MAX:
                    _refuse(f"its protocol {argument} is not known")
            case "FRAME" | "STOP":
                pass
            case "MARK":
                if len(self._marks) >= MARKS_MAX:
                    _refuse("it is nested too deeply")
                self._marks.append(len(self._stack))
            case "GLOBAL":
                self._name(argument.replace(" ", "."))
            case "STACK_GLOBAL":
                function, module = self._pop(), self._pop()
                self._name(f"{module}.{function}")
            case "REDUCE":
                arguments = self._pop()
                self._call(self._pop(), arguments)
            case _:
                self._build(name)

    def _build(self, name: str) -> None:
        """Make a container, or put items into one."""
        match name:
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET" | "EMPTY_TUPLE":
                self._container(CONTAINERS[name]())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [self._pop() for _ in range(TUPLES[name])]
                self._container(tuple(reversed(items)))
            case "TUPLE":
                self._container(tuple(self._items()))
            case "APPEND":
                item = self._pop()
                self._top(list).append(item)
            case "APPENDS":
                items = self._items()
                self._top(list).extend(items)
            case "SETITEM":
                value, key = self._pop(), self._pop()
                self._top(dict)[_key(key)] = value
            case "SETITEMS":
                items = self._items()
                self._top(dict).update((_key(key), value) for key, value in zip(items[::2], items[1::2], strict=True))
            case "ADDITEMS":
                items = self._items()
                self._top(set).update(map(_key, items))
            case _:
                _refuse(f"it has an instruction that plain data does not need: {name}")

    def _pop(self) -> object:
        if self._marks and self._marks[-1] >= len(self._stack):
            raise IndexError
        return self._stack.pop()

    def _top(self, kind: type[Container]) -> Container:
        """The container on top, which must be of that kind."""
        target = self._stack[-1]
        if not isinstance(target, kind):
            _refuse(f"it adds items to what is no {kind.__name__}")
        return target

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

    def _name(self, name: str) -> None:
        if name not in NAMES:
            _refuse(f"it names {name!r:.100}, which is no plain data")
        self._stack.append(NAMES[name])

    def _call(self, function: object, arguments: object) -> None:
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


def _number(value: int) -> int:
    if value.bit_length() >= NUMBER_BITS_MAX:
        _refuse(f"it has a number of {value.bit_length()} bits")
    return value


def _key(value: object) -> object:
    """A key is a scalar or a flat tuple of such: hashing what is nested can take for ever."""
    parts = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(part, SCALARS) for part in parts):
        _refuse("it has a key that is neither a number nor text")
    return value


def _refuse(reason: str) -> NoReturn:
    raise PickleRefused(reason)
