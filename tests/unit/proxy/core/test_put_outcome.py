"""What answers amount to, and the states of a write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.proxy.core.put_outcome import delete_status, put_status
from objstore.proxy.core.put_states import TRANSITIONS, IllegalTransition, PutEvent, PutState, after
from objstore.quorum import quorum_size


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([201, 201, 201], 201),
        ([201, 201, 503], 201),
        ([201, 503, 503], 503),
        ([201, 201, 409], 201),
        ([201, 409, 409], 202),
        ([201, 409, 503], 202),
        ([409, 409, 409], 202),
        ([409, 503, 503], 503),
        ([412, 412, 412], 412),
        ([201, 412, 503], 412),
        ([422, 422, 201], 422),
        ([409, 422, 503], 503),
        ([409, 422, 422], 422),
        ([503, 503, 503], 503),
    ],
)
def test_put(statuses: list[int], expected: int) -> None:
    assert put_status(statuses, 2) == expected


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([204, 204, 404], 204),
        ([204, 404, 404], 404),
        ([204, 404, 503], 204),
        ([404, 404, 404], 404),
        ([409, 409, 204], 409),
        ([204, 503, 503], 503),
    ],
)
def test_delete(statuses: list[int], expected: int) -> None:
    assert delete_status(statuses, 2) == expected


@given(st.lists(st.sampled_from([201, 400, 409, 412, 422, 500, 503, 507]), min_size=1, max_size=6))
def test_nothing_is_acknowledged_without_a_quorum(statuses: list[int]) -> None:
    quorum = quorum_size(len(statuses))
    status = put_status(statuses, quorum)
    if status < 300:
        assert sum(each in (201, 409) for each in statuses) >= quorum
    assert (status == 201) == (statuses.count(201) >= quorum)


def test_what_the_table_does_not_know_raises() -> None:
    for state in PutState:
        for event in PutEvent:
            if (state, event) in TRANSITIONS:
                assert after(state, event) is TRANSITIONS[state, event]
            else:
                with pytest.raises(IllegalTransition):
                    after(state, event)


def test_only_a_quorum_makes_it_durable_and_ends_are_ends() -> None:
    ways = {event for (_, event), state in TRANSITIONS.items() if state is PutState.DURABLE}
    assert ways == {PutEvent.STORED}
    left = {state for state, _ in TRANSITIONS}
    assert left.isdisjoint({PutState.DURABLE, PutState.REFUSED, PutState.ABANDONED})
