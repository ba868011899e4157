"""An object's file, open for reading, and its body on the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from xxhash import xxh3_128, xxh3_128_hexdigest

from objstore.mounts import DeviceUnavailable
from objstore.object.buffers import BufferPool
from objstore.object.engine import ObjectCorrupt, ObjectInfo
from objstore.object.file_engine.disk import Disk
from objstore.system.disk_calls import OpenFile

CHUNK_BYTES: Final = 256 * 1024
IDLE_BUFFERS: Final = 16
# The system reads ahead by itself; for bodies longer than this it pays to say that all will be read.
READ_AHEAD_BYTES_MIN: Final = 1024 * 1024

_buffers: Final = BufferPool(CHUNK_BYTES, IDLE_BUFFERS)

# Quarantines the object for the reason given and returns the error to raise.
Quarantine = Callable[[str], ObjectCorrupt]


class FileObject:
    __slots__ = ("_disk", "_file", "_keep_cached", "_quarantine_if_current", "info")

    def __init__(self, disk: Disk, file: OpenFile, info: ObjectInfo, keep_cached: bool, quarantine: Quarantine) -> None:
        """The file's size has been checked against the info."""
        self._disk = disk
        self._file = file
        self._keep_cached = keep_cached
        self._quarantine_if_current = quarantine
        self.info = info

    def read(self) -> bytes:
        data = self.info.data
        size = data.stored_size
        body = self._disk.read(self._file, size, 0)
        self.close()
        if len(body) != size or xxh3_128_hexdigest(body) != data.checksum:
            raise self._quarantine_if_current("the body does not match its checksum")
        return body

    def stream(self, start: int, stop: int) -> FileBody:
        data = self.info.data
        whole = start == 0 and stop == data.stored_size
        if stop - start >= READ_AHEAD_BYTES_MIN:
            self._disk.read_sequentially(self._file)
        return FileBody(self._disk, self._file, start, stop, data.checksum if whole else "", self)

    def quarantine(self, reason: str) -> ObjectCorrupt:
        """Quarantine the object, unless the device is suspect as a whole; the error to raise."""
        try:
            return self._quarantine_if_current(reason)
        except DeviceUnavailable:
            return ObjectCorrupt(self.info.data.name, reason)

    def close(self) -> None:
        if not self._keep_cached and self._file.descriptor >= 0:
            self._disk.drop_cached(self._file)
        self._file.close()


class FileBody:
    """Part of a file in chunks of up to CHUNK_BYTES, verified on the way if `checksum` is given."""

    __slots__ = ("_checksum", "_disk", "_file", "_object", "_start", "_stop", "length")

    def __init__(self, disk: Disk, file: OpenFile, start: int, stop: int, checksum: str, stored: FileObject) -> None:
        self._disk = disk
        self._file = file
        self._start = start
        self._stop = stop
        self._checksum = checksum
        self._object = stored
        self.length: int | None = stop - start

    def __iter__(self) -> Iterator[memoryview]:
        buffer = _buffers.take()
        hasher = xxh3_128() if self._checksum else None
        offset, stop = self._start, self._stop
        while offset < stop:
            chunk = buffer[: stop - offset]
            if self._disk.read_into(self._file, chunk, offset) < len(chunk):
                raise self._object.quarantine("the file is shorter than its body")
            offset += len(chunk)
            if hasher is not None:
                hasher.update(chunk)
                # Before the last chunk leaves: without it the receiver cannot take the body for whole.
                if offset == stop and hasher.hexdigest() != self._checksum:
                    raise self._object.quarantine("the body does not match its checksum")
            yield chunk
        # Only here: after an error or a kill, a thread may still be reading into the buffer.
        _buffers.give(buffer)

    def close(self) -> None:
        self._object.close()
