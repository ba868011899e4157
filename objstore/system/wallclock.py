"""The time of day alone, for commands that start no event loop."""

from __future__ import annotations

import time


class WallClock:
    """Real time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()
