"""Writes ring files of version 2, which hold more than 65,535 devices.

Each section can be decompressed by itself: before it the compressor is flushed, and the index names its place in the
compressed stream as well. The tail is not compressed, so that the place of the index stands at a known distance from
the end of the file.

Source: "Ring File Formats", https://docs.openstack.org/swift/latest/overview_ring_format.html
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import zlib
from array import array
from typing import Final

import msgspec

from objstore.ring.formatv2 import ASSIGNMENTS, DEVICES, LENGTH, METADATA, TYPECODES
from objstore.ring.ring import Ring

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
        """The whole file, with the index and the tail."""
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
