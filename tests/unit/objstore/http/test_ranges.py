"""Ranges as clients ask for them."""

from __future__ import annotations

import pytest

from objstore.http.ranges import ByteRange, parse_content_range, parse_ranges, ranges_of


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 0)]),
        ("bytes=0-99", [(0, 99)]),
        ("BYTES = 5-6", [(5, 6)]),
        ("bytes=90-", [(90, 99)]),
        ("bytes=90-1000", [(90, 99)]),
        ("bytes=-10", [(90, 99)]),
        ("bytes=-1000", [(0, 99)]),
        ("bytes=0-1, ,5-6", [(0, 1), (5, 6)]),
        ("bytes=0-1,200-", [(0, 1)]),
        ("bytes=100-", []),
        ("bytes=-0", []),
        ("bytes=200-300,400-", []),
    ],
)
def test_of_a_hundred_bytes(header: str, expected: list[tuple[int, int]]) -> None:
    assert ranges_of(header, 100) == [ByteRange(*each) for each in expected]


@pytest.mark.parametrize(
    "header", ["bytes=5-4", "bytes=a-b", "lines=1-2", "bytes=", "bytes=--5", "0-5", "bytes=1", "bytes=-", "bytes=1-2,x"]
)
def test_what_is_no_range_is_ignored(header: str) -> None:
    assert parse_ranges(header) is None
    assert ranges_of(header, 100) is None


@pytest.mark.parametrize("large", ["9223372036854775807", "9" * 18, "9" * 19, "1" + "0" * 18, "9" * 5000])
def test_numbers_may_have_any_number_of_digits(large: str) -> None:
    whole, end = ByteRange(0, 99), ByteRange(90, 99)
    assert ranges_of(f"bytes=0-{large}", 100) == [whole]
    assert ranges_of(f"bytes=90-{large}", 100) == [end]
    assert ranges_of(f"bytes=-{large}", 100) == [whole]
    assert ranges_of(f"bytes={large}-", 100) == []
    assert ranges_of(f"bytes={large}-{large}", 100) == []
    assert ranges_of(f"bytes={large}0-{large}", 100) is None
    assert ranges_of(f"bytes=0-1,90-{large},{large}-", 100) == [ByteRange(0, 1), end]


def test_leading_zeros_do_not_count() -> None:
    zeros = "0" * 4000
    assert ranges_of(f"bytes={zeros}1-{zeros}2", 100) == [ByteRange(1, 2)]
    assert ranges_of(f"bytes=-{zeros}5", 100) == [ByteRange(95, 99)]
    assert ranges_of(f"bytes={zeros}-{zeros}", 100) == [ByteRange(0, 0)]
    assert ranges_of(f"bytes=-{zeros}", 100) == []
    assert ranges_of("bytes=10-09", 100) is None


def test_nothing_of_an_empty_body_can_be_had() -> None:
    assert ranges_of("bytes=0-", 0) == []
    assert ranges_of("bytes=-5", 0) == []
    assert ranges_of(None, 0) is None


@pytest.mark.parametrize(
    ("ranges", "allowed"),
    [
        ([f"{n}-{n}" for n in range(0, 100, 2)], True),
        ([f"{n}-{n}" for n in range(0, 102, 2)], False),
        (["0-100", "50-150", "100-200"], True),
        (["0-100", "50-150", "100-200", "150-250"], False),
        (["0-1000", "1-2", "3-4", "5-6"], False),
        ([f"{n}-{n}" for n in range(16, 0, -2)], True),
        ([f"{n}-{n}" for n in range(18, 0, -2)], False),
    ],
)
def test_abuse(ranges: list[str], allowed: bool) -> None:
    found = ranges_of("bytes=" + ",".join(ranges), 10_000)
    assert found is not None
    assert bool(found) is allowed


def test_texts() -> None:
    assert ByteRange(0, 9).content_range(100) == "bytes 0-9/100"
    assert ByteRange(0, 9).header == "bytes=0-9"
    assert ByteRange(0, 9).length == 10
    assert parse_content_range("bytes 0-9/100") == (ByteRange(0, 9), 100)
    for bad in ("bytes */100", "0-9/100", "bytes 0/100"):
        with pytest.raises(ValueError):
            parse_content_range(bad)
