"""Ring files, version 2: sections, each with its length before it, an index at the end, all in one gzip stream.

Source: "Ring File Formats", https://docs.openstack.org/swift/latest/overview_ring_format.html
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from objstore.ring.gunzip import Gunzip
from objstore.ring.header import ASSIGNMENTS_MAX, HEADER_BYTES_MAX, REPLICAS_MAX, DeviceRow, devices_of
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
