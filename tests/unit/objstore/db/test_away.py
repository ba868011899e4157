"""Whether a device was away: what it brings back then, and nobody knows, is set aside."""

from __future__ import annotations

import shutil

from tests.unit.objstore.db.harness import NOW, row
from tests.unit.objstore.db.replicas import ReplicaNode, Replicas, ring_of


def handoff(replicas: Replicas) -> ReplicaNode:
    """Node 4 holds a replica, with a row that nobody else has."""
    for number in (1, 2, 3, 4):
        replicas[number].put(1)
    replicas.replicate()
    replicas[4].update(row("o"))
    return replicas[4]


def forget(replicas: Replicas, days: int = 10) -> None:
    """The primaries have deleted and forgotten it, and were in service all the while."""
    for number in (1, 2, 3):
        shutil.rmtree(replicas[number].device / "containers", ignore_errors=True)
        replicas[number].start()
    for _ in range(0, days, 2):
        replicas.clock.seconds += 2 * 86400
        replicas.replicate()


def test_what_everybody_forgot_while_a_device_was_away_stays_forgotten(replicas: Replicas) -> None:
    node = handoff(replicas)
    node.rings.container = ring_of((4,), replicas=1)
    node.replicate()  # notes that it was here
    forget(replicas)
    node.rings.container = ring_of((1, 2, 3))
    node.start()
    node.replicate()
    assert node.database_files() == []
    assert len(list((node.device / "quarantined" / "containers").iterdir())) == 1
    assert all(not replicas[number].database_files() for number in (1, 2, 3))


def test_a_device_that_was_never_away_gives_what_only_it_has(replicas: Replicas) -> None:
    node = handoff(replicas)
    node.rings.container = ring_of((4,), replicas=1)
    for number in (1, 2, 3):
        replicas[number].wipe()
    replicas.clock.seconds = NOW + 30 * 86400
    node.replicate()
    node.rings.container = ring_of((1, 2, 3))
    node.start()
    node.replicate()
    node.replicate()
    assert node.database_files() == []
    assert replicas[1].names() == ["o"]


def test_a_device_that_was_cut_off_was_away(replicas: Replicas) -> None:
    node = handoff(replicas)
    node.rings.container = ring_of((4,), replicas=1)
    node.replicate()
    node.rings.container = ring_of((1, 2, 3))
    for _ in range(5):
        for number in (1, 2, 3):
            replicas[number].up = False
        node.replicate()
        assert node.counts["failed"]
        for number in (1, 2, 3):
            replicas[number].up = True
        forget(replicas, 2)
    node.replicate()
    assert node.counts["set_aside"] == 1
    assert all(not replicas[number].database_files() for number in (1, 2, 3))


def test_what_may_have_been_forgotten_is_held_back_until_all_can_be_asked(replicas: Replicas) -> None:
    node = handoff(replicas)
    node.rings.container = ring_of((4,), replicas=1)
    node.replicate()
    forget(replicas)
    node.rings.container = ring_of((1, 2, 3))
    node.start()
    replicas[2].up = False
    for _ in range(3):
        node.replicate()
        assert len(node.database_files()) == 1
        assert all(not replicas[number].database_files() for number in (1, 2, 3))
    replicas[2].up = True
    node.replicate()
    assert node.counts["set_aside"] == 1


def test_what_was_written_while_the_only_peer_was_away_is_kept(replicas: Replicas) -> None:
    for number in (1, 2):
        replicas[number].rings.container = ring_of((1, 2), replicas=2)
    replicas.replicate(1, 2)
    replicas[2].up = False
    replicas.clock.seconds += 3600
    assert replicas[1].put(3600) == 201
    replicas[1].update(row("o", 3600))
    for _ in range(5):
        replicas.clock.seconds += 2 * 86400
        replicas[1].replicate()
    replicas[2].up = True
    replicas[1].start()
    replicas.replicate(1, 2)
    assert replicas[1].names() == replicas[2].names() == ["o"]


