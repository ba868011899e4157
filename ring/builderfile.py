"""Builder files: a header in JSON, the arrays, and a checksum of both. Versioned; nothing in them is ever executed.

    objstore ring builder 1\\n | length of the header, 8 bytes | header | ids | moved_at | XXH3-128 of all before

Numbers are little-endian. `ids` has shape (rows, partitions) with the item size the header says, `moved_at` one uint32
for each partition. Both are absent while the ring was never balanced.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import xxhash
from msgspec import Meta, Struct

from objstore.devices import Device
from objstore.ring.builder import HistoryEntry, RingBuilder
from objstore.ring.errors import BuilderError, RingFileError, RingMissing, require
from objstore.ring.layout import Layout
from objstore.ring.settings import RingSettings
from objstore.system import files

MAGIC: Final = b"objstore ring builder 1\n"
LENGTH: Final = struct.Struct("<Q")
DIGEST_BYTES: Final = 16
MOVED_AT_BYTES: Final = 4
FILE_BYTES_MAX: Final = 1 << 32
HISTORY_MAX: Final = 1000  # older entries are forgotten
FILE_MODE: Final = 0o644
LOCK_TIMEOUT_SECONDS: Final = 5.0
BACKUP_FOLDER: Final = "backups"


class LayoutHeader(Struct, frozen=True):
    """The layout was made for these settings, which may have been changed since."""

    replicas: float
    overload: float
    id_bytes: Literal[2, 4]


class BuilderHeader(Struct):
    """Everything but the arrays."""

    part_power: int
    replicas: float
    min_part_hours: float
    overload: float
    devices: list[Device]
    removed: list[int]
    version: int
    next_part_power: int | None
    next_id: int
    history: list[HistoryEntry]
    layout: LayoutHeader | None
    limits: dict[int, Annotated[int, Meta(ge=0)]] = {}

    @property
    def settings(self) -> RingSettings:
        return RingSettings(self.part_power, self.replicas, self.min_part_hours, self.overload)

    @property
    def layout_settings(self) -> RingSettings | None:
        """What the arrays were made for; None if there are none."""
        if self.layout is None:
            return None
        return RingSettings(self.part_power, self.layout.replicas, self.min_part_hours, self.layout.overload)

    @property
    def array_bytes(self) -> int:
        if self.layout is None or self.layout_settings is None:
            return 0
        per_partition = self.layout_settings.row_count * self.layout.id_bytes + MOVED_AT_BYTES
        return per_partition << self.part_power


def load_builder(path: str) -> RingBuilder:
    """Read a builder file. Blocks. Raises RingFileError with the reason, RingMissing if there is no file."""
    try:
        return parse_builder(_read_file(path))
    except FileNotFoundError:
        raise RingMissing(path, "no such builder file; create it first") from None
    except OSError as error:
        raise RingFileError(path, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, BuilderError, msgspec.MsgspecError) as error:
        raise RingFileError(path, f"not a valid builder file: {error}") from error


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > FILE_BYTES_MAX:
            raise ValueError(f"{size} bytes are more than the {FILE_BYTES_MAX} a builder may have")
        return file.read()


def parse_builder(content: bytes) -> RingBuilder:
    """Raises ValueError, BuilderError or MsgspecError."""
    header, arrays = _parse_header(content)
    builder = RingBuilder(
        settings=header.settings,
        devices={device.id: device for device in header.devices},
        removed=set(header.removed),
        version=header.version,
        next_part_power=header.next_part_power,
        next_id=header.next_id,
        history=header.history,
        saved_version=header.version,
        limits=dict(header.limits),
    )
    require(len(builder.devices) == len(header.devices), "two devices have the same id")
    require(builder.removed <= builder.devices.keys(), "a device that does not exist is to be removed")
    require(builder.limits.keys() <= builder.devices.keys(), "a device that does not exist has a limit")
    if header.layout is not None and header.layout_settings is not None:
        builder.layout = _parse_layout(header.layout_settings, header.layout.id_bytes, builder, arrays)
        partitions = header.settings.partition_count
        builder.moved_at = np.frombuffer(arrays, "<u4", partitions, builder.layout.ids.nbytes).astype(np.uint32)
    return builder


def _parse_header(content: bytes) -> tuple[BuilderHeader, bytes]:
    """The header and the bytes of the arrays; checks the file as a whole."""
    if content[: len(MAGIC)] != MAGIC:
        raise ValueError("it does not begin as one of version 1 does")
    body = memoryview(content)[:-DIGEST_BYTES]
    if len(body) < len(MAGIC) + LENGTH.size or xxhash.xxh3_128_digest(body) != content[-DIGEST_BYTES:]:
        raise ValueError("its checksum is wrong: it is damaged or truncated")
    (length,) = LENGTH.unpack_from(body, len(MAGIC))
    begin = len(MAGIC) + LENGTH.size
    header = msgspec.json.decode(body[begin : begin + length], type=BuilderHeader)
    arrays = body[begin + length :]
    if len(arrays) != header.array_bytes:
        raise ValueError("it has another length than its header says")
    return header, bytes(arrays)


def _parse_layout(settings: RingSettings, id_bytes: int, builder: RingBuilder, arrays: bytes) -> Layout:
    dtype = np.dtype(f"<u{id_bytes}")
    flat = np.frombuffer(arrays, dtype, settings.row_count * settings.partition_count)
    ids = flat.reshape(settings.row_count, -1).astype(dtype.newbyteorder("="))
    layout = Layout(settings, ids)
    present = np.unique(ids[:-1]), np.unique(ids[-1, : settings.replica_counts[0][0]])
    for values in present:
        require(builder.devices.keys() >= set(values.tolist()), "partitions are on devices it does not have")
    return layout


def format_builder(builder: RingBuilder) -> bytes:
    layout = builder.layout
    header = BuilderHeader(
        part_power=builder.settings.part_power,
        replicas=builder.settings.replicas,
        min_part_hours=builder.settings.min_part_hours,
        overload=builder.settings.overload,
        devices=[builder.devices[device_id] for device_id in sorted(builder.devices)],
        removed=sorted(builder.removed),
        version=builder.version,
        next_part_power=builder.next_part_power,
        next_id=builder.next_id,
        history=builder.history[-HISTORY_MAX:],
        layout=None if layout is None else _layout_header(layout),
        limits=builder.limits,
    )
    text = msgspec.json.encode(header)
    pieces = [MAGIC, LENGTH.pack(len(text)), text]
    if layout is not None and builder.moved_at is not None:
        pieces.append(layout.ids.astype(layout.ids.dtype.newbyteorder("<")).tobytes())
        pieces.append(builder.moved_at.astype("<u4").tobytes())
    body = b"".join(pieces)
    return body + xxhash.xxh3_128_digest(body)


def _layout_header(layout: Layout) -> LayoutHeader:
    settings = layout.settings
    return LayoutHeader(settings.replicas, settings.overload, 2 if layout.ids.itemsize == 2 else 4)


def save_builder(builder: RingBuilder, path: str, what: str, now_seconds: float) -> None:
    """Write the file atomically, adding to the history what was done and when; the old one goes to the backups.

    Hold `builder_lock` from loading to saving. Blocks. Raises RingFileError, also when the file is not the one this
    builder was loaded from; nothing is changed then.
    """
    try:
        _expect_unchanged(builder, path)
        entry = HistoryEntry(builder.version, now_seconds, what)
        content = format_builder(dataclasses.replace(builder, history=[*builder.history, entry]))
        back_up(path, now_seconds)
        files.write_atomically(path, content, FILE_MODE)
    except OSError as error:
        raise RingFileError(path, f"cannot be written: {error.strerror or error}") from error
    builder.history = [*builder.history, entry][-HISTORY_MAX:]
    builder.saved_version = builder.version


def _expect_unchanged(builder: RingBuilder, path: str) -> None:
    try:
        there = load_builder(path).version
    except RingMissing:
        return
    if there != builder.saved_version:
        reason = f"is now version {there}, not the {builder.saved_version} this change was made from; load it again"
        raise RingFileError(path, reason)


def back_up(path: str, now_seconds: float) -> None:
    """Keep the file that is about to be replaced as backups/SECONDS.NAME beside it."""
    folder, name = os.path.split(path)
    backups = os.path.join(folder, BACKUP_FOLDER)
    if os.path.exists(path):
        files.make_directories(backups)
        with open(path, "rb") as file:
            files.write_atomically(os.path.join(backups, f"{now_seconds:.6f}.{name}"), file.read(), FILE_MODE)


@contextmanager
def builder_lock(path: str) -> Iterator[None]:
    """Keeps a second builder away from the file. Raises RingFileError when another one is at work."""
    # Locks bring the event loop, which who only looks at a builder need not wait for.
    from objstore.system import locks

    try:
        with locks.locked(f"{path}.lock", LOCK_TIMEOUT_SECONDS):
            yield
    except locks.LockTimeout:
        raise RingFileError(path, "another builder is at work on it") from None
