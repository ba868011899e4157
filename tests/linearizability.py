"""Whether a history of one object is linearizable: as if its operations had been done one after the other.

The search of Wing and Gong (1993) with the memory of Lowe (2017): an operation may come next if no other one that is
left ended before it began; sets of done operations that led to the same state are not searched twice. An operation
whose outcome its client does not know may have taken effect at any time after its beginning, or never.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

ABSENT: Final = ""


class Verdict(enum.Enum):
    """UNDECIDED: the time was not enough to search all orders."""

    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not linearizable"
    UNDECIDED = "undecided"


class Kind(enum.Enum):
    """What is done to an object."""

    READ = "read"
    PUT = "put"
    DELETE = "delete"


class Result(enum.Enum):
    """What its client knows: it was done; its condition failed; nothing."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Operation:
    """One operation, from the moment it began to that of its answer (infinity without one), in any unit.

    value: what a PUT writes, or a read has found; each write has its own, and ABSENT stands for no object. A DELETE has
    the value that it found: ABSENT if there was nothing to delete, "?" if it does not say. if_absent, if_match: the
    condition of a write; None for none.
    """

    kind: Kind
    began: float
    ended: float
    value: str = ABSENT
    if_absent: bool = False
    if_match: str | None = None
    result: Result = Result.DONE
    client: int = 0

    @property
    def until(self) -> float:
        return math.inf if self.result is Result.UNKNOWN else self.ended

    @property
    def changes_nothing(self) -> bool:
        """Whatever the state is. A DELETE of what is absent is another matter: it may have deleted what came first."""
        return self.kind is Kind.READ or self.result is Result.REFUSED

    def __str__(self) -> str:
        condition = " if absent" if self.if_absent else "" if self.if_match is None else f" if {self.if_match}"
        times = f"{self.began:.4f}..{self.ended:.4f}"
        return f"{times} client {self.client}: {self.kind.value} {self.value or '-'}{condition}: {self.result.value}"


def applied(state: str, operation: Operation) -> str | None:
    """The state after the operation, if it can have had its result in this state; else None."""
    kind, result = operation.kind, operation.result
    if kind is Kind.READ:
        return state if result is Result.UNKNOWN or operation.value == state else None
    holds = (not operation.if_absent or state == ABSENT) and operation.if_match in (None, state)
    if operation.if_match is not None and state == ABSENT:
        holds = False
    if result is Result.REFUSED:
        return None if holds else state
    if not holds:
        return state if result is Result.UNKNOWN else None
    if kind is Kind.PUT:
        return operation.value
    if result is Result.DONE and operation.value != "?" and (operation.value == ABSENT) != (state == ABSENT):
        return None
    return ABSENT


@dataclass
class Finding:
    """The verdict on a history; if it is none, the longest order that was found, and what could not follow it."""

    verdict: Verdict
    order: list[Operation]
    stuck: list[Operation]

    def __str__(self) -> str:
        lines = [f"{self.verdict.value}; the longest order has {len(self.order)} operations, and ends with"]
        lines += [f"  {each}" for each in self.order[-12:]]
        return "\n".join([*lines, "after which none of these can come", *(f"  {each}" for each in self.stuck)])


def check(history: Sequence[Operation], seconds: float = 30.0, initial: str = ABSENT) -> Finding:
    """Search for an order; gives up after so many seconds."""
    return _Search(sorted(history, key=lambda each: each.began), initial).run(time.monotonic() + seconds)


@dataclass
class _Step:
    state: str
    done: int  # a bit for each operation
    chosen: int
    choices: Iterator[int]


class _Search:
    def __init__(self, operations: Sequence[Operation], initial: str) -> None:
        self._operations = operations
        self._initial = initial
        self._must = sum(1 << i for i, each in enumerate(operations) if each.result is not Result.UNKNOWN)
        self._best: list[int] = []

    def run(self, deadline: float) -> Finding:
        steps = [_Step(self._initial, 0, -1, iter(self._candidates(self._initial, 0)))]
        seen = {(0, self._initial)}
        rounds = 0
        while steps:
            top = steps[-1]
            if top.done & self._must == self._must:
                return self._finding(Verdict.LINEARIZABLE, [step.chosen for step in steps[1:]])
            if len(steps) - 1 > len(self._best):
                self._best = [step.chosen for step in steps[1:]]
            rounds += 1
            if rounds % 1024 == 0 and time.monotonic() > deadline:
                return self._finding(Verdict.UNDECIDED, self._best)
            index = next(top.choices, None)
            if index is None:
                steps.pop()
                continue
            state = applied(top.state, self._operations[index])
            assert state is not None
            done = top.done | 1 << index
            if (done, state) not in seen:
                seen.add((done, state))
                steps.append(_Step(state, done, index, iter(self._candidates(state, done))))
        return self._finding(Verdict.NOT_LINEARIZABLE, self._best)

    def _candidates(self, state: str, done: int) -> list[int]:
        """Which may come next; one alone if it can never change anything, since taking it at once loses no order."""
        found = []
        for index in self._open(done):
            operation = self._operations[index]
            after = applied(state, operation)
            if after is None:
                continue
            if operation.changes_nothing:
                return [index]
            if after == state and operation.result is Result.UNKNOWN:
                continue  # it may as well come later, or never
            found.append(index)
        found.sort(key=lambda index: self._operations[index].until)
        return found

    def _open(self, done: int) -> list[int]:
        """Those that are not done, and began before any other of these ended."""
        found, limit = [], math.inf
        for index in range((~done & (done + 1)).bit_length() - 1, len(self._operations)):
            operation = self._operations[index]
            if operation.began > limit:
                break
            if not done >> index & 1:
                found.append(index)
                limit = min(limit, operation.until)
        return found

    def _finding(self, verdict: Verdict, order: Sequence[int]) -> Finding:
        done = sum(1 << index for index in order)
        operations = self._operations
        stuck = [operations[index] for index in self._open(done)]
        return Finding(verdict, [operations[index] for index in order], stuck)
