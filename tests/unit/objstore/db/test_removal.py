"""Replicas in the wrong place are given up when, and only when, every primary holds all of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from objstore.container.reports import report_of, store_report
from objstore.db.connection import DatabaseAbsent
from objstore.db.info import read_info, read_status, read_totals
from objstore.db.location import DatabaseLocation
from objstore.db.removal import Remover, same_as
from objstore.http.transport import BackendRequest
from objstore.paths import ResourcePath
from objstore.system import concurrency
from objstore.system.concurrency import Event, Task
from tests.doubles import ManualClock
from tests.unit.objstore.db.harness import NOW, row
from tests.unit.objstore.db.replicas import PATH, Replicas, ring_of

OTHER = ResourcePath("a", "other")


def handoff(replicas: Replicas) -> Any:
    """Node 4 holds a replica, with a row that nobody else has."""
    for number in (1, 2, 3, 4):
        replicas[number].put(1)
    replicas[4].update(row("o"))
    return replicas[4]


def test_a_handoff_is_emptied_when_all_primaries_have_it(replicas: Replicas) -> None:
    node = handoff(replicas)
    node.replicate()
    assert node.database_files() == []
    assert replicas.agree(1, 2, 3)
    assert replicas[1].names() == ["o"]
    assert list((node.device / "tmp").glob("removed-*")) == []
    assert list((node.device / "containers").iterdir()) == []
    assert node.counts["removed"] == 1


@pytest.mark.parametrize("trouble", ["down", "no device"])
def test_a_handoff_stays_while_a_primary_cannot_confirm(replicas: Replicas, trouble: str) -> None:
    node = handoff(replicas)
    replicas[2].up = trouble != "down"
    if trouble == "no device":
        replicas[2].device.rename(replicas[2].root / "gone")
        replicas[2].start()
    node.replicate()
    assert len(node.database_files()) == 1
    assert replicas[1].names() == ["o"]
    if trouble == "no device":
        (replicas[2].root / "gone").rename(replicas[2].device)
    replicas[2].up = True
    replicas[2].start()
    node.replicate()
    assert node.database_files() == []
    assert replicas.agree(1, 2, 3)


@pytest.mark.parametrize("position", range(9))
def test_a_row_that_arrives_while_the_handoff_is_emptied_is_not_lost(replicas: Replicas, position: int) -> None:
    """At each of the requests of the pass."""
    node = handoff(replicas)
    replicas.requests.clear()
    acknowledged = []

    def write(_: BackendRequest) -> None:
        if len(replicas.requests) == position + 1:
            acknowledged.append(node.update(row("late")))

    replicas.before = write
    node.replicate()
    assert acknowledged == [202]
    replicas.before = None
    assert len(node.database_files()) == 1
    node.replicate()
    assert node.database_files() == []
    assert replicas[1].names() == replicas[2].names() == replicas[3].names() == ["late", "o"]


def test_a_write_just_before_the_mark_stops_the_removal(replicas: Replicas) -> None:
    node = handoff(replicas)
    before = node.summary()
    remover = Remover(node.replicator.store, node.runtime)
    node.update(row("late"))
    assert remover.remove(node.location(), same_as(before)) is False
    assert node.names() == ["late", "o"]


def test_a_write_after_the_mark_is_not_acknowledged(replicas: Replicas) -> None:
    """Another process has the database open all the while."""
    node = handoff(replicas)
    with node.opened() as database:
        database.read(lambda connection: connection.execute("SELECT 1").fetchall())
        remover = Remover(node.replicator.store, node.runtime)
        assert remover.remove(node.location(), same_as(node.summary())) is True
        with pytest.raises(DatabaseAbsent):
            node.container._updates._run(node.location(), [[row("late")]])
    assert node.update(row("late")) == 404
    assert node.put(5) == 201
    assert node.update(row("late")) == 202
    assert node.names() == ["late"]


def test_who_has_the_old_file_open_finds_the_mark(replicas: Replicas) -> None:
    node = handoff(replicas)
    with node.opened() as database:
        Remover(node.replicator.store, node.runtime).remove(node.location(), same_as(node.summary()))
        with pytest.raises(DatabaseAbsent):
            database.read(read_info)


def test_a_removal_that_was_broken_off_is_finished(replicas: Replicas) -> None:
    node = handoff(replicas)
    with node.opened() as database:
        database.write(lambda connection: connection.execute("DELETE FROM resource").rowcount)
    assert node.request("HEAD").status == 404
    assert node.update(row("late")) == 404
    node.replicate()
    assert node.database_files() == []
    assert node.put(5) == 201


def test_two_that_rely_on_each_other_are_not_both_given_up(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rings that differ: each believes that the other one is the primary, and asks it for the promise."""
    first, second = replicas[1], replicas[2]
    first.rings.container, second.rings.container = ring_of((2,), replicas=1), ring_of((1,), replicas=1)
    for node in (first, second):
        node.put(1)
        node.update(row("o"))
    promised: Event[None] = Event()
    go_on: Event[None] = Event()
    remove = second.replicator._remover.remove

    def remove_later(place: DatabaseLocation, allowed: Any) -> bool:
        promised.set()
        go_on.wait(10)
        return remove(place, allowed)

    monkeypatch.setattr(second.replicator._remover, "remove", remove_later)
    tasks: list[Task[None]] = []

    def cross(request: BackendRequest) -> None:
        """When the first one is about to ask, the second one has just been promised."""
        if "step=merge" in request.query and not tasks:
            tasks.append(concurrency.spawn(second.replicate))
            promised.wait(10)

    replicas.before = cross
    first.replicate()
    go_on.set()
    tasks[0].wait()
    assert first.database_files() and second.database_files()


