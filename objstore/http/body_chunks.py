"""Bodies of uploads in large chunks, within a budget of memory for all uploads of a process.

An upload never waits for memory, since those that hold it may be stalled: while the budget is used up, uploads go on in
small chunks. Either way a body is taken off its connection only as fast as its chunks are used up.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader

LARGE_BYTES: Final = 1024 * 1024
SMALL_BYTES: Final = 64 * 1024
LARGE_BUFFERS_MAX: Final = 64
IDLE_BYTES_MAX: Final = 8 * 1024 * 1024  # of each size, kept for the next uploads: a new page costs a fault
FIRST_BYTES: Final = 4096
GATHER_SECONDS: Final = 5.0  # a slow sender's bytes wait no longer than this for company


class UploadBuffers:
    """The buffers of a process: so many large ones, and beyond them small ones.

    Each is a mapping of its own, so that the system has its memory back at once: freed in any order among other blocks,
    small buffers would leave most of a heap to nobody.
    """

    def __init__(self, large_max: int = LARGE_BUFFERS_MAX) -> None:
        self._large_left = large_max
        self._idle: dict[int, deque[memoryview]] = {
            size: deque(maxlen=IDLE_BYTES_MAX // size) for size in (LARGE_BYTES, SMALL_BYTES)
        }

    def take(self, large: bool) -> memoryview:
        """A buffer with any content; a small one also when all large ones are in use."""
        if large and self._large_left:
            self._large_left -= 1
            size = LARGE_BYTES
        else:
            size = SMALL_BYTES
        idle = self._idle[size]
        return idle.pop() if idle else memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def give_back(self, buffer: memoryview, reusable: bool) -> None:
        """The buffer is no longer used; not `reusable` while a thread may still read it."""
        size = len(buffer)
        if size == LARGE_BYTES:
            self._large_left += 1
        if reusable:
            self._idle[size].append(buffer)


UPLOAD_BUFFERS: Final = UploadBuffers()


class BodyChunks:
    """A body in chunks, each valid until the next but one is asked for.

    Chunks are large while the sender is fast. While the first bytes of one are waited for, there is no buffer for it.
    Use it in a `with` statement: after an error its buffers are dropped.
    """

    def __init__(self, body: BodyReader, buffers: UploadBuffers = UPLOAD_BUFFERS) -> None:
        self._body = body
        self._buffers = buffers
        self._held: deque[memoryview] = deque()  # of the last two chunks

    def __enter__(self) -> BodyChunks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._held:
            self._buffers.give_back(self._held.pop(), reusable=kind is None)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Raises what reading the body raises."""
        body, fast = self._body, True
        while first := body.read(FIRST_BYTES):
            buffer = self._buffers.take(large=fast)
            self._held.append(buffer)
            filled = len(first)
            buffer[:filled] = first
            filled += body.readinto(buffer[filled:], GATHER_SECONDS)
            fast = filled == len(buffer)
            yield buffer[:filled]
            if len(self._held) > 1:
                self._buffers.give_back(self._held.popleft(), reusable=True)
