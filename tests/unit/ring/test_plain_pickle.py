"""What a pickle of plain data holds is read; whatever else is in one is refused, and nothing of it happens."""

from __future__ import annotations

import collections
import os
import pickle  # noqa: TID251  (makes the files that are read)
import pickletools
import struct
import tracemalloc
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.ring.plain_pickle import PickleRefused, load_plain_pickle

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text()
KEYS = SCALARS | st.tuples(SCALARS, SCALARS)
ARRAYS = st.builds(array, st.sampled_from("BHI"), st.lists(st.integers(0, 255)))
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner) | st.tuples(inner, inner),
    max_leaves=30,
)


@given(VALUES, st.integers(2, 5))
def test_plain_data_is_read(value: Any, protocol: int) -> None:
    assert load_plain_pickle(pickle.dumps(value, protocol)) == value


@given(st.sets(SCALARS), st.binary())
def test_sets_and_bytes_are_read(items: set[Any], content: bytes) -> None:
    assert load_plain_pickle(pickle.dumps([items, content], 4)) == [items, content]


def test_shared_and_long_lists_are_read() -> None:
    shared = list(range(5000))
    value = {"a": shared, "b": shared, "c": tuple(shared)}
    assert load_plain_pickle(pickle.dumps(value, 2)) == value


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("typecode", ["B", "H", "I"])
def test_arrays_are_read_in_every_way_they_are_written(typecode: str, protocol: int) -> None:
    values = array(typecode, [0, 1, 200])
    read = load_plain_pickle(pickle.dumps(values, protocol))
    assert isinstance(read, array)
    assert (read.typecode, read) == (typecode, values)


def test_arrays_of_machines_of_the_other_byte_order_are_read() -> None:
    content = b"\x80\x03carray\n_array_reconstructor\n(carray\narray\nX\x01\x00\x00\x00HK\x03C\x04\x00\x01\x02\x00tR."
    assert load_plain_pickle(content) == array("H", [1, 512])


def test_text_of_python_2_is_read() -> None:
    assert load_plain_pickle(b"\x80\x02}U\x02idK\x05s.") == {"id": 5}