def test_a_primary_that_was_wiped_after_it_had_all_does_not_promise(replicas: Replicas) -> None:
    node = handoff(replicas)
    merges = 0

    def wipe(request: BackendRequest) -> None:
        nonlocal merges
        merges += "step=merge" in request.query
        if merges == 4:  # all rows are sent, and the first promise is asked for
            merges = 5
            replicas[3].wipe()
            replicas[3].put(1)

    replicas.before = wipe
    node.replicate()
    assert merges > 4
    assert node.names() == ["o"]


def test_who_has_forgotten_a_deleted_container_is_not_reminded(replicas: Replicas) -> None:
    for number in (1, 2, 3):
        replicas[number].put(1)
        replicas[number].request("DELETE", 50)
    replicas.clock.seconds = NOW + 8 * 86400
    replicas[2].wipe()
    replicas[3].up = False
    replicas.replicate(1)
    assert replicas[2].database_files() == []
    assert replicas[1].database_files()


def test_a_replica_in_the_wrong_partition_moves_to_the_right_one(replicas: Replicas) -> None:
    for number in (1, 2, 3):
        replicas[number].put(1)
        replicas[number].update(row("o"))
    node = replicas[1]
    right = node.location()
    wrong = node.device / "containers" / "15" / right.hash[-3:]
    assert right.partition != "15"
    wrong.mkdir(parents=True)
    node.container.store._open.clear()
    Path(right.directory).rename(wrong / right.hash)
    node.start()
    node.replicate()
    node.replicate()
    assert [str(file) for file in node.database_files()] == [right.file]
    assert node.names() == ["o"]


def test_a_lost_device_is_stood_in_for(replicas: Replicas) -> None:
    for node in replicas.nodes.values():
        node.rings.container = ring_of((1, 2, 3, 4))
    primaries = [device.id for device in replicas[1].rings.container.primaries(int(replicas[1].location().partition))]
    (spare,) = {1, 2, 3, 4} - set(primaries)
    for number in primaries:
        replicas[number].put(1)
        replicas[number].update(row("o"))
    lost = replicas[primaries[2]]
    lost.device.rename(lost.root / "gone")
    lost.start()
    replicas.replicate(primaries[0])
    assert replicas[spare].names() == ["o"]
    replicas.replicate(spare)
    assert len(replicas[spare].database_files()) == 1
    lost.device.mkdir()
    lost.start()
    replicas.replicate(spare)
    replicas.replicate(spare)
    assert replicas[spare].database_files() == []
    assert lost.names() == ["o"]


