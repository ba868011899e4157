"""Buffers for streaming, reused: making a new one costs a page fault for every 4 KiB."""

from collections import deque


class BufferPool:
    """Buffers of one size; the least recently used are forgotten when more than `keep` lie idle.

    Give a buffer back only when nothing can still write into it: after a broken-off call to a thread, drop it instead.
    """

    def __init__(self, size: int, keep: int) -> None:
        self.size = size
        self._idle: deque[memoryview] = deque(maxlen=keep)

    def take(self) -> memoryview:
        """A buffer of `size` bytes with any content."""
        return self._idle.pop() if self._idle else memoryview(bytearray(self.size))

    def give(self, buffer: memoryview) -> None:
        """Take a buffer of ours back."""
        self._idle.append(buffer)