def test_a_row_that_was_written_since_keeps_its_database(replicas: Replicas) -> None:
    """One peer after the other is cut off; the one that was in service all the while does not know the container."""
    node = handoff(replicas)
    node.rings.container = ring_of((4,), replicas=1)
    node.replicate()
    forget(replicas)
    node.update(row("new", 11 * 86400))
    node.rings.container = ring_of((1, 2, 3))
    node.start()
    node.replicate()
    node.replicate()
    assert replicas[1].names() == ["new", "o"]


def test_who_was_away_too_is_no_witness(replicas: Replicas) -> None:
    """All were switched off; one has missed the container, and another has lost its disk."""
    for number in (1, 2, 3):
        replicas[number].put(1)
    replicas.replicate()
    shutil.rmtree(replicas[1].device / "containers")
    replicas.clock.seconds += 9 * 86400
    replicas[2].wipe()
    replicas[1].start()
    replicas[3].start()
    replicas.replicate(1, 3)
    replicas.replicate(3)
    assert all(replicas[number].names() == [] for number in (1, 2, 3))


def test_who_is_new_does_not_make_the_last_replica_a_stranger(replicas: Replicas) -> None:
    """All its peers were gone for longer than the reclaim age, and have come back empty; one has ended a pass since."""
    for number in (1, 2, 3):
        replicas[number].put(1)
    replicas[3].update(row("o"))
    replicas.replicate()
    replicas[1].up = replicas[2].up = False
    for _ in range(2):
        replicas.clock.seconds += 5 * 86400
        replicas[3].replicate()
    for number in (1, 2):
        replicas[number].up = True
        replicas[number].wipe()
    replicas[1].put(11 * 86400)
    replicas.replicate(1)
    shutil.rmtree(replicas[1].device / "containers")
    replicas[1].start()
    replicas.replicate(3)
    assert "set_aside" not in replicas[3].counts
    assert all(replicas[number].names() == ["o"] for number in (1, 2, 3))


def come_back(replicas: Replicas, number: int) -> ReplicaNode:
    """A primary was away for longer than the reclaim age, and is back."""
    for each in (1, 2, 3):
        replicas[each].put(1)
        replicas[each].update(row("o"))
    replicas.replicate()
    replicas.clock.seconds += 8 * 86400
    replicas[number].start()
    return replicas[number]


def test_who_is_back_and_was_in_sync_gives_what_only_it_has(replicas: Replicas) -> None:
    node = come_back(replicas, 3)
    replicas[2].up = False
    node.replicate()  # with one of its peers
    replicas[2].up = True
    for number in (1, 2):
        replicas[number].wipe()
    node.replicate()
    assert all(replicas[number].names() == ["o"] for number in (1, 2, 3))


def test_a_dead_disk_elsewhere_keeps_no_other_away(replicas: Replicas) -> None:
    for number in (1, 2):
        replicas[number].rings.container = ring_of((1, 2), replicas=2)
        replicas[number].put(1)
        replicas[number].update(row("o"))
    replicas.replicate(1, 2)
    replicas[2].device.rename(replicas[2].root / "gone")
    replicas[2].start()
    for _ in range(2):
        replicas.clock.seconds += 4 * 86400
        replicas[1].replicate()
        assert replicas[1].counts["failed"]
    replicas[2].device.mkdir()  # a new one
    replicas[2].start()
    replicas[1].start()
    replicas[1].replicate()
    assert replicas[2].names() == ["o"]


def test_what_lies_in_the_partition_of_a_former_ring_is_not_set_aside(replicas: Replicas) -> None:
    node = come_back(replicas, 3)
    for number in (1, 2):
        replicas[number].wipe()
    for number in (1, 2, 3):
        replicas[number].rings.container = ring_of((1, 2, 3), part_power=5)
    node.replicate()
    assert "set_aside" not in node.counts
    assert all(replicas[number].names() == ["o"] for number in (1, 2, 3))
