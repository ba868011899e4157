"""Group commit: while one batch is under way, what arrives meanwhile waits and goes into the next one together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeVar

from objstore.errors import StoreError
from objstore.system.concurrency import Event

Item = TypeVar("Item")
Result = TypeVar("Result")

QUEUED_MAX: Final = 1024


@dataclass(eq=False)
class BatcherFull(StoreError):
    """Batches do not keep up with what arrives: stop accepting, so that callers can go elsewhere."""

    message: ClassVar[str] = "{queued} items already wait for a batch"

    queued: int


@dataclass(eq=False)
class BatchAbandoned(StoreError):
    """The greenlet that ran the batch was killed: whether the items took effect is not known."""

    message: ClassVar[str] = "the batch was abandoned"


class _Entry(Generic[Item, Result]):
    """One item and the greenlet that waits for its result."""

    __slots__ = ("called", "item", "result")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.result: Result | Exception | None = None
        # Set with True when the result is there, with False when its waiter is to run the next batch.
        self.called: Event[bool] = Event()


class Batcher(Generic[Item, Result]):
    """Runs items in batches, one batch at a time, in the order they arrived.

    The caller that finds no batch under way runs the next one itself (the leader); the others wait. When a batch
    ends, the longest waiting caller becomes the leader, so no caller works for others for longer than one batch.

    `run` gets 1 to `max_items` items and returns as many results in their order; an Exception among them is raised
    in its own caller only, and one that `run` raises in the callers of all items of the batch.
    """

    __slots__ = ("_busy", "_max_items", "_queue", "_queued_max", "_run")

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result | Exception]],
        max_items: int,
        queued_max: int = QUEUED_MAX,
    ) -> None:
        self._run = run
        self._max_items = max_items
        self._queued_max = queued_max
        self._queue: deque[_Entry[Item, Result]] = deque()
        self._busy = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or waiting."""
        return not self._busy

    def submit(self, item: Item) -> Result:
        """The item's result, waited for. Raises what `run` did, BatcherFull, or BatchAbandoned."""
        if len(self._queue) >= self._queued_max:
            raise BatcherFull(len(self._queue))
        entry: _Entry[Item, Result] = _Entry(item)
        self._queue.append(entry)
        if not self._busy:
            self._busy = True
            self._lead()
        elif not self._wait(entry):
            self._lead()
        if isinstance(entry.result, Exception):
            raise entry.result
        return entry.result  # type: ignore[return-value]  # only a batch without an outcome leaves None

    def _wait(self, entry: _Entry[Item, Result]) -> bool:
        """True when the result is there, False when this caller is to lead the next batch."""
        try:
            return entry.called.wait()
        except BaseException:
            # Killed while waiting: give up the place in the queue, and the lead if it was just handed over.
            if entry in self._queue:
                self._queue.remove(entry)
                if entry.called.is_set:
                    self._hand_over()
            raise

    def _lead(self) -> None:
        """Run one batch, whose first item is this caller's own, and call the next leader."""
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_items))]
        outcome: Sequence[Result | Exception] = ()
        failure: Exception = BatchAbandoned()
        try:
            outcome = self._run([entry.item for entry in batch])
        except Exception as error:
            failure = error
        finally:
            for number, entry in enumerate(batch):
                entry.result = outcome[number] if number < len(outcome) else failure
                entry.called.set(True)
            self._hand_over()

    def _hand_over(self) -> None:
        if self._queue:
            self._queue[0].called.set(False)
        else:
            self._busy = False