class Evil:
    """Its pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        Evil(os.system, "touch pwned"),
        Evil(eval, "open('pwned', 'w')"),
        Evil(exec, "open('pwned', 'w')"),
        Evil(open, "pwned", "w"),
        Evil(getattr, "", "join"),
        Evil(__import__, "os"),
        Evil(array, "B", Evil(os.system, "touch pwned")),
        [1, {"a": (Evil(os.mkdir, "pwned"),)}],
        {"devs": [Evil(bytearray, 1 << 40)]},
        Evil(list, b"abc"),
        collections.OrderedDict(a=1),
        collections.defaultdict(list),
        Path("x"),
        ValueError("x"),
        Evil,
        bytearray(b"x"),
        frozenset({1}),
        1 + 2j,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_plain_data_is_refused(
    value: Any, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(value, protocol) if value is not Evil else b"\x80\x02cos\nsystem\n."
    with pytest.raises(PickleRefused):
        load_plain_pickle(content)
    assert not list(tmp_path.iterdir())


PLAIN_CODES = set(b"\x80\x95.(N\x88\x89KMJ\x8aG\x8cXUTCB\x8eqr\x94hj]ae}su\x8f\x90)\x85\x86\x87tc\x93R")


@pytest.mark.parametrize(
    "opcode", [op for op in pickletools.opcodes if ord(op.code) not in PLAIN_CODES], ids=lambda op: op.name
)
def test_every_other_instruction_is_refused(opcode: pickletools.OpcodeInfo) -> None:
    for before in (b"", b"]", b"(K\x01", b"K\x01K\x01", b"carray\narray\n)"):
        with pytest.raises(PickleRefused):
            load_plain_pickle(b"\x80\x04" + before + opcode.code.encode("latin-1") + b"\x00" * 40 + b".")


RECONSTRUCT = b"carray\n_array_reconstructor\n(carray\narray\n"
MISUSES = {
    "appends to a dictionary": b"}K\x01a.",
    "sets items of a list": b"](K\x01K\x02u.",
    "sets half an item": b"}(K\x01u.",
    "adds to a list": b"](K\x01\x90.",
    "pops below a mark": b"K\x01(\x85.",
    "ends with nothing": b".",
    "takes what was never put": b"h\x07.",
    "a number of 200 bytes": b"\x8a\xc8" + b"\x01" * 200 + b".",
    "text that is none": b"U\x01\xff.",
    "an array of text": b"carray\narray\nX\x01\x00\x00\x00uC\x00\x86R.",
    "an array of fractions": b"carray\narray\nX\x01\x00\x00\x00B]G" + b"\x00" * 8 + b"a\x86R.",
    "an array of what does not fit": b"carray\narray\nX\x01\x00\x00\x00B]M\x00\x01a\x86R.",
    "an array of half a number": b"carray\narray\nX\x01\x00\x00\x00HC\x01x\x86R.",
    "an array in a form for other numbers": RECONSTRUCT + b"X\x01\x00\x00\x00HK\x06C\x04\x00\x00\x00\x00tR.",
    "an array in a form that is not known": RECONSTRUCT + b"X\x01\x00\x00\x00HK\x4dC\x04\x00\x00\x00\x00tR.",
    "an array made of nothing": b"carray\narray\n)R.",
    "calls a number": b"K\x01K\x01\x85R.",
}


@pytest.mark.parametrize("name", MISUSES)
def test_instructions_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(PickleRefused):
        load_plain_pickle(b"\x80\x04" + MISUSES[name])


def test_protocols_of_the_future_are_refused() -> None:
    with pytest.raises(PickleRefused, match="its protocol 6 is not known"):
        load_plain_pickle(b"\x80\x06N.")


LIST_OF_A_MILLION = b"](" + b"K\x01" * 200_000 + b"eq\x00"
BOMBS = {
    "a far place of the memo": b"\x80\x02]r\xff\xff\xff\xffh\x00.",
    "bytes longer than the file": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "text longer than the file": b"\x80\x02X\xff\xff\xff\xff.",
    "a frame longer than the file": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"\x8e" + struct.pack("<Q", 1 << 40),
    "a number of many bytes": b"\x80\x02\x8b" + struct.pack("<i", 1 << 20) + b"\xff" * 100,
    "one list made into many arrays": b"\x80\x02](" + LIST_OF_A_MILLION[:100_000] + b"eq\x00"
    + b"carray\narray\nX\x01\x00\x00\x00Ih\x00\x86R0" * 1000,
    "many marks": b"\x80\x02" + b"(" * 1_000_000,
    "a high stack": b"\x80\x02" + b"N" * 10_000_000,
    "many containers": b"\x80\x02](" + b"}0" * 100,
    "a key of nested tuples": b"\x80\x04)q\x00" + b"h\x00h\x00\x86q\x00" * 1000 + b"}h\x00K\x01s.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_fill_the_memory(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PickleRefused):
            load_plain_pickle(BOMBS[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6


def test_deep_nesting_is_harmless() -> None:
    content = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    value = load_plain_pickle(content)
    for _ in range(99_999):
        assert isinstance(value, list)
        (value,) = value
    assert value == []


GOOD = pickle.dumps({"devs": [{"id": 0, "w": 1.5}, None], "rows": [array("H", [1, 2, 300])], "t": {(1, "a"): (2,)}}, 2)


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_a_truncated_pickle_is_refused(length: int) -> None:
    with pytest.raises(PickleRefused):
        load_plain_pickle(GOOD[:length])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        load_plain_pickle(b"\x80\x02" + content)
    except PickleRefused:
        pass


def test_text_with_an_unknown_escape_is_refused_without_a_warning() -> None:
    with pytest.raises(PickleRefused, match="damaged"):
        load_plain_pickle(b"\x80\x02S'\\y'\n.")


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(place: int, value: int) -> None:
    try:
        load_plain_pickle(GOOD[:place] + bytes([value]) + GOOD[place + 1 :])
    except PickleRefused:
        pass
