"""How many updates a second each container takes from the updater: none must be run over by what has gathered."""

from __future__ import annotations

import zlib

from objstore.config.object import UpdaterConfig
from objstore.pacing import Monotonic
from objstore.paths import ResourcePath


class ContainerRateLimiter:
    """Containers share a fixed number of gates, so that memory does not grow with them; each lets through at a rate."""

    def __init__(self, config: UpdaterConfig, clock: Monotonic) -> None:
        self._per_second = config.max_objects_per_container_per_second
        self._clock = clock
        self._opens = [0.0] * config.per_container_ratelimit_buckets

    def try_acquire(self, container: ResourcePath) -> bool:
        """Whether one more may go to it now; counts it if so."""
        if not self._per_second:
            return True
        gate = zlib.crc32(str(container).encode()) % len(self._opens)
        now = self._clock.monotonic()
        if self._opens[gate] > now:
            return False
        self._opens[gate] = now + 1 / self._per_second
        return True

    @property
    def shortest_wait(self) -> float:
        """In how many seconds any gate is open again, at most."""
        return 1 / self._per_second if self._per_second else 0.0
