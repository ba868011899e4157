"""A table in memory that all worker processes share: which cached values are still good.

Each key falls on one slot of the table, a changing number. Whoever caches a value remembers the number its slot
had before the value was fetched; whoever changes what the value describes writes a new number there. A cached
value is good while the number is the same: a change made through one worker is seen at once by all others.
Keys that share a slot are forgotten together, which costs a fetch and harms nothing.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

SLOTS: Final = 65536
_NUMBER_BYTES: Final = 8


class Generations:
    """One table. Made before the workers are forked, it is shared by all of them and their later successors."""

    def __init__(self, slots: int = SLOTS) -> None:
        """`slots` is a power of two."""
        if slots < 1 or slots & (slots - 1):
            raise ValueError(f"not a power of two: {slots}")
        self._mask = slots - 1
        self._memory = mmap.mmap(-1, slots * _NUMBER_BYTES)  # anonymous and shared
        self._numbers = memoryview(self._memory).cast("Q")

    def read(self, key: str) -> int:
        # The hash of a text differs between programs, but forked processes inherit it with the table. Aligned words
        # are read and written whole, so no lock is needed.
        return self._numbers[hash(key) & self._mask]

    def bump(self, key: str) -> None:
        """What was cached under the key is good no longer, in any process that shares the table."""
        # Drawn, not counted: two processes that bump at the same moment must not write the same number twice.
        self._numbers[hash(key) & self._mask] = int.from_bytes(os.urandom(_NUMBER_BYTES), "big")


_shared: Generations | None = None


def shared_generations() -> Generations:
    """The table of this process and of those forked from it; one, so that it outlives a reload of the configuration."""
    global _shared
    if _shared is None:
        _shared = Generations()
    return _shared
