"""What clients saw of a few objects, for which it is checked whether an order explains it: linearizability, per object.

A quorum outvotes what crashes, partitions and wrong clocks do, but not the loss of copies, nor a ring's change: while
these are going on the histories pause. They go on once all copies are where the ring has them and equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.linearizability import ABSENT, Finding, Kind, Operation, Result, check
from tests.simulation.copy_inventory import Copy, CopyInventory
from tests.simulation.services import path_of
from tests.simulation.stored_forms import read_metadata, shared_name
from tests.simulation.world import World

# Nobody has used the object for so long: what was not flushed is by now, or was acknowledged to nobody.
QUIET_SECONDS: Final = 60.0
# No message is so late.
MESSAGE_SECONDS: Final = 4000.0
CHECK_SECONDS: Final = 5.0


@dataclass(eq=False)
class Attempt:
    """An operation that may not have ended yet."""

    kind: Kind
    began: float
    client: int
    value: str = ABSENT
    if_absent: bool = False
    if_match: str | None = None
    ended: float = 0.0
    result: Result = Result.UNKNOWN

    def operation(self) -> Operation:
        return Operation(
            self.kind, self.began, self.ended, self.value, self.if_absent, self.if_match, self.result, self.client
        )


@dataclass(eq=False)
class Segment:
    """A time in which nothing happened that a quorum does not outvote."""

    began: float
    initial: str
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(eq=False)
class ObjectHistory:
    """All that was done to one object; `segments` are those that are over."""

    name: str
    segments: list[tuple[str, list[Operation]]] = field(default_factory=list)
    current: Segment | None = None
    unknown: list[Attempt] = field(default_factory=list)
    last_at: float = -1e9  # when anybody last began or ended something
    running: int = 0


class Histories:
    """The histories of all objects for which they are kept."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._inventory = CopyInventory(world)
        self._objects: dict[str, ObjectHistory] = {}
        world.when_disturbed.append(self._pause)

    def begin(self, name: str, attempt: Attempt) -> Callable[[Result, str], None]:
        """A client begins something; what is returned is to be called with what it got, and the value it found."""
        now = self._world.hub.now
        history = self._objects.setdefault(name, ObjectHistory(name, current=Segment(now, ABSENT)))
        if history.current is None:
            self._resume(history)
        segment = history.current
        if segment is not None:
            segment.attempts.append(attempt)
        if attempt.kind is not Kind.READ:
            history.unknown.append(attempt)
        history.running += 1
        history.last_at = now

        def end(result: Result, value: str) -> None:
            history.running -= 1
            history.last_at = self._world.hub.now
            if result is not Result.UNKNOWN and segment is history.current:
                attempt.result, attempt.ended, attempt.value = result, history.last_at, value
                if attempt.kind is not Kind.READ:
                    history.unknown.remove(attempt)

        return end

    def _pause(self) -> None:
        for history in self._objects.values():
            self._close(history)

    def _close(self, history: ObjectHistory) -> None:
        if history.current is not None:
            operations = [attempt.operation() for attempt in history.current.attempts]
            history.segments.append((history.current.initial, operations))
            history.current = None

    def _resume(self, history: ObjectHistory) -> None:
        """Begin a new segment, if all copies are equal and nobody is at work."""
        now = self._world.hub.now
        if history.running or now - history.last_at < QUIET_SECONDS or not self._world.is_undisturbed:
            return
        initial = self._value(self._inventory.copies_of(str(path_of(history.name))))
        if initial is None or not self._is_listed_alike(history.name):
            return
        history.unknown = [each for each in history.unknown if each.began > now - MESSAGE_SECONDS]
        history.current = Segment(now, initial, list(history.unknown))

    def _value(self, copies: list[Copy]) -> str | None:
        """What they are; None if they are not equal, or not where they belong."""
        if not copies:
            return ABSENT
        first = copies[0]
        if sorted(copy.disk for copy in copies) != sorted(self._inventory.primaries_of(first)):
            return None
        if len({tuple(map(shared_name, copy.names)) for copy in copies}) > 1:
            return None
        data = first.versions.data
        if data is None:
            return ABSENT
        found = read_metadata(f"{first.directory}/{data.name}")
        return found[0].etag if found is not None else None

    def _is_listed_alike(self, name: str) -> bool:
        """Whether the container's replicas have the same row of it, and are where they belong."""
        container, _, rest = name.partition("/")
        path = str(path_of(container))
        rows = self._inventory.rows_of(path, rest)
        primaries = self._inventory.primaries("container", self._inventory.partition("container", path))
        return sorted(rows) == sorted(primaries) and len(set(rows.values())) == 1

    def segment(self, name: str) -> int:
        """A number for the time in which nothing happens that a quorum does not outvote; 0 for any other time."""
        history = self._objects.get(name)
        return 0 if history is None or history.current is None else len(history.segments) + 1

    def check(self) -> dict[str, list[Finding]]:
        """Of each object what was found out about each segment, in order."""
        found: dict[str, list[Finding]] = {}
        for name, history in sorted(self._objects.items()):
            self._close(history)
            found[name] = [check(operations, CHECK_SECONDS, initial) for initial, operations in history.segments]
        return found
