"""Places objects by the rings of this server, also while their part power is increased."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from objstore.object.engine import Location, StorageEngine, Unsettled
from objstore.object.powers import placed
from objstore.object.relinking import bring_home, link_ahead
from objstore.pacing import Monotonic
from objstore.ring.errors import RingFileError
from objstore.ring.ring import Ring
from objstore.system.threads import ThreadGroup

# A ring that is not there, or cannot be read, is not tried again with each request.
RETRY_SECONDS: Final = 15.0

# The ring of a policy; None where there are no rings.
RingOf = Callable[[int], Ring | None]


class Placing:
    """Says where an object lies, and sees to it that what was written lies there even if the ring changes meanwhile."""

    def __init__(self, engine: StorageEngine, ring_of: RingOf, threads: ThreadGroup, clock: Monotonic) -> None:
        """`ring_of` may raise RingFileError: then the partitions of requests are taken as they are."""
        self._engine = engine
        self._ring_of = ring_of
        self._threads = threads
        self._clock = clock
        self._again: dict[int, float] = {}

    def ring(self, policy_index: int) -> Ring | None:
        """The ring of a policy, None while there is none."""
        if self._again and self._again.get(policy_index, 0.0) > self._clock.monotonic():
            return None
        try:
            return self._ring_of(policy_index)
        except RingFileError:
            self._again[policy_index] = self._clock.monotonic() + RETRY_SECONDS
            return None

    def place(self, location: Location) -> Location:
        """Where the object is to be looked for and written now."""
        return placed(location, self.ring(location.policy.index))

    def settle(self, location: Location, unsettled: Unsettled) -> None:
        """Make a write to a location durable. Raises OSError.

        An upload may take hours. If the ring has changed since it began, the object may be looked for elsewhere now.
        """
        unsettled.settle()
        now = self.place(location)
        if now is location or now == location:
            return
        if now.partition != location.partition:
            bring_home(self._engine, self._threads, now, location.partition)
        elif now.linked and now.linked != location.linked:
            self._threads.call(link_ahead, self._engine, now)
            self._engine.settle(now.device, now.policy, now.linked)
