"""What has not changed costs next to nothing: how many databases an idle replicator reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from objstore.daemon import UnchangedPasses, run_once
from objstore.db import replicator
from objstore.db.location import DatabaseLocation
from objstore.system.clock import Clock
from objstore.system.threads import ThreadGroup
from tests.unit.objstore.db.harness import row
from tests.unit.objstore.db.replicas import Replicas

INTERVAL_SECONDS = 30.0


class HandClock(Clock):
    """A clock that is set by hand."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Idle:
    """The container replicator of the first node, woken up every 30 seconds; counts the databases it reads."""

    def __init__(self, replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
        self.worker = replicas[1].replicator
        self.clock = HandClock()
        self.unchanged = UnchangedPasses(self.worker, INTERVAL_SECONDS, self.clock)
        self.reads = 0
        original = replicator.peek_by_device

        def peek(places: Sequence[DatabaseLocation], threads: ThreadGroup) -> Any:
            self.reads += len(places)
            return original(places, threads)

        monkeypatch.setattr(replicator, "peek_by_device", peek)

    def reads_in(self, wake_ups: int) -> int:
        before = self.reads
        for _ in range(wake_ups):
            if not self.unchanged.may_skip():
                run_once(self.worker)
                self.unchanged.ended()
            self.clock.seconds += INTERVAL_SECONDS
        return self.reads - before


@pytest.fixture
def idle(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> Idle:
    for number in (1, 2, 3):
        assert replicas[number].put(1) == 201
    replicas.replicate()
    return Idle(replicas, monkeypatch)


def test_databases_that_do_not_change_are_read_every_five_minutes(idle: Idle) -> None:
    idle.reads_in(20)
    assert idle.reads_in(100) == 10


def test_while_rows_are_written_databases_are_read_with_every_wake_up(idle: Idle, replicas: Replicas) -> None:
    idle.reads_in(20)
    for second in range(10):
        for number in (1, 2, 3):
            replicas[number].update(row("o", second + 10))
        idle.reads_in(1)
    assert idle.reads_in(1) == 1


def test_while_a_node_is_away_databases_are_read_with_every_wake_up(idle: Idle, replicas: Replicas) -> None:
    replicas[2].up = False
    idle.reads_in(20)
    assert idle.reads_in(10) == 10
