"""What has not changed costs next to nothing: how much of a device the replicator looks into."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from objstore.daemon import UnchangedPasses, run_once
from objstore.object.file_engine.suffixes import Inventory
from objstore.system.clock import Clock
from tests.unit.object.replication.cluster import PARTITION, Replicas

INTERVAL_SECONDS = 30.0


class SameClock(Clock):
    """Measures intervals by the time of day that the replicas have."""

    def __init__(self, replicas: Replicas) -> None:
        super().__init__()
        self.replicas = replicas

    def monotonic(self) -> float:
        return self.replicas.clock.seconds


class Idle:
    """The replicator of the first server, woken up every 30 seconds; counts how often it reads digests."""

    def __init__(self, replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
        self.replicas = replicas
        self.worker = replicas.replicator(0)
        self.unchanged = UnchangedPasses(self.worker, INTERVAL_SECONDS, SameClock(replicas))
        self.reads = 0
        original = Inventory.digests

        def digests(inventory: Inventory, directory: str, *arguments: Any) -> Any:
            self.reads += directory.startswith(str(replicas.servers[0].root))
            return original(inventory, directory, *arguments)

        monkeypatch.setattr(Inventory, "digests", digests)

    def reads_in(self, wake_ups: int) -> int:
        """How often it reads digests, its server's answers to others not among them."""
        before = self.reads
        for _ in range(wake_ups):
            if not self.unchanged.may_skip():
                run_once(self.worker)
                self.unchanged.ended()
            self.replicas.pass_time(INTERVAL_SECONDS)
        return self.reads - before


@pytest.fixture
def idle(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> Idle:
    for number in range(3):
        replicas.put(number, "o", 1)
    return Idle(replicas, monkeypatch)


def test_what_does_not_change_is_looked_at_every_five_minutes(idle: Idle) -> None:
    idle.reads_in(20)
    assert idle.reads_in(100) == 10


def put(replicas: Replicas) -> None:
    replicas.put(0, "another", 1)


def quarantine(replicas: Replicas) -> None:
    directory = replicas.directory(0, "o")
    target = replicas.servers[0].root / "sda/quarantined/objects"
    target.mkdir(parents=True)
    directory.rename(target / directory.name)


def lose_the_partition(replicas: Replicas) -> None:
    top = replicas.servers[0].root / "sda/objects"
    (top / str(PARTITION)).rename(top.parent / "lost")


def new_ring(replicas: Replicas) -> None:
    replicas.use(replicas.ring_of(range(3), version=2))


@pytest.mark.parametrize("change", [quarantine, new_ring])
def test_a_change_that_shows_from_outside_is_followed_by_a_pass(idle: Idle, change: Callable[[Replicas], None]) -> None:
    idle.reads_in(20)
    change(idle.replicas)
    assert idle.reads_in(1) == 1


def test_a_file_that_a_read_has_missed_is_back_after_the_next_wake_up(idle: Idle) -> None:
    replicas = idle.replicas
    for number in range(3):
        os.utime(replicas.directory(number, "o").parent, (1, 1))  # its digest is old enough to be kept
    idle.reads_in(20)
    (lost,) = replicas.directory(0, "o").iterdir()
    lost.unlink()
    assert idle.reads_in(1) == 0
    assert replicas.stored(0, "o") is None
    assert idle.reads_in(1) == 1
    assert lost.exists()


def test_a_new_partition_is_looked_at_with_the_next_wake_up(idle: Idle) -> None:
    lose_the_partition(idle.replicas)
    idle.reads_in(20)
    put(idle.replicas)
    assert idle.reads_in(1) == 1
    assert idle.replicas.files(0) == idle.replicas.files(1) != {}


def test_while_anything_is_written_every_wake_up_is_followed_by_a_pass(idle: Idle) -> None:
    idle.reads_in(20)
    for second in range(100, 130):
        for number in range(3):
            idle.replicas.put(number, "o", second)
        idle.reads_in(1)
    assert idle.reads_in(1) == 1


def test_while_a_server_is_away_every_wake_up_is_followed_by_a_pass(idle: Idle) -> None:
    idle.replicas.servers[1].down = True
    idle.reads_in(20)
    assert idle.reads_in(10) == 10
