"""Rate limiter: callers over the rate sleep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from objstore.system import concurrency

if TYPE_CHECKING:
    from objstore.system.clock import Clock

# A limiter that is not used saves up no more than this.
BURST_SECONDS: Final = 1.0


class RateLimiter:
    """Lets through so many units a second; a rate of 0 limits nothing."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_second = per_second
        self._clock = clock
        self._due = clock.monotonic()

    def acquire(self, units: float = 1.0) -> None:
        """Take so many units; sleeps while more have been taken than the rate allows."""
        if not self._per_second:
            return
        now = self._clock.monotonic()
        self._due = max(self._due, now - BURST_SECONDS) + units / self._per_second
        if self._due > now:
            concurrency.sleep(self._due - now)
