"""The container updater: accounts learn of changed figures, and only of those."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pytest

from objstore.container.updater import SWEEP_INTERVAL_SECONDS, TELLING_ATTEMPTS, ContainerUpdater
from objstore.daemon import Step, run_once
from objstore.devices import Device
from objstore.ring.build import build_ring
from objstore.rows import ContainerRow, decode_container_rows
from tests.unit.objstore.db.harness import Servers, at, row

RING = build_ring(
    [Device(i, 1, i, f"10.0.0.{i}", 6202, f"10.0.0.{i}", 6202, f"sd{i}", 1.0) for i in range(3)], 4, 3, seed=1
)


CONTAINER_RING = build_ring([Device(0, 1, 0, "10.0.0.9", 6201, "10.0.0.9", 6201, "sda", 1.0)], 4, 1, seed=1)


def new_updater(servers: Servers, is_mine: bool = True) -> ContainerUpdater:
    rings = SimpleNamespace(account=RING, container=CONTAINER_RING)
    return ContainerUpdater(servers.surroundings(rings=rings, is_mine=lambda device: is_mine), 3.0)


@pytest.fixture
def updater(servers: Servers) -> ContainerUpdater:
    return new_updater(servers)


def told(servers: Servers) -> list[ContainerRow]:
    rows = servers.transport.rows
    servers.transport.requests.clear()
    return rows


def test_a_new_container_is_reported_to_each_replica_once(servers: Servers, updater: ContainerUpdater) -> None:
    servers.to_container("PUT", 1)
    servers.update([row("o", size=7)])
    assert run_once(updater) is Step.IDLE
    assert {request.node.device for request, _ in servers.transport.requests} == {"sd0", "sd1", "sd2"}
    assert len({request.partition for request, _ in servers.transport.requests}) == 1
    reported = told(servers)
    assert [(each.name, each.put_timestamp, each.object_count, each.bytes_used) for each in reported] == [
        ("c", at(1), 1, 7)
    ] * 3
    assert reported[0].stats_timestamp > at(-1)
    run_once(updater)
    assert told(servers) == []
    assert list((servers.device / "container_reports").iterdir()) == []


def test_each_change_of_figures_is_reported(servers: Servers, updater: ContainerUpdater) -> None:
    servers.to_container("PUT", 1)
    run_once(updater)
    told(servers)
    servers.update([row("o"), row("p")])
    servers.clock.seconds += 1
    run_once(updater)
    first = told(servers)[0]
    servers.update([row("o", 2, deleted=True)])
    servers.clock.seconds += 1
    run_once(updater)
    second = told(servers)[0]
    assert (first.object_count, second.object_count) == (2, 1)
    assert second.stats_timestamp > first.stats_timestamp


def test_deletion_is_reported(servers: Servers, updater: ContainerUpdater) -> None:
    servers.to_container("PUT", 1)
    run_once(updater)
    told(servers)
    servers.to_container("DELETE", 2)
    run_once(updater)
    assert told(servers)[0].delete_timestamp == at(2)


@pytest.mark.parametrize(("failing", "again"), [(["sd0"], False), (["sd0", "sd1"], True)])
def test_a_majority_must_have_heard(
    servers: Servers, updater: ContainerUpdater, failing: list[str], again: bool
) -> None:
    servers.to_container("PUT", 1)
    servers.transport.status_of = dict.fromkeys(failing, 503) | {failing[0]: None}
    assert run_once(updater) is Step.IDLE
    told(servers)
    servers.transport.status_of = {}
    run_once(updater)
    assert bool(told(servers)) is again


def test_a_lost_mark_is_found_by_the_next_sweep(servers: Servers, updater: ContainerUpdater) -> None:
    run_once(updater)
    servers.to_container("PUT", 1)
    for mark in (servers.device / "container_reports").iterdir():
        mark.unlink()
    run_once(updater)
    assert told(servers) == []
    servers.clock.seconds += SWEEP_INTERVAL_SECONDS
    run_once(updater)
    assert len(told(servers)) == 3


def test_a_sweep_tells_again_what_was_told(servers: Servers, updater: ContainerUpdater) -> None:
    servers.to_container("PUT", 1)
    run_once(updater)
    told(servers)
    run_once(updater)
    assert told(servers) == []
    servers.clock.seconds += SWEEP_INTERVAL_SECONDS
    run_once(updater)
    (first, *_) = told(servers)
    assert first.stats_timestamp > at(1)


def test_a_database_that_is_being_removed_has_nothing_to_tell(servers: Servers, updater: ContainerUpdater) -> None:
    servers.to_container("PUT", 1)
    with closing(sqlite3.connect(servers.database_file())) as connection, connection:
        connection.execute("DELETE FROM resource")
    assert run_once(updater) is Step.IDLE
    assert told(servers) == []


def test_a_corrupt_database_stops_nothing(servers: Servers, updater: ContainerUpdater) -> None:
    for name in ("c", "d"):
        servers.to_container("PUT", 1, path=f"/sda/5/a/{name}")
    file = next((servers.device / "containers").glob("*/*/*/*.db"))
    file.unlink()
    file.write_bytes(b"garbage" * 1000)
    run_once(updater)
    assert len(told(servers)) == 3
    run_once(updater)
    assert told(servers) == []


def test_marks_of_what_is_gone_vanish(servers: Servers, updater: ContainerUpdater) -> None:
    marks = servers.device / "container_reports"
    marks.mkdir()
    (marks / "5-0123456789abcdef").touch()
    (marks / "stray").touch()
    run_once(updater)
    assert [mark.name for mark in marks.iterdir()] == ["stray"]


def test_an_account_at_the_other_end(servers: Servers, updater: ContainerUpdater) -> None:
    """What is sent is what an account server takes."""
    servers.to_account("PUT")
    servers.to_container("PUT", 1)
    servers.update([row("o", size=7)])
    run_once(updater)
    servers.update_account(told(servers)[:1])
    (listed,) = servers.listed_containers()
    assert (listed["name"], listed["count"], listed["bytes"]) == ("c", 1, 7)


def test_figures_from_a_clock_that_was_ahead_are_outdone(servers: Servers, updater: ContainerUpdater) -> None:
    servers.to_account("PUT")
    servers.update_account([ContainerRow("c", at(1), object_count=9, bytes_used=9, stats_timestamp=at(7200))])
    servers.transport.answering = lambda request, body: dict(
        servers.update_account(decode_container_rows(body)).headers
    )
    servers.to_container("PUT", 1)
    servers.update([row("o", size=7)])
    run_once(updater)
    assert [(each["count"], each["bytes"]) for each in servers.listed_containers()] == [(1, 7)]
    assert max(each.stats_timestamp for each in told(servers)) == at(7200.00001)
    run_once(updater)
    assert told(servers) == []


def test_who_is_outdone_again_and_again_comes_back_later(servers: Servers, updater: ContainerUpdater) -> None:
    servers.transport.answering = lambda request, body: {"X-Backend-Stats-Timestamp": at(9999)}
    servers.to_container("PUT", 1)
    run_once(updater)
    told(servers)
    run_once(updater)
    assert len(told(servers)) == 3 * TELLING_ATTEMPTS
    servers.transport.answering = lambda request, body: {}
    run_once(updater)
    assert len(told(servers)) == 3


def test_a_handoff_does_not_tell(servers: Servers) -> None:
    """What it lacks it would never get: the primaries get all that it has."""
    servers.to_container("PUT", 1)
    run_once(new_updater(servers, is_mine=False))
    assert told(servers) == []
    assert list((servers.device / "container_reports").iterdir()) == []
