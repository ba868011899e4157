"""What the nodes' answers to a write amount to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.conditions import WriteConditions
from objstore.errors import StoreError
from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.core.backend.objects import delete_outcome, put_outcome
from objstore.proxy.core.objects import DeleteObject, PutObject
from objstore.proxy.core.quorum_request import QuorumResult
from objstore.proxy.swift.errors import answer_to
from objstore.quorum import quorum_size
from objstore.timestamps import Timestamp

PATH = ResourcePath("a", "c", "o")
NOW = Timestamp.from_seconds(1)


def result_of(statuses: list[int], quorum: int) -> QuorumResult:
    result = QuorumResult(quorum)
    result.statuses = statuses
    return result


def put_status(statuses: list[int], quorum: int, conditions: WriteConditions | None = None) -> int:
    """What the Swift API answers to such a PUT."""
    command = PutObject(PATH, 0, NOW, BytesBody(b""), 0, 0, "text/plain", conditions=conditions)
    try:
        return 201 if put_outcome(command, result_of(statuses, quorum)) else 202
    except StoreError as error:
        return answer_to(error).status


def delete_status(statuses: list[int], quorum: int) -> int:
    """What the Swift API answers to such a DELETE."""
    try:
        delete_outcome(DeleteObject(PATH, 0, NOW), result_of(statuses, quorum))
    except StoreError as error:
        return answer_to(error).status
    return 204


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
        ([422, 422, 201], 422),
        ([409, 422, 503], 503),
        ([409, 422, 422], 422),
        ([503, 503, 503], 503),
    ],
)
def test_put(statuses: list[int], expected: int) -> None:
    assert put_status(statuses, 2) == expected


@pytest.mark.parametrize(
    ("statuses", "if_absent", "if_match"),
    [
        ([412, 412, 412], 412, 412),
        ([201, 412, 412], 412, 412),
        ([201, 201, 412], 201, 201),
        ([201, 412, 503], 412, 503),
        ([412, 503, 503], 412, 503),
        ([409, 409, 412], 412, 202),
    ],
)
def test_put_with_conditions(statuses: list[int], if_absent: int, if_match: int) -> None:
    """One node that has the object shows that there is one; one with other data may have missed the newest."""
    assert put_status(statuses, 2, WriteConditions(if_absent=True)) == if_absent
    assert put_status(statuses, 2, WriteConditions(if_match=("e" * 32,))) == if_match


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
        assert statuses.count(201) + statuses.count(409) >= quorum
    assert (status == 201) == (statuses.count(201) >= quorum)
