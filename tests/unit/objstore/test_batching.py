"""Batches form from what arrives while one is under way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from objstore.batching import BatchAbandoned, Batcher, BatcherFull
from objstore.system import concurrency
from objstore.system.concurrency import Event, Task


class Gate:
    """A batch function that waits to be let through and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.opened: list[Event[None]] = []

    def __call__(self, items: list[int]) -> Sequence[int | Exception]:
        self.batches.append(items)
        gate: Event[None] = Event()
        self.opened.append(gate)
        gate.wait()
        return [item * 10 if item >= 0 else ValueError(item) for item in items]

    def open_last(self) -> None:
        self.opened[-1].set()
        turn()


def turn() -> None:
    for _ in range(5):
        concurrency.sleep(0)


def start(batcher: Batcher[int, int], *items: int) -> list[Task[int]]:
    tasks = [concurrency.spawn(batcher.submit, item) for item in items]
    turn()
    return tasks


def test_what_arrives_meanwhile_goes_together() -> None:
    gate = Gate()
    batcher = Batcher(gate, max_items=10)
    tasks = start(batcher, 1) + start(batcher, 2, 3, 4)
    assert gate.batches == [[1]]
    gate.open_last()
    assert gate.batches == [[1], [2, 3, 4]]
    gate.open_last()
    assert [task.wait() for task in tasks] == [10, 20, 30, 40]
    assert batcher.idle


def test_a_batch_holds_no_more_than_the_maximum() -> None:
    gate = Gate()
    batcher = Batcher(gate, max_items=2)
    tasks = start(batcher, 1) + start(batcher, 2, 3, 4)
    for _ in range(3):
        gate.open_last()
    assert gate.batches == [[1], [2, 3], [4]]
    assert [task.wait() for task in tasks] == [10, 20, 30, 40]


def test_each_caller_gets_its_own_error() -> None:
    gate = Gate()
    batcher = Batcher(gate, max_items=10)
    tasks = start(batcher, 1) + start(batcher, -2, 3)
    gate.open_last()
    gate.open_last()
    assert tasks[2].wait() == 30
    with pytest.raises(ValueError, match="-2"):
        tasks[1].wait()


def test_an_error_of_the_batch_reaches_all_its_callers_and_no_other() -> None:
    calls: list[list[int]] = []
    started: Event[None] = Event()

    def run(items: list[int]) -> list[int]:
        calls.append(items)
        if len(calls) == 1:
            started.wait()
        if len(calls) == 2:
            raise OSError("disk")
        return items

    batcher = Batcher(run, max_items=2)
    tasks = start(batcher, 1) + start(batcher, 2, 3, 4)
    started.set()
    turn()
    assert tasks[0].wait() == 1
    assert tasks[3].wait() == 4
    for task in tasks[1:3]:
        with pytest.raises(OSError, match="disk"):
            task.wait()


def test_too_many_are_refused() -> None:
    gate = Gate()
    batcher = Batcher(gate, max_items=10, queued_max=2)
    tasks = start(batcher, 1, 2, 3)
    with pytest.raises(BatcherFull):
        batcher.submit(4)
    gate.open_last()
    gate.open_last()
    assert [task.wait() for task in tasks] == [10, 20, 30]


def test_a_killed_leader_fails_its_batch_and_the_next_goes_on() -> None:
    gate = Gate()
    batcher = Batcher(gate, max_items=2)
    first = start(batcher, 1)
    tasks = start(batcher, 2, 3, 4)
    gate.open_last()
    assert gate.batches[-1] == [2, 3]
    tasks[0].kill()
    turn()
    gate.open_last()
    assert first[0].wait() == 10
    with pytest.raises(BatchAbandoned):
        tasks[1].wait()
    assert tasks[2].wait() == 40
    assert batcher.idle


def test_a_killed_follower_leaves_the_queue() -> None:
    gate = Gate()
    batcher = Batcher(gate, max_items=10)
    first = start(batcher, 1)
    tasks = start(batcher, 2, 3)
    tasks[0].kill()
    turn()
    gate.open_last()
    gate.open_last()
    assert gate.batches == [[1], [3]]
    assert (first[0].wait(), tasks[1].wait()) == (10, 30)


def test_a_follower_killed_just_as_it_is_to_lead_passes_the_lead_on() -> None:
    gate = Gate()
    batcher = Batcher(gate, max_items=10)
    first = start(batcher, 1)
    tasks = start(batcher, 2, 3)
    gate.opened[-1].set()
    tasks[0].kill()
    turn()
    if gate.opened and not gate.opened[-1].is_set:
        gate.open_last()
    assert first[0].wait() == 10
    turn()
    if not gate.opened[-1].is_set:
        gate.open_last()
    assert tasks[1].wait() == 30
    assert batcher.idle
