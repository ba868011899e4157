"""Tables in memory that all worker processes share: how often something happened of late, and when it last did.

Both have a fixed size, whatever is counted: a key falls on one slot by its hash, which strangers cannot compute, since
each start of the program draws another. They are made before the workers are forked, and outlive a reload. Slots are
read and written whole, but without a lock: of two events at the same moment in two processes one may be lost.
"""

from __future__ import annotations

import mmap
from typing import Final

SLOTS: Final = 65536  # a power of two
WINDOW_SECONDS: Final = 60
_SLOT_BYTES: Final = 8
_HALF_BITS: Final = 32
_HALF: Final = (1 << _HALF_BITS) - 1


def _new_table() -> memoryview:
    return memoryview(mmap.mmap(-1, SLOTS * _SLOT_BYTES)).cast("Q")  # anonymous and shared


class SharedCounters:
    """Counts events by key within windows of WINDOW_SECONDS.

    Keys that share a slot are counted together, so that a count may be too high, but no number of other keys makes a
    count forgotten before its window ends. Times are monotonic, in seconds.
    """

    def __init__(self) -> None:
        self._slots = _new_table()  # window's number, count

    def count(self, key: object, now: float) -> int:
        """How often it happened within this window."""
        window, count = divmod(self._slots[hash(key) % SLOTS], 1 << _HALF_BITS)
        return count if window == int(now / WINDOW_SECONDS) else 0

    def add(self, key: object, now: float) -> int:
        """It happens once more; the count with it."""
        count = min(self.count(key, now) + 1, _HALF)
        self._slots[hash(key) % SLOTS] = int(now / WINDOW_SECONDS) << _HALF_BITS | count
        return count

    def clear(self, key: object) -> None:
        """It has not happened within this window."""
        self._slots[hash(key) % SLOTS] = 0


class SharedMarks:
    """When each key was last marked. A key is forgotten when another one that shares its slot is marked."""

    def __init__(self) -> None:
        self._slots = _new_table()  # the other half of the key's hash, the time plus one

    def mark(self, key: object, now: float) -> None:
        self._slots[hash(key) % SLOTS] = _tag(key) << _HALF_BITS | (int(now) + 1)

    def is_marked(self, key: object, now: float, seconds: float) -> bool:
        """Whether it was marked within the last `seconds`."""
        tag, marked = divmod(self._slots[hash(key) % SLOTS], 1 << _HALF_BITS)
        return bool(marked) and tag == _tag(key) and now - (marked - 1) < seconds


def _tag(key: object) -> int:
    """Bits of the hash that do not choose the slot."""
    return hash(key) >> 16 & _HALF
