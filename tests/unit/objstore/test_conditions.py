"""Conditions of writes: each alone against a plain reading of what it says, and together."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.conditions import ObjectState, WriteConditions
from objstore.headers import Sysmeta

ETAGS = st.sampled_from(["a" * 32, "b" * 32, "c" * 32 + "-3"])
VERSIONS = st.sampled_from(["", "1400000000.00001", "1400000000.00002"])
NUMBERS = st.integers(0, 3)
STATES = st.none() | st.builds(ObjectState, ETAGS, NUMBERS, NUMBERS, VERSIONS)
LISTS = st.lists(ETAGS, max_size=2).map(tuple)
CONDITIONS = st.builds(
    WriteConditions,
    if_absent=st.booleans(),
    if_match=LISTS | st.just(("*",)),
    if_none_match=LISTS,
    if_version=st.sampled_from(["", "null", "1400000000.00001"]),
    if_unmodified_since=st.none() | NUMBERS,
    if_size=st.none() | NUMBERS,
)


def each_alone(conditions: WriteConditions) -> list[WriteConditions]:
    given_fields = [name for name in WriteConditions.__struct_fields__ if getattr(conditions, name)]
    given_fields += [name for name in ("if_unmodified_since", "if_size") if getattr(conditions, name) == 0]
    return [WriteConditions(**{name: getattr(conditions, name)}) for name in given_fields]


@given(CONDITIONS, STATES)
def test_a_write_is_refused_if_one_condition_fails(conditions: WriteConditions, state: ObjectState | None) -> None:
    assert conditions.refuse(state) is any(each.refuse(state) for each in each_alone(conditions))


@given(STATES)
def test_no_condition_refuses_nothing(state: ObjectState | None) -> None:
    assert not WriteConditions().refuse(state)


@given(ETAGS, STATES)
def test_etags(etag: str, state: ObjectState | None) -> None:
    is_it = state is not None and state.etag == etag
    assert WriteConditions(if_match=(etag,)).refuse(state) is not is_it
    assert WriteConditions(if_none_match=(etag,)).refuse(state) is is_it
    assert WriteConditions(if_match=("*",)).refuse(state) is (state is None)
    assert WriteConditions(if_absent=True).refuse(state) is (state is not None)
    assert WriteConditions(if_match=(f'W/"{etag}"',)).refuse(state)


@given(NUMBERS, STATES)
def test_sizes_and_times(number: int, state: ObjectState | None) -> None:
    assert WriteConditions(if_size=number).refuse(state) is (state is None or state.size != number)
    assert WriteConditions(if_unmodified_since=number).refuse(state) is (state is not None and state.modified > number)


@pytest.mark.parametrize("version", ["", "1400000000.00001"])
def test_versions(version: str) -> None:
    state = ObjectState("a" * 32, 1, 1, version)
    assert not WriteConditions(if_version=version or "null").refuse(state)
    assert WriteConditions(if_version="1400000000.00002").refuse(state)
    assert WriteConditions(if_version=version or "null").refuse(None)
    assert WriteConditions(if_version="null").refuse(state) is bool(version)


@given(ETAGS, STATES)
def test_what_has_been_read_is_what_matches(etag: str, state: ObjectState | None) -> None:
    """A client that reads, and writes if nothing has changed, is never refused while nothing has."""
    if state is None:
        assert not WriteConditions(if_absent=True).refuse(state)
    else:
        all_of_it = WriteConditions(False, (state.etag,), (), state.version or "null", state.modified, state.size)
        assert not all_of_it.refuse(state)
        assert all_of_it.refuse(msgspec.structs.replace(state, size=state.size + 1))


def test_a_manifest_is_what_its_readers_get() -> None:
    sysmeta = {Sysmeta.COMPOSITE_ETAG: "c" * 32 + "-3", Sysmeta.COMPOSITE_SIZE: "30"}
    assert ObjectState.of("a" * 32, 2, 1, "", sysmeta) == ObjectState("c" * 32 + "-3", 30, 1)
    assert ObjectState.of("a" * 32, 2, 1, "", {"X-Object-Sysmeta-Own": "1"}) == ObjectState("a" * 32, 2, 1)
