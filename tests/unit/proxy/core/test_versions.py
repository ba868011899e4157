"""Ids of versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.proxy.core.versions import public_id, version_of
from objstore.timestamps import OFFSET_MAX, TICKS_MAX, Timestamp

stamps = st.builds(Timestamp, st.integers(0, TICKS_MAX), st.integers(0, OFFSET_MAX))


@given(stamps, stamps)
def test_ids_are_read_back_and_sort_as_versions_do(one: Timestamp, other: Timestamp) -> None:
    assert version_of(public_id(one.internal)) == version_of(one.internal) == one.internal
    assert (public_id(one.internal) < public_id(other.internal)) == (one < other)


def test_the_plain_line() -> None:
    assert public_id("") == public_id("null") == "null"
    assert version_of("null") == "null"


@pytest.mark.parametrize(
    "text", ["", "1700000000", "1700000000.0", "0" * 15, "0" * 17, "f" * 16, "0" * 31 + "G", "NULL"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the id of a version"):
        version_of(text)
