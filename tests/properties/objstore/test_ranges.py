"""What holds for every Range header."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objstore.http.ranges import RANGES_MAX, RangeSpec, parse_ranges, ranges_of, resolve_ranges

numbers = st.integers(0, 200)
specs = st.one_of(
    st.tuples(numbers, numbers).map(lambda pair: RangeSpec(min(pair), max(pair))),
    numbers.map(lambda first: RangeSpec(first, None)),
    numbers.map(lambda last: RangeSpec(None, last)),
)


def text_of(spec: RangeSpec) -> str:
    return f"{'' if spec.first is None else spec.first}-{'' if spec.last is None else spec.last}"


@given(st.text())
def test_any_text_is_parsed_or_ignored(text: str) -> None:
    parse_ranges(text)
    parse_ranges(f"bytes={text}")


@given(st.lists(specs, min_size=1, max_size=80))
def test_what_is_written_is_read(asked: list[RangeSpec]) -> None:
    assert parse_ranges("bytes=" + ",".join(map(text_of, asked))) == asked


@given(st.lists(specs, min_size=1, max_size=80), numbers)
def test_ranges_are_never_empty_and_never_outside(asked: list[RangeSpec], size: int) -> None:
    resolved = resolve_ranges(asked, size)
    assert len(resolved) <= RANGES_MAX
    for each in resolved:
        assert 0 <= each.first <= each.last < size


@given(specs, numbers)
def test_one_range_holds_what_slicing_would(spec: RangeSpec, size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    if spec.first is None:
        expected = body[-spec.last :] if spec.last else b""
    else:
        expected = body[spec.first : None if spec.last is None else spec.last + 1]
    resolved = ranges_of(f"bytes={text_of(spec)}", size)
    assert resolved is not None
    assert b"".join(body[each.first : each.last + 1] for each in resolved) == expected
