"""Ring files. Version 1: a header in JSON and one array of device ids for each replica, all in one gzip stream."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import os
import struct
import sys
from array import array
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from objstore.ring.errors import RingFileError, RingMissing
from objstore.ring.formatv2 import format_ring_v2, parse_sections
from objstore.ring.header import (
    ASSIGNMENTS_MAX,
    HEADER_BYTES_MAX,
    REPLICAS_MAX,
    DeviceRow,
    Gunzip,
    GunzipError,
    devices_of,
)
from objstore.ring.ring import HASH_BITS, Ring
from objstore.system import files

MAGIC: Final = b"R1NG"
VERSION: Final = struct.Struct(">H")
HEADER_LENGTH: Final = struct.Struct(">I")
TYPECODE: Final = "H"
DEVICE_ID_MAX: Final = 0xFFFF
WIDE_ID_BYTES: Final = 4
COMPRESSION_LEVEL: Final = 6
FILE_MODE: Final = 0o644

FILE_BYTES_MAX: Final = 1 << 30


class RingHeader(Struct):
    """What stands before the arrays; `devs` has null at the ids of removed devices."""

    devs: list[DeviceRow | None]
    part_shift: Annotated[int, Meta(ge=0, le=HASH_BITS)]
    replica_count: Annotated[float, Meta(gt=0, le=REPLICAS_MAX)]
    byteorder: Literal["little", "big"] = "little"
    version: int | None = None
    next_part_power: Annotated[int, Meta(ge=0, le=HASH_BITS)] | None = None

    @property
    def part_power(self) -> int:
        return HASH_BITS - self.part_shift


class RingRead(Struct, frozen=True):
    """A ring, and the MD5 in hex of the file it was read from."""

    ring: Ring
    md5: str


def read_ring(path: str) -> Ring:
    """Read a ring file. Blocks. Raises RingFileError with the reason, RingMissing if there is no file."""
    return read_with_digest(path).ring


def read_with_digest(path: str) -> RingRead:
    """The same, and which file it was."""
    try:
        content = _read_file(path)
        return RingRead(parse_ring(content), hashlib.md5(content, usedforsecurity=False).hexdigest())
    except FileNotFoundError:
        raise RingMissing(path) from None
    except OSError as error:
        raise RingFileError(path, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, GunzipError, msgspec.MsgspecError) as error:
        raise RingFileError(path, f"not a valid ring file: {error}") from error


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > FILE_BYTES_MAX:
            raise ValueError(f"{size} bytes are more than the {FILE_BYTES_MAX} a ring may have")
        return file.read(FILE_BYTES_MAX)


def parse_ring(content: bytes) -> Ring:
    """The ring in the bytes of a file. Raises ValueError, GunzipError or MsgspecError."""
    stream = Gunzip(content)
    if stream.read_exactly(len(MAGIC), "the magic") != MAGIC:
        raise ValueError("it does not begin with R1NG")
    (version,) = VERSION.unpack(stream.read_exactly(VERSION.size, "the format version"))
    match version:
        case 1:
            return _parse_header_and_rows(stream)
        case 2:
            return parse_sections(stream, len(MAGIC) + VERSION.size)
    raise ValueError(f"format version {version} is not supported")


def _parse_header_and_rows(stream: Gunzip) -> Ring:
    (length,) = HEADER_LENGTH.unpack(stream.read_exactly(HEADER_LENGTH.size, "the header's length"))
    if length > HEADER_BYTES_MAX:
        raise ValueError(f"a header of {length} bytes is more than the {HEADER_BYTES_MAX} allowed")
    header = msgspec.json.decode(stream.read_exactly(length, "the header"), type=RingHeader)
    rows = _read_rows(stream, header)
    stream.expect_end()
    return Ring(header.part_power, devices_of(header.devs), rows, header.version or 0, header.next_part_power)


def _read_rows(stream: Gunzip, header: RingHeader) -> list[array[int]]:
    """One array for each replica; the last one may end early."""
    row_count = math.ceil(header.replica_count)
    partition_count = 1 << header.part_power
    if row_count * partition_count > ASSIGNMENTS_MAX:
        raise ValueError(f"{row_count} replicas of {partition_count} partitions are more than a ring may have")
    rows = []
    for replica in range(row_count):
        row = array(TYPECODE)
        length = partition_count * row.itemsize
        if replica < row_count - 1:
            row.frombytes(stream.read_exactly(length, f"replica {replica}"))
        else:
            content = stream.read_up_to(length)
            if not content or len(content) % row.itemsize:
                raise ValueError(f"replica {replica} ends after {len(content)} of {length} bytes")
            row.frombytes(content)
        if header.byteorder != sys.byteorder:
            row.byteswap()
        rows.append(row)
    return rows


def write_ring(ring: Ring, path: str) -> None:
    """Replace the ring file atomically. The same ring always gives the same bytes. Blocks; raises RingFileError.

    The file is of version 1, which every reader knows, unless device ids do not fit into it.
    """
    fits = ring.devices[-1].id <= DEVICE_ID_MAX
    try:
        files.write_atomically(path, format_ring(ring) if fits else format_ring_v2(ring, WIDE_ID_BYTES), FILE_MODE)
    except OSError as error:
        raise RingFileError(path, f"cannot be written: {error.strerror or error}") from error


def format_ring(ring: Ring) -> bytes:
    """The bytes of a ring file, version 1. Raises ValueError when the ring has too many devices for it."""
    header = format_header(ring)
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, buffer, mtime=0) as stream:
        stream.write(MAGIC + VERSION.pack(1) + HEADER_LENGTH.pack(len(header)) + header)
        for row in ring.rows:
            stream.write(row if row.typecode == TYPECODE else array(TYPECODE, row))
    return buffer.getvalue()


def format_header(ring: Ring) -> bytes:
    """The JSON of a version 1 file, keys sorted."""
    last_id = ring.devices[-1].id
    if last_id > DEVICE_ID_MAX:
        raise ValueError(f"device id {last_id} does not fit a ring file of version 1, which ends at {DEVICE_ID_MAX}")
    devs: list[object] = [None] * (last_id + 1)
    for device in ring.devices:
        devs[device.id] = msgspec.to_builtins(device)
    header: dict[str, object] = {
        "byteorder": sys.byteorder,
        "devs": devs,
        "part_shift": ring.shift,
        "replica_count": len(ring.rows),
        "version": ring.version,
    }
    if ring.next_part_power is not None:
        header["next_part_power"] = ring.next_part_power
    return json.dumps(header, sort_keys=True).encode("ascii")


HEAD_BYTES: Final = 1 << 10
NARROW_BYTES: Final = 2
WIDE_BYTES: Final = 4


@dataclass(frozen=True)
class RingForm:
    """`id_bytes` None takes as many as the largest id needs. Version 1 knows ids of two bytes only."""

    version: int = 1
    id_bytes: int | None = None

    def content(self, ring: Ring) -> bytes:
        """The bytes of the file. Raises ValueError when the ring cannot be had in this form."""
        if self.version == 1:
            if self.id_bytes not in (None, NARROW_BYTES):
                raise ValueError(f"device ids of {self.id_bytes} bytes need a ring file of version 2")
            return format_ring(ring)
        narrow = ring.devices[-1].id <= DEVICE_ID_MAX
        return format_ring_v2(ring, self.id_bytes or (NARROW_BYTES if narrow else WIDE_BYTES))


def format_version(path: str) -> int:
    """The version of a ring file's format. Raises RingFileError when the file does not begin as one, RingMissing."""
    try:
        with open(path, "rb") as file:
            stream = Gunzip(file.read(HEAD_BYTES))
        magic = stream.read_exactly(len(MAGIC), "the magic")
        (version,) = VERSION.unpack(stream.read_exactly(VERSION.size, "the format version"))
    except FileNotFoundError:
        raise RingMissing(path) from None
    except OSError as error:
        raise RingFileError(path, f"cannot be read: {error.strerror or error}") from error
    except GunzipError as error:
        raise RingFileError(path, f"not a valid ring file: {error}") from error
    if magic != MAGIC:
        raise RingFileError(path, "not a valid ring file: it does not begin with R1NG")
    return int(version)
