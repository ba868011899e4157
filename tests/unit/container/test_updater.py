"""The container updater: accounts learn of changed figures, and only of those."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from objstore.config.container import ContainerUpdaterConfig
from objstore.container import updater as updater_module
from objstore.container.updater import SWEEP_INTERVAL_SECONDS, TELLING_ATTEMPTS, ContainerUpdater
from objstore.daemon import Step, run_once
from objstore.devices import Device
from objstore.recon import Recon, ReconFolder
from objstore.ring.builder import build_ring
from objstore.rows import ContainerRow, decode_container_rows
from tests.unit.daemon_context import NoRecon
from tests.unit.objstore.db.harness import Servers, at, row

RING = build_ring(
    [Device(i, 1, i, f"10.0.0.{i}", 6202, f"10.0.0.{i}", 6202, f"sd{i}", 1.0) for i in range(3)], 4, 3, seed=1
)


CONTAINER_RING = build_ring([Device(0, 1, 0, "10.0.0.9", 6201, "10.0.0.9", 6201, "sda", 1.0)], 4, 1, seed=1)


def new_updater(
    servers: Servers, is_mine: bool = True, recon: Recon | None = None, suppression: float = 0.0, **options: int
) -> ContainerUpdater:
    rings = SimpleNamespace(account=RING, container=CONTAINER_RING)
    context = servers.context(rings=rings, is_mine=lambda device: is_mine, recon=recon or NoRecon())
    config = ContainerUpdaterConfig(account_suppression_time=suppression, **options)
    return ContainerUpdater(config, context, 3.0)


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


def test_what_only_some_have_heard_is_outdone_although_it_is_true_again(
    servers: Servers, updater: ContainerUpdater
) -> None:
    """One account server has the figures of a report that did not count; its replicas take them over."""
    servers.to_container("PUT", 1)
    run_once(updater)
    servers.update([row("o", size=7)])
    servers.transport.status_of = {"sd0": 503, "sd1": 503}
    run_once(updater)
    servers.update([row("o", 3, deleted=True)])
    servers.transport.status_of = {}
    told(servers)
    run_once(updater)
    assert [each.object_count for each in told(servers)] == [0, 0, 0]


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
    servers.transport.headers_of = lambda request, body: dict(
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
    servers.transport.headers_of = lambda request, body: {"X-Backend-Stats-Timestamp": at(9999)}
    servers.to_container("PUT", 1)
    run_once(updater)
    told(servers)
    run_once(updater)
    assert len(told(servers)) == 3 * TELLING_ATTEMPTS
    servers.transport.headers_of = lambda request, body: {}
    run_once(updater)
    assert len(told(servers)) == 3


def test_a_handoff_does_not_tell(servers: Servers) -> None:
    """What it lacks it would never get: the primaries get all that it has."""
    servers.to_container("PUT", 1)
    run_once(new_updater(servers, is_mine=False))
    assert told(servers) == []
    assert list((servers.device / "container_reports").iterdir()) == []


def counts(recon: ReconFolder) -> dict[str, int]:
    """What the last pass did."""
    found: dict[str, int] = recon.read("container-updater")["counts"]
    return found


def test_operators_see_what_a_pass_did(servers: Servers, tmp_path: Path) -> None:
    recon = ReconFolder(str(tmp_path / "recon"))
    updater = new_updater(servers, recon=recon)
    for name in ("c", "d"):
        servers.to_container("PUT", 1, path=f"/sda/5/a/{name}")
    run_once(updater)
    report = recon.read("container-updater")
    assert report["pass_seconds"] >= 0
    assert report["remaining_seconds"] == 0
    assert counts(recon) == {"told": 2}
    run_once(updater)
    assert counts(recon) == {}
    servers.transport.status = 503
    servers.to_container("DELETE", 2)
    run_once(updater)
    assert counts(recon) == {"kept": 1}


def test_an_account_that_took_no_report_is_left_alone_for_a_while(servers: Servers, tmp_path: Path) -> None:
    recon = ReconFolder(str(tmp_path / "recon"))
    updater = new_updater(servers, recon=recon, suppression=60, concurrency=1)
    run_once(updater)
    for path in ("/sda/5/a/c", "/sda/5/a/d", "/sda/5/b/e"):
        servers.to_container("PUT", 1, path=path)
    servers.transport.status = 503
    run_once(updater)
    assert {request.path.account for request, _ in servers.transport.requests} == {"a", "b"}
    assert len(servers.transport.requests) == 3 * 2
    assert counts(recon) == {"kept": 2, "suppressed": 1}
    servers.transport.requests.clear()
    servers.transport.status = 202
    servers.clock.elapsed = 30
    run_once(updater)
    assert servers.transport.requests == []
    assert counts(recon) == {"suppressed": 3}
    servers.clock.elapsed = 61
    run_once(updater)
    assert counts(recon) == {"told": 3}


def test_accounts_left_alone_are_forgotten(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updater_module, "SUPPRESSED_MAX", 2)
    updater = new_updater(servers, suppression=60)
    servers.transport.status = 503
    for account in "abcdefg":
        servers.to_container("PUT", 1, path=f"/sda/5/{account}/c")
    run_once(updater)
    assert 0 < len(updater._suppressed) <= 2


@pytest.mark.parametrize("sweep", [True, False])
def test_as_many_at_a_time_and_in_a_second_as_it_is_told(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, sweep: bool
) -> None:
    updater = new_updater(servers, concurrency=3, containers_per_second=20)
    spent: list[float] = []
    monkeypatch.setattr(updater._rate, "acquire", spent.append)
    if not sweep:
        run_once(updater)
    for partition in range(1, 8):
        servers.to_container("PUT", 1, path=f"/sda/{partition}/a/c{partition}")
    run_once(updater)
    assert spent == [3, 3, 1]
    assert len(told(servers)) == 7 * 3
    assert updater._rate._per_second == 20


def test_a_device_that_fails_holds_no_other_back(
    servers: Servers, updater: ContainerUpdater, monkeypatch: pytest.MonkeyPatch
) -> None:
    (servers.root / "broken").mkdir()
    (servers.root / "broken/container_reports").write_bytes(b"no folder")
    run_once(updater)
    servers.to_container("PUT", 1)
    run_once(updater)
    assert len(told(servers)) == 3
