"""The body of an upload inside a process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objstore.http.bodies import ClientDisconnected, ClientTimeout
from objstore.system.concurrency import Event, WaitTimeout

WRITER_TIMEOUT_SECONDS: Final = 60.0  # as a server waits for a client over the network


class PipeBody:
    """The body of an upload on its way from the greenlet that writes it to the one that reads it, without a copy."""

    __slots__ = ("_chunk", "_emptied", "_filled", "_unread", "broken", "ended", "trailers", "wanted")

    def __init__(self) -> None:
        self._chunk: memoryview = memoryview(b"")
        self._filled: Event[None] = Event()
        self._emptied: Event[None] = Event()
        self._emptied.set()
        self.wanted: Event[None] = Event()  # the reader has asked for the body: it will not refuse it unseen
        self.ended = False
        self.broken = False
        self._unread = False  # the reader has gone: what still comes is dropped
        self.trailers: dict[str, str] = {}

    def put(self, chunk: memoryview, timeout_seconds: float) -> None:
        """Hand over a chunk once the one before is used up; raises WaitTimeout."""
        self._emptied.wait(timeout_seconds)
        if len(chunk) and not self._unread and not self.broken:
            self._chunk = chunk
            self._emptied = Event()
            self._filled.set()

    def end(self, trailers: Mapping[str, str], timeout_seconds: float) -> None:
        """Nothing more comes; raises WaitTimeout when the last chunk is not taken in time."""
        self._emptied.wait(timeout_seconds)
        self.trailers = dict(trailers)
        self.ended = True
        self._filled.set()

    def break_off(self) -> None:
        """The writer has given up; a body that was whole by then stays whole."""
        if self.ended:
            return
        self.broken = True
        self._chunk = memoryview(b"")
        self._filled.set()
        self._emptied.set()

    def stop_reading(self) -> None:
        """The reader has answered and takes no more: let the writer go on."""
        self._unread = True
        self._chunk = memoryview(b"")
        self.wanted.set()
        self._emptied.set()

    def _advance(self) -> bool:
        self.wanted.set()
        while not self._chunk:
            if self.broken:
                raise ClientDisconnected
            if self.ended:
                return False
            try:
                self._filled.wait(WRITER_TIMEOUT_SECONDS)
            except WaitTimeout:
                raise ClientTimeout from None
        return True

    def _take(self, size: int) -> memoryview:
        part = self._chunk[:size]
        self._chunk = self._chunk[size:]
        return part

    def _release(self) -> None:
        if not self._chunk and not self._emptied.is_set:
            if not self.ended and not self.broken:
                self._filled = Event()
            self._emptied.set()

    def read(self, size: int = -1) -> bytes:
        """See BodyReader."""
        parts: list[bytes] = []
        while (size < 0 or not parts) and self._advance():
            parts.append(bytes(self._take(len(self._chunk) if size < 0 else size)))
            self._release()
        return b"".join(parts)

    def readinto(self, buffer: memoryview) -> int:
        """See BodyReader."""
        filled = 0
        while filled < len(buffer) and self._advance():
            part = self._take(len(buffer) - filled)
            buffer[filled : filled + len(part)] = part
            filled += len(part)
            self._release()
        return filled
