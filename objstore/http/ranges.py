"""Byte ranges (RFC 9110, section 14), and which requests for them are abuse. Pure.

Positions count from 0; the last one belongs to the range.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

RANGES_MAX: Final = 50
OVERLAPPING_MAX: Final = 2
DESCENDING_MAX: Final = 7
# A position beyond any object. Numbers with more digits count as this one: int() of thousands of them would take long.
POSITION_MAX: Final = 10**18


class RangeSpec(Struct, frozen=True, gc=False):
    """A range as it was asked for: first-last, first- (no last), or the -last bytes at the end (no first)."""

    first: int | None
    last: int | None


class ByteRange(Struct, frozen=True, gc=False):
    """A range of a body: never empty, and never beyond its end."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    def content_range(self, size: int) -> str:
        """The value of Content-Range, for a body of `size` bytes."""
        return f"bytes {self.first}-{self.last}/{size}"

    @property
    def header(self) -> str:
        return f"bytes={self.first}-{self.last}"


def parse_ranges(header: str) -> list[RangeSpec] | None:
    """What a Range header asks for; None if it is none of bytes or malformed, and so to be ignored."""
    unit, equals, text = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    specs = []
    for part in text.split(","):
        part = part.strip()
        if not part:
            continue  # empty list elements are allowed (RFC 9110, section 5.6.1)
        spec = _parse_spec(part)
        if spec is None:
            return None
        specs.append(spec)
    return specs or None


def resolve_ranges(specs: Sequence[RangeSpec], size: int) -> list[ByteRange]:
    """The ranges of a body of `size` bytes; [] if none can be satisfied, or if asking for them is abuse (416)."""
    ranges = [found for spec in specs if (found := _resolve(spec, size)) is not None]
    if len(specs) > RANGES_MAX or is_abuse(ranges):
        return []
    return ranges


def ranges_of(header: str | None, size: int) -> list[ByteRange] | None:
    """Both in one: None for the whole body, [] for 416."""
    if header is None:
        return None
    specs = parse_ranges(header)
    return None if specs is None else resolve_ranges(specs, size)


def parse_content_range(value: str) -> tuple[ByteRange, int]:
    """The range, and the size of the whole, of a Content-Range such as "bytes 0-9/100". Raises ValueError."""
    unit, _, rest = value.partition(" ")
    span, slash, size = rest.partition("/")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not slash or not dash:
        raise ValueError(f"not a Content-Range: {value!r}")
    return ByteRange(int(first), int(last)), int(size)


def is_abuse(ranges: Sequence[ByteRange]) -> bool:
    """Whether serving them would make far more work than any reader has use for (RFC 9110, section 17.15)."""
    if len(ranges) > RANGES_MAX:
        return True
    descending = sum(after.first < before.first for before, after in pairwise(ranges))
    if descending > DESCENDING_MAX:
        return True
    overlapping, reached = 0, -1
    for each in sorted(ranges, key=_first):
        overlapping += each.first <= reached
        reached = max(reached, each.last)
    return overlapping > OVERLAPPING_MAX


def _first(each: ByteRange) -> int:
    return each.first


def _parse_spec(part: str) -> RangeSpec | None:
    first, dash, last = part.partition("-")
    first, last = first.strip(), last.strip()
    if not dash or not (first or last) or not (_is_number(first or "0") and _is_number(last or "0")):
        return None
    if first and last and _size_of(last) < _size_of(first):
        return None
    return RangeSpec(_position(first), _position(last))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _size_of(number: str) -> tuple[int, str]:
    """Orders numbers of any length as their values."""
    digits = number.lstrip("0")
    return len(digits), digits


def _position(number: str) -> int | None:
    if not number:
        return None
    length, digits = _size_of(number)
    return POSITION_MAX if length > len(str(POSITION_MAX)) - 1 else int(digits or "0")


def _resolve(spec: RangeSpec, size: int) -> ByteRange | None:
    if spec.first is None:
        assert spec.last is not None
        return ByteRange(max(size - spec.last, 0), size - 1) if spec.last and size else None
    if spec.first >= size:
        return None
    return ByteRange(spec.first, size - 1 if spec.last is None else min(spec.last, size - 1))
