"""Histories pause while copies may be lost, and what had not ended by then may or may not have been done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.linearizability import Kind, Operation, Result, Verdict
from tests.simulation.history import MESSAGE_SECONDS, QUIET_SECONDS, Attempt, Histories

NAME = "s0/h0"


class Cluster:
    """A world in which nothing happens, whose copies are all equal."""

    def __init__(self, value: str = "") -> None:
        self.hub = SimpleNamespace(now=0.0)
        self.when_disturbed: list[Any] = []
        self.is_undisturbed = True
        self.histories = Histories(self)  # type: ignore[arg-type]
        self.value: str | None = value
        inventory: Any = SimpleNamespace(copies_of=lambda _path: [], rows_of=lambda *_: {}, partition=lambda *_: 0)
        self.histories._inventory = inventory
        self.histories._value = lambda _copies: self.value  # type: ignore[method-assign]
        self.histories._is_listed_alike = lambda _name: True  # type: ignore[method-assign]

    def does(self, kind: Kind, value: str, result: Result = Result.DONE, seconds: float = 1.0) -> None:
        end = self.begins(kind, value)
        self.hub.now += seconds
        end(result, value)
        self.hub.now += 1.0

    def begins(self, kind: Kind, value: str) -> Any:
        return self.histories.begin(NAME, Attempt(kind, self.hub.now, 1, value))

    def disturb(self) -> None:
        for call in self.when_disturbed:
            call()

    def verdicts(self) -> list[Verdict]:
        return [each.verdict for each in self.histories.check()[NAME]]

    def operations(self) -> list[list[Operation]]:
        return [operations for _, operations in self.histories._objects[NAME].segments]


def test_what_was_read_must_have_been_written() -> None:
    cluster = Cluster()
    cluster.does(Kind.PUT, "a")
    cluster.does(Kind.READ, "a")
    assert cluster.verdicts() == [Verdict.LINEARIZABLE]
    cluster = Cluster()
    cluster.does(Kind.PUT, "a")
    cluster.does(Kind.PUT, "b")
    cluster.does(Kind.READ, "a")
    assert cluster.verdicts() == [Verdict.NOT_LINEARIZABLE]


def test_what_is_lost_while_copies_are_lost_is_not_missed() -> None:
    cluster = Cluster()
    cluster.does(Kind.PUT, "a")
    cluster.disturb()
    cluster.does(Kind.READ, "")
    cluster.value = "a"
    cluster.hub.now += QUIET_SECONDS
    cluster.does(Kind.READ, "a")
    assert cluster.verdicts() == [Verdict.LINEARIZABLE] * 2


def test_a_history_goes_on_from_what_all_copies_are() -> None:
    cluster = Cluster()
    cluster.does(Kind.PUT, "a")
    cluster.disturb()
    cluster.value = "b"
    cluster.hub.now += QUIET_SECONDS
    cluster.does(Kind.READ, "a")
    assert cluster.verdicts() == [Verdict.LINEARIZABLE, Verdict.NOT_LINEARIZABLE]


def test_it_does_not_go_on_while_copies_differ_or_somebody_is_at_work() -> None:
    cluster = Cluster()
    cluster.does(Kind.PUT, "a")
    cluster.disturb()
    cluster.value = None
    cluster.hub.now += QUIET_SECONDS
    cluster.does(Kind.READ, "x")
    cluster.value = "a"
    cluster.hub.now += QUIET_SECONDS - 2
    cluster.does(Kind.READ, "x")
    assert cluster.verdicts() == [Verdict.LINEARIZABLE]


def test_what_runs_when_it_pauses_may_have_been_done() -> None:
    cluster = Cluster()
    end = cluster.begins(Kind.PUT, "a")
    cluster.disturb()
    cluster.hub.now += 1.0
    end(Result.DONE, "a")
    cluster.hub.now += QUIET_SECONDS + 1
    cluster.does(Kind.READ, "a")
    cluster.histories.check()
    (first,), second = cluster.operations()
    assert first.result is Result.UNKNOWN
    assert [each.result for each in second] == [Result.UNKNOWN, Result.DONE]
    assert cluster.verdicts()[:2] == [Verdict.LINEARIZABLE] * 2


def test_no_message_is_late_for_ever() -> None:
    cluster = Cluster()
    cluster.does(Kind.PUT, "a", Result.UNKNOWN)
    cluster.disturb()
    cluster.hub.now += MESSAGE_SECONDS + 1
    cluster.does(Kind.READ, "a")
    assert cluster.verdicts() == [Verdict.LINEARIZABLE, Verdict.NOT_LINEARIZABLE]
