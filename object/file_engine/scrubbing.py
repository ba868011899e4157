"""Reading one file of an object to the last byte, to see whether it is still what was stored."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from xxhash import xxh3_128

from objstore.object.buffers import BufferPool
from objstore.object.file_engine.disk import Disk
from objstore.object.file_engine.layout import SUFFIX_LENGTH
from objstore.object.file_names import WHOLE, DataFile, MetaFile, StoredName
from objstore.object.metadata import MetadataCorrupt, ObjectMetadata, PostedMetadata, Stored, TombstoneMetadata
from objstore.system.disk_calls import OpenFile

PIECE_BYTES: Final = 1024 * 1024
IDLE_BUFFERS: Final = 2
HASH_LENGTH: Final = 32

AnyMetadata = ObjectMetadata | PostedMetadata | TombstoneMetadata
Spend = Callable[[int], None]

_buffers: Final = BufferPool(PIECE_BYTES, IDLE_BUFFERS)
_DIGITS: Final = frozenset("0123456789abcdef")


class ReadMetadata(Protocol):
    """Gives the metadata of an open file, and how many bytes it takes behind the body. Raises MetadataCorrupt."""

    def __call__(self, kind: type[Stored], file: OpenFile) -> tuple[Stored, int]: ...


class Scrub:
    def __init__(self, disk: Disk, metadata: ReadMetadata) -> None:
        self._disk = disk
        self._metadata = metadata

    def verify(self, path: str, name: StoredName, spend: Spend | None) -> AnyMetadata:
        """What stands in a file of that name. Raises MetadataCorrupt, OSError."""
        file = self._disk.open(path)
        try:
            found = self._verified(file, name, spend)
        finally:
            file.close()
        if found.timestamp != name.timestamp:
            raise MetadataCorrupt(f"it is of {found.name} at {found.timestamp}")
        return found

    def _verified(self, file: OpenFile, name: StoredName, spend: Spend | None) -> AnyMetadata:
        if isinstance(name, MetaFile):
            return self._metadata(PostedMetadata, file)[0]
        if not isinstance(name, DataFile):
            return read_tombstone(self._metadata, file, name.timestamp)
        data, extra = self._metadata(ObjectMetadata, file)
        expected = data.stored_size
        if file.size != expected + extra:
            raise MetadataCorrupt(f"the file has {file.size} bytes, its body should have {expected}")
        if spend is not None:
            self._read(file, expected, data.checksum, spend)
        return data

    def _read(self, file: OpenFile, size: int, checksum: str, spend: Spend) -> None:
        """Compare the body with its checksum, and leave the page cache to those who serve clients."""
        was_cached = self._disk.is_cached(file)
        if not was_cached:
            self._disk.read_sequentially(file)
        buffer, hasher, offset = _buffers.take(), xxh3_128(), 0
        while offset < size:
            piece = buffer[: size - offset]
            spend(len(piece))
            if self._disk.read_hashed(file, piece, offset, hasher) < len(piece):
                raise MetadataCorrupt("the file is shorter than its body")
            offset += len(piece)
        # Only here: after an error or a kill, a thread may still be reading into the buffer.
        _buffers.give(buffer)
        if not was_cached:
            self._disk.drop_cached(file)
        if hasher.hexdigest() != checksum:
            raise MetadataCorrupt("the body does not match its checksum")


def check_stored(data: ObjectMetadata, path: str, file: DataFile, length: int) -> None:
    """Raises MetadataCorrupt unless a file of that name, with a body so long, is one of that object."""
    if data.name != path or data.timestamp != file.timestamp:
        raise MetadataCorrupt(f"it is of {data.name} at {data.timestamp}")
    if length != data.stored_size:
        raise MetadataCorrupt(f"the file has {length} bytes, its body should have {data.stored_size}")
    if file.fragment != (WHOLE if data.fragment is None else data.fragment.index):
        raise MetadataCorrupt("it is of another fragment")


def is_hash_of(suffix: str, name: str) -> bool:
    """Whether a name in a suffix's directory is that of an object which belongs there."""
    return len(name) == HASH_LENGTH and name[-SUFFIX_LENGTH:] == suffix and _DIGITS.issuperset(name)


def read_tombstone(read: ReadMetadata, file: OpenFile, timestamp: str) -> TombstoneMetadata:
    """The metadata of a tombstone, also of one that was a data file when the power went. Raises MetadataCorrupt."""
    try:
        return read(TombstoneMetadata, file)[0]
    except MetadataCorrupt:
        with suppress(MetadataCorrupt):
            return TombstoneMetadata(read(ObjectMetadata, file)[0].name, timestamp)
        raise
