"""Ring files, version 2: sections, each with its length before it, an index at the end, all in one gzip stream."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import zlib
from array import array
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from objstore.ring.header import ASSIGNMENTS_MAX, HEADER_BYTES_MAX, REPLICAS_MAX, DeviceRow, Gunzip, devices_of
from objstore.ring.ring import HASH_BITS, Ring

LENGTH: Final = struct.Struct(">Q")
TAIL: Final = struct.Struct(">QQ")  # where the index begins, uncompressed and compressed
CONTENT_BYTES_MAX: Final = HEADER_BYTES_MAX + ASSIGNMENTS_MAX * 2
INDEX: Final = "swift/index"
METADATA: Final = "swift/ring/metadata"
DEVICES: Final = "swift/ring/devices"
ASSIGNMENTS: Final = "swift/ring/assignments"
TYPECODES: Final = {2: "H", 4: "I", 8: "Q"}
CHECKSUMS: Final = ("md5", "sha1", "sha256", "sha512")  # others may come, and are then not checked

IndexEntry = tuple[int, int, int | None, int | None, str | None, str | None]


class Metadata(Struct):
    """The section of facts about the ring."""

    part_shift: Annotated[int, Meta(ge=0, le=HASH_BITS)]
    dev_id_bytes: Literal[2, 4, 8]
    version: int | None = None
    next_part_power: Annotated[int, Meta(ge=0, le=HASH_BITS)] | None = None


def parse_sections(stream: Gunzip, offset: int) -> Ring:
    """The ring in the rest of a stream of which `offset` bytes were read. Raises ValueError and its kin."""
    content = stream.read_up_to(CONTENT_BYTES_MAX)
    stream.expect_end()
    file = _Sections(memoryview(content), offset)
    metadata = msgspec.json.decode(file.section(METADATA), type=Metadata)
    devices = devices_of(msgspec.json.decode(file.section(DEVICES), type=list[DeviceRow | None]))
    part_power = HASH_BITS - metadata.part_shift
    rows = _rows(file.section(ASSIGNMENTS), part_power, metadata.dev_id_bytes)
    return Ring(part_power, devices, rows, metadata.version or 0, metadata.next_part_power)


class _Sections:
    """The sections of a file, found by its index. Places are counted from the beginning of the whole file."""

    def __init__(self, content: memoryview, offset: int) -> None:
        self._content: Final = content
        self._offset: Final = offset
        if len(content) < TAIL.size:
            raise ValueError("it ends before its index")
        index_start, _ = TAIL.unpack_from(content, len(content) - TAIL.size)
        self._index = msgspec.json.decode(self._blob(INDEX, index_start), type=dict[str, IndexEntry])

    def section(self, name: str) -> memoryview:
        """The content of a section; raises ValueError if it is missing or is not what the index says."""
        if name not in self._index:
            raise ValueError(f"the section {name} is missing")
        _, start, _, end, method, checksum = self._index[name]
        blob = self._blob(name, start)
        if end is not None and end != start + LENGTH.size + len(blob):
            raise ValueError(f"the section {name} does not end where the index says")
        if method in CHECKSUMS and checksum is not None:
            digest = hashlib.new(method, LENGTH.pack(len(blob)), usedforsecurity=False)
            digest.update(blob)
            if digest.hexdigest() != checksum:
                raise ValueError(f"the checksum of the section {name} is wrong")
        return blob

    def _blob(self, name: str, start: int) -> memoryview:
        begin, limit = start - self._offset + LENGTH.size, len(self._content) - TAIL.size
        if not LENGTH.size <= begin <= limit:
            raise ValueError(f"the section {name} is not where it is said to be")
        (length,) = LENGTH.unpack_from(self._content, begin - LENGTH.size)
        if length > limit - begin:
            raise ValueError(f"the section {name} cannot have {length} bytes")
        return self._content[begin : begin + length]


def _rows(content: memoryview, part_power: int, id_bytes: int) -> list[array[int]]:
    length = id_bytes << part_power
    if not content or len(content) % id_bytes or len(content) > length * REPLICAS_MAX:
        raise ValueError(f"{len(content)} bytes of device ids cannot be the replicas of {1 << part_power} partitions")
    rows = []
    for begin in range(0, len(content), length):
        row = array(TYPECODES[id_bytes])
        row.frombytes(content[begin : begin + length])
        if sys.byteorder == "little":
            row.byteswap()
        rows.append(row)
    return rows


MAGIC: Final = b"R1NG\x00\x02"
# A gzip stream without a name or a time: the same ring always gives the same bytes. RFC 1952, section 2.3.
GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
GZIP_TRAILER: Final = struct.Struct("<II")
# Blocks of a deflate stream that are not compressed: what a full flush writes, the last one, the head of one with
# eight bytes. RFC 1951, section 3.2.4.
FLUSHED: Final = b"\x00\x00\x00\xff\xff"
LAST: Final = b"\x01\x00\x00\xff\xff"
HEAD_OF_EIGHT: Final = b"\x00\x08\x00\xf7\xff"
COMPRESSION_LEVEL: Final = 6
CHECKSUM: Final = "sha256"


def format_ring_v2(ring: Ring, id_bytes: int) -> bytes:
    """The bytes of a ring file, version 2. Raises ValueError when the ids do not fit into so many bytes."""
    last_id = ring.devices[-1].id
    if last_id >= 1 << 8 * id_bytes:
        raise ValueError(f"device id {last_id} does not fit into {id_bytes} bytes")
    metadata: dict[str, object] = {"dev_id_bytes": id_bytes, "part_shift": ring.shift, "version": ring.version}
    if ring.next_part_power is not None:
        metadata["next_part_power"] = ring.next_part_power
    devices: list[object] = [None] * (last_id + 1)
    for device in ring.devices:
        devices[device.id] = msgspec.to_builtins(device)
    writer = _Writer()
    writer.section(METADATA, json.dumps(metadata, sort_keys=True).encode("ascii"))
    writer.section(DEVICES, json.dumps(devices, sort_keys=True).encode("ascii"))
    writer.section(ASSIGNMENTS, b"".join(_big_endian(row, id_bytes) for row in ring.rows))
    return writer.finish()


def _big_endian(row: array[int], id_bytes: int) -> bytes:
    ids = array(TYPECODES[id_bytes], row)
    if sys.byteorder == "little":
        ids.byteswap()
    return ids.tobytes()


class _Writer:
    """A gzip stream in which places can be named."""

    def __init__(self) -> None:
        self._deflate: Final = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._pieces: Final = [GZIP_HEADER]
        self._crc = 0
        self._compressed_length = len(GZIP_HEADER)
        self._length = 0
        self._index: Final[dict[str, list[int | str | None]]] = {}
        self._write(MAGIC)

    def section(self, name: str, content: bytes) -> None:
        """Add a section, and its place and checksum to the index."""
        compressed_start, start = self._blob(content)
        self._flush()
        digest = hashlib.new(CHECKSUM, LENGTH.pack(len(content)) + content, usedforsecurity=False).hexdigest()
        self._index[name] = [compressed_start, start, self._compressed_length, self._length, CHECKSUM, digest]

    def finish(self) -> bytes:
        compressed_start, start = self._blob(json.dumps(self._index, sort_keys=True).encode("ascii"))
        self._flush()
        for place in (start, compressed_start):
            content = LENGTH.pack(place)
            self._crc = zlib.crc32(content, self._crc)
            self._length += len(content)
            self._pieces.append(HEAD_OF_EIGHT + content + FLUSHED)
        self._pieces.append(LAST + GZIP_TRAILER.pack(self._crc, self._length & 0xFFFFFFFF))
        return b"".join(self._pieces)

    def _blob(self, content: bytes) -> tuple[int, int]:
        self._flush()
        place = self._compressed_length, self._length
        self._write(LENGTH.pack(len(content)) + content)
        return place

    def _write(self, content: bytes) -> None:
        self._crc = zlib.crc32(content, self._crc)
        self._length += len(content)
        self._append(self._deflate.compress(content))

    def _flush(self) -> None:
        self._append(self._deflate.flush(zlib.Z_FULL_FLUSH))

    def _append(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._compressed_length += len(piece)
