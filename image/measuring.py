"""Bytes on their way into a store: counted, digested and inspected as they pass, and stopped when nobody wants them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

from objstore.errors import StoreError
from objstore.image.inspect.inspector import Inspector

CHUNK_BYTES: Final = 1 << 20
CHUNK_ALGORITHM: Final = "sha256"
HASH_ALGORITHM: Final = "sha512"


@dataclass(eq=False)
class ImageTooLarge(StoreError):
    """There are more bytes than may be stored: of one image, or of all images of a project."""

    message: ClassVar[str] = "The image has more than the {limit} bytes that it may have."

    limit: int


@dataclass(eq=False)
class WriteCancelled(StoreError):
    """Somebody deleted the image while its bytes were on their way, or the service stops."""

    message: ClassVar[str] = "The image was deleted, or the service stopped, while its data was on its way."


@dataclass(frozen=True)
class Measured:
    """What passed: MD5 and SHA-512 of all of it, and the SHA-256 of each MiB, one after the other."""

    size: int
    checksum: str
    os_hash_value: str
    chunk_digests: bytes
    virtual_size: int | None


class PassingBytes:
    """Iterates over pieces. Raises UnsafeImage, ImageTooLarge, WriteCancelled, and what the source raises."""

    def __init__(
        self, pieces: Iterable[bytes], limit: int, cancelled: threading.Event, inspector: Inspector | None = None
    ) -> None:
        self._pieces = pieces
        self._limit = limit
        self._cancelled = cancelled
        self._inspector = inspector
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()
        self._chunk = hashlib.sha256()
        self._chunk_left = CHUNK_BYTES
        self._digests = bytearray()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if self._cancelled.is_set():
                raise WriteCancelled
            self.size += len(piece)
            if self.size > self._limit:
                raise ImageTooLarge(self._limit)
            if self._inspector is not None:
                self._inspector.feed(piece)
            self._md5.update(piece)
            self._sha512.update(piece)
            self._digest_chunks(piece)
            yield piece

    def _digest_chunks(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            part = view[: self._chunk_left]
            self._chunk.update(part)
            self._chunk_left -= len(part)
            view = view[len(part) :]
            if not self._chunk_left:
                self._end_chunk()

    def _end_chunk(self) -> None:
        self._digests += self._chunk.digest()
        self._chunk = hashlib.sha256()
        self._chunk_left = CHUNK_BYTES

    def finish(self) -> Measured:
        """After the last piece. Raises UnsafeImage."""
        virtual_size = None if self._inspector is None else self._inspector.finish()
        if self._chunk_left < CHUNK_BYTES:
            self._end_chunk()
        digests = bytes(self._digests)
        return Measured(self.size, self._md5.hexdigest(), self._sha512.hexdigest(), digests, virtual_size)


class LiveWork:
    """What this process is working on: ids of data and of tasks, each with an event that cancels it."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    @contextmanager
    def doing(self, work_id: str) -> Iterator[threading.Event]:
        event = threading.Event()
        with self._lock:
            self._events[work_id] = event
        try:
            yield event
        finally:
            with self._lock:
                del self._events[work_id]

    @property
    def ids(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._events)

    def cancel(self, *work_ids: str) -> None:
        with self._lock:
            for work_id in work_ids:
                if event := self._events.get(work_id):
                    event.set()
