"""Tombstones of rows are dropped in the end, and nothing that they deleted comes back."""

from __future__ import annotations

from typing import Any

import pytest

from objstore.db.database import Database
from objstore.http.transport import BackendRequest, NodeFailure
from tests.unit.objstore.db.harness import NOW, at, row
from tests.unit.objstore.db.replicas import Replicas


@pytest.fixture
def replicas(replicas: Replicas) -> Replicas:
    """With the container on every primary."""
    for number in (1, 2, 3):
        replicas[number].put(1)
    return replicas


def test_old_tombstones_are_dropped_once_all_have_them(replicas: Replicas) -> None:
    for number in (1, 2):
        replicas[number].update(row("gone", 2, deleted=True), row("kept"))
    replicas[3].update(row("gone", 1))  # has missed the deletion
    replicas.clock.seconds = NOW + 8 * 86400
    replicas[3].up = False
    replicas.replicate(1, 2)
    assert [each.name for each in replicas[1].rows()] == ["gone", "kept"]
    replicas[3].up = True
    replicas.replicate()
    replicas.clock.seconds += 86400
    replicas.replicate()
    for number in (1, 2, 3):
        assert [each.name for each in replicas[number].rows()] == ["kept"]
        assert replicas[number].names() == ["kept"]
        assert replicas[number].summary().tombstone_digest == 0
    replicas.steps()
    replicas.replicate()
    assert set(replicas.steps()) == {"compare"}


def test_an_old_tombstone_that_comes_late_does_not_go_round_for_ever(replicas: Replicas) -> None:
    replicas[3].update(row("o", 1))
    replicas.replicate()
    replicas.clock.seconds = NOW + 8 * 86400
    replicas[1].update(row("o", 2, deleted=True), row("gone", 2, deleted=True))
    for _ in range(3):
        replicas.replicate()
        replicas.clock.seconds += 7200
    assert [replicas[number].rows() for number in (1, 2, 3)] == [[], [], []]


@pytest.mark.parametrize("active", [1, 2])
def test_an_old_tombstone_is_taken_only_where_it_deletes_something(replicas: Replicas, active: int) -> None:
    replicas[1].update(row("o", 1))
    replicas.replicate()
    replicas.clock.seconds = NOW + 8 * 86400
    replicas[2].update(row("o", 2, deleted=True), row("gone", 2, deleted=True))
    replicas.replicate(active)
    assert [(each.name, each.deleted) for each in replicas[1].rows()] == [("o", True)]


@pytest.mark.parametrize("wiped", [False, True])
def test_a_tombstone_that_one_has_left_out_deletes_what_another_had_still(replicas: Replicas, wiped: bool) -> None:
    if wiped:
        replicas[2].update(row("gone", 1))
    for number in (1, 3):
        replicas[number].update(row("gone", 1))
    if wiped:
        replicas.replicate()
        replicas.replicate()
        replicas[2].update(row("gone", 10, deleted=True), row("kept", 11))
    replicas[1].update(row("gone", 10, deleted=True), row("kept", 11))
    replicas[3].up = False
    for _ in range(3):
        replicas.clock.seconds += 3 * 86400
        if wiped:
            replicas.replicate(1, 2)
    if wiped:
        replicas[2].wipe()
    # Node 2 takes all that node 1 has, but not the old tombstone.
    replicas.replicate(1, 1)
    assert [(each.name, each.deleted) for each in replicas[2].rows()] == [("kept", False)]
    replicas[1].up, replicas[3].up = False, True
    replicas.replicate(3)  # learns from node 2 that it has all that node 1 had
    replicas[1].up = True
    for _ in range(4):
        replicas.replicate(1)
        replicas.replicate()
        replicas.clock.seconds += 7200
    assert all(replicas[number].names() == ["kept"] for number in (1, 2, 3))
    assert all(replicas[number].summary().tombstone_digest == 0 for number in (1, 2, 3))


def test_tombstones_go_from_a_container_that_is_written_to_all_the_time(replicas: Replicas) -> None:
    """Its replicas are never found to be the same."""
    for number in (1, 2, 3):
        replicas[number].update(row("gone", 1))
        replicas[number].update(row("gone", 2, deleted=True))
    replicas.replicate()
    replicas.clock.seconds = NOW + 8 * 86400
    for number in (1, 2, 3):
        replicas[number].update(row("busy", 8 * 86400 + number))
        replicas.replicate(number)
    for number in (1, 2, 3):
        assert [each.name for each in replicas[number].rows()] == ["busy"]


def test_tombstones_stay_if_whoever_differs_is_not_reached_again(replicas: Replicas) -> None:
    replicas[1].update(row("gone", 2, deleted=True))
    replicas.replicate()
    replicas.clock.seconds = NOW + 8 * 86400
    replicas[1].update(row("busy", 8 * 86400))
    merges = []

    def cut(request: BackendRequest) -> None:
        if request.method == "REPLICATE" and "step=merge" in request.query:
            merges.append(request)
            if len(merges) == 3:
                raise NodeFailure(request.node, "response")

    replicas.before = cut
    replicas.replicate(1)
    assert len(merges) == 3
    assert [each.name for each in replicas[1].rows()] == ["busy", "gone"]


def test_a_tombstone_that_changes_while_it_is_dropped_stays(replicas: Replicas) -> None:
    node = replicas[1]
    node.update(row("gone", 2, deleted=True))
    replicas.clock.seconds = NOW + 8 * 86400
    reclaimer = node.replicator._reclaimer
    with node.opened() as database:
        checked: Database = database
        write = checked.write

        def later(operation: Any) -> Any:
            node.update(row("gone", 700_000, deleted=True))
            return write(operation)

        checked.write = later  # type: ignore[method-assign]
        assert reclaimer.run(checked, 10, reclaimer.limit(replicas.clock.seconds), lambda rows: None) == 0
        del checked.write
    assert [each.timestamp for each in node.rows()] == [at(700_000)]