def test_deleted_containers_are_forgotten_when_all_agree(replicas: Replicas) -> None:
    for number in (1, 2, 3):
        replicas[number].put(1)
    replicas[1].request("DELETE", 50)
    replicas.clock.seconds = NOW + 8 * 86400
    replicas[3].up = False
    replicas.replicate(1, 2)
    assert all(replicas[number].database_files() for number in (1, 2, 3))
    replicas[3].up = True
    settle(replicas)
    replicas.replicate()
    assert all(not replicas[number].database_files() for number in (1, 2, 3))


def settle(replicas: Replicas, path: ResourcePath = PATH) -> None:
    """The account has heard of how they stand."""
    replicas.replicate()
    for number in (1, 2, 3):
        if replicas[number].database_files():
            with replicas[number].opened(path) as database:
                database.write(lambda c: store_report(c, report_of(read_status(c), read_totals(c))))


def test_what_one_clock_takes_for_recent_nobody_forgets(replicas: Replicas) -> None:
    slow = ManualClock(running=True)
    replicas[3].runtime = replace(replicas[3].runtime, clock=slow)
    for number in (1, 2, 3):
        replicas[number].start()
        replicas[number].put(1)
        replicas[number].update(row("o", 2, deleted=True))
        replicas[number].request("PUT", 1, path=OTHER)
        replicas[number].request("DELETE", 50, path=OTHER)
    settle(replicas, OTHER)
    replicas.clock.seconds = NOW + 8 * 86400
    slow.seconds = NOW + 6 * 86400
    for _ in range(2):
        replicas.replicate()
        for number in (1, 2, 3):
            assert len(replicas[number].database_files()) == 2
            assert replicas[number].rows()
    slow.seconds = replicas.clock.seconds = NOW + 10 * 86400
    replicas.replicate()
    for number in (1, 2, 3):
        assert len(replicas[number].database_files()) == 1
        assert replicas[number].rows() == []


def test_a_deletion_that_the_account_has_not_heard_of_is_kept(replicas: Replicas) -> None:
    for number in (1, 2, 3):
        replicas[number].put(1)
        replicas[number].request("DELETE", 50)
    replicas.clock.seconds = NOW + 8 * 86400
    replicas.replicate()
    assert all(replicas[number].database_files() for number in (1, 2, 3))


def test_a_handoff_gives_an_old_deletion_to_primaries_that_have_nothing(replicas: Replicas) -> None:
    node = handoff(replicas)
    node.update(row("o", 2, deleted=True))
    node.request("DELETE", 50)
    for number in (1, 2, 3):
        replicas[number].wipe()
    replicas.clock.seconds = NOW + 8 * 86400
    node.replicate()
    assert node.database_files() == []
    assert all(replicas[number].request("HEAD").status == 404 for number in (1, 2, 3))
    settle(replicas)
    replicas.replicate()
    assert all(not replicas[number].database_files() for number in (1, 2, 3))


def test_a_deleted_container_is_not_brought_back_by_an_old_replica(replicas: Replicas) -> None:
    for number in (1, 2, 3, 4):
        replicas[number].put(1)
        replicas[number].update(row("o"))
    replicas.replicate(1, 2, 3)
    for number in (1, 2, 3):
        replicas[number].update(row("o", 2, deleted=True))
        assert replicas[number].request("DELETE", 50).status == 204
    replicas.replicate(4)
    replicas.replicate()
    assert all(replicas[number].request("HEAD").status == 404 for number in (1, 2, 3))


def test_what_crashes_left_is_cleaned_up(replicas: Replicas) -> None:
    folder = replicas[1].device / "tmp"
    (folder / "removed-0123" / "sub").mkdir(parents=True)
    old, young, other = folder / "a.db.1.1.tmp", folder / "b.db.1.1.tmp", folder / "other"
    for path in (old, young, other):
        path.touch()
        os.utime(path, (NOW - 86400, NOW - 86400))
    os.utime(young, (NOW, NOW))
    replicas.replicate(1)
    assert sorted(path.name for path in folder.iterdir()) == ["b.db.1.1.tmp", "other"]
