"""Builder files of Swift. They are pickles, of which only plain data is read: see `plain_pickle`.

Source: the keys are those of a file made by Swift's command, as `pickletools.dis` shows them.
"""

from __future__ import annotations

import dataclasses
import os
from array import array
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import Meta, Struct

from objstore.devices import Device
from objstore.ring.builder import SECONDS_PER_HOUR, RingBuilder, Seconds, restore_builder
from objstore.ring.errors import BuilderError, RingFileError, RingMissing, require
from objstore.ring.header import DeviceRow, devices_of
from objstore.ring.plain_pickle import PickleRefused, load_plain_pickle
from objstore.ring.settings import RingSettings, check_device

FILE_BYTES_MAX: Final = 1 << 28  # 2**24 partitions of three replicas need 160 MB
LONG_AGO_HOURS: Final = 255  # the most the file can say


class SwiftBuilder(Struct):
    """What is used of the file. `devs` has None at the ids of devices that are gone; `removed` are those of `devs`
    that the next rebalance empties. `rows` are arrays of device ids, `hours` an array of the hours since a partition
    was moved, counted at `hours_at`. The sums and counts that the file has as well are not needed."""

    part_power: int
    replicas: Annotated[float, Meta(gt=0)]
    min_part_hours: float
    version: Annotated[int, Meta(ge=0)]
    devs: list[DeviceRow | None]
    removed: list[DeviceRow] = msgspec.field(name="_remove_devs", default_factory=list)
    rows: list[Any] | None = msgspec.field(name="_replica2part2dev", default=None)
    hours: Any = msgspec.field(name="_last_part_moves", default=None)
    hours_at: float | None = msgspec.field(name="_last_part_moves_epoch", default=None)
    overload: float = 0.0
    next_part_power: int | None = None
    id: str | None = None


def read_swift_builder(path: str) -> SwiftBuilder:
    """Read a builder file of Swift. Blocks. Raises RingFileError with the reason, RingMissing if there is none."""
    try:
        return msgspec.convert(load_plain_pickle(_read(path)), SwiftBuilder)
    except FileNotFoundError:
        raise RingMissing(path, "no such builder file") from None
    except OSError as error:
        raise RingFileError(path, f"cannot be read: {error.strerror or error}") from error
    except (PickleRefused, msgspec.MsgspecError, ValueError) as error:
        raise RingFileError(path, f"not a valid builder file of Swift: {error}") from error


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > FILE_BYTES_MAX:
            raise ValueError(f"{size} bytes are more than the {FILE_BYTES_MAX} it may have")
        return file.read(FILE_BYTES_MAX)


def convert_swift_builder(path: str) -> RingBuilder:
    """The builder in a file of Swift, which gives the same ring. Raises RingFileError."""
    swift = read_swift_builder(path)
    try:
        return _convert(swift)
    except (BuilderError, ValueError, TypeError, OverflowError) as error:
        raise RingFileError(path, f"cannot be converted: {error}") from error


def _convert(swift: SwiftBuilder) -> RingBuilder:
    # Swift takes a negative one, by which nothing is locked, as by 0.
    hours = 0.0 if swift.min_part_hours < 0 else swift.min_part_hours
    settings = RingSettings(swift.part_power, swift.replicas, hours, swift.overload)
    power = swift.next_part_power
    require(power in (None, settings.part_power, settings.part_power + 1), f"its next part power is {power}")
    devices = devices_of(swift.devs)
    for device in devices:
        check_device(device)
    builder = _with_layout(settings, devices, swift)
    removed = {row.id for row in swift.removed}
    require(removed <= builder.devices.keys(), "a device that does not exist is to be removed")
    builder.devices |= {key: msgspec.structs.replace(builder.devices[key], weight=0.0) for key in removed}
    return dataclasses.replace(builder, removed=removed, version=swift.version, next_part_power=power)


def _with_layout(settings: RingSettings, devices: list[Device], swift: SwiftBuilder) -> RingBuilder:
    if not swift.rows:
        next_id = max((device.id for device in devices), default=-1) + 1
        return RingBuilder(settings, {device.id: device for device in devices}, next_id=next_id)
    require(all(isinstance(row, array) for row in swift.rows), "its replicas are no arrays")
    return restore_builder(settings, devices, swift.rows, _moved_at(settings, swift))


def _moved_at(settings: RingSettings, swift: SwiftBuilder) -> Seconds | None:
    """When each partition was moved, in seconds; None if the file does not know."""
    if not isinstance(swift.hours, array) or not swift.hours_at:
        return None
    hours = np.asarray(swift.hours).astype(np.int64)
    require(len(hours) == settings.partition_count, "the times of the last moves are not one for each partition")
    seconds = int(swift.hours_at) - hours * SECONDS_PER_HOUR
    seconds[hours >= LONG_AGO_HOURS] = 0
    return np.clip(seconds, 0, np.iinfo(np.uint32).max).astype(np.uint32)
