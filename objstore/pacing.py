"""Keeping background work at a rate: who spends more than is left waits until it has come in."""

from __future__ import annotations

from typing import Final, Protocol

from objstore.system import concurrency

# What was not spent does not gather for longer than this.
BURST_SECONDS: Final = 1.0


class Monotonic(Protocol):
    """The part of a clock that measures intervals."""

    def monotonic(self) -> float: ...


class Pace:
    """So many units a second, 0 for any number."""

    def __init__(self, per_second: float, clock: Monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._due = clock.monotonic()

    def spend(self, units: float = 1.0) -> None:
        """Take so many units; waits while more have been taken than the rate allows."""
        if not self._per_second:
            return
        now = self._clock.monotonic()
        self._due = max(self._due, now - BURST_SECONDS) + units / self._per_second
        if self._due > now:
            concurrency.sleep(self._due - now)
