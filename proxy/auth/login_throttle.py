"""Slows down whoever guesses keys."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from objstore.system.clock import Clock

FAILURES_MAX: Final = 10
WINDOW_SECONDS: Final = 60.0
REMEMBERED_MAX: Final = 10_000


class LoginThrottle:
    """Counts failed logins. After FAILURES_MAX within WINDOW_SECONDS, a client has to wait for the window's end.

    A client is a pair of address and user, so that a stranger who fails on purpose does not lock the user out.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def seconds_to_wait(self, address: str, user: str) -> float:
        """How long the client has to wait; 0 if it may try."""
        count, until = self._failures.get((address, user), (0, 0.0))
        left = until - self._clock.monotonic()
        return left if count >= FAILURES_MAX and left > 0 else 0.0

    def failed(self, address: str, user: str) -> None:
        who, now = (address, user), self._clock.monotonic()
        count, until = self._failures.pop(who, (0, 0.0))
        self._failures[who] = (1, now + WINDOW_SECONDS) if until <= now else (count + 1, until)
        if len(self._failures) > REMEMBERED_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, user: str) -> None:
        """The right key: what was before is forgiven."""
        self._failures.pop((address, user), None)
