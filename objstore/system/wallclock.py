"""The time of day alone, for commands that start no event loop."""

from __future__ import annotations

import time


class WallClock:
    def now(self) -> float:
        return time.time()
