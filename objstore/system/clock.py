"""The clock, handed to whoever needs the time."""

from __future__ import annotations

from objstore.system import concurrency
from objstore.system.wallclock import WallClock
from objstore.timestamps import TICKS_PER_SECOND, Timestamp


class Clock(WallClock):
    """Real time. A simulation hands out a virtual one with the same methods."""

    def __init__(self) -> None:
        self._last_ticks = 0

    def timestamp(self) -> Timestamp:
        """The time as a timestamp, later than every one this clock has given before."""
        ticks = int(self.now() * TICKS_PER_SECOND)
        if ticks <= self._last_ticks:
            ticks = self._last_ticks + 1
        self._last_ticks = ticks
        return Timestamp(ticks)

    def boot_id(self) -> str:
        """What differs each time the machine is started: then the page cache, and monotonic time, have begun anew."""
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring how long something took."""
        return concurrency.monotonic()
