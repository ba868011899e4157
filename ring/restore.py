"""A builder from the rows of a ring: when there is no builder file to load, or it is one of another program."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from objstore.devices import Device
from objstore.ring.builder import RingBuilder, Seconds
from objstore.ring.errors import require
from objstore.ring.layout import NARROW_ID_MAX, Layout
from objstore.ring.settings import Settings


def restore_builder(
    settings: Settings, devices: Iterable[Device], rows: Sequence[array[int]], moved_at: Seconds | None = None
) -> RingBuilder:
    """A builder with these rows as its layout; they hold a device id for each partition, the last one may end early.

    `moved_at` is by partition, in seconds since the epoch; without it no partition is locked. Raises BuilderError
    when the rows fit neither the settings nor the devices.
    """
    by_id = {device.id: device for device in devices}
    largest = max(by_id, default=-1)
    layout = _layout(settings, rows, np.dtype(np.uint16 if largest <= NARROW_ID_MAX else np.uint32))
    strange = set(np.unique(layout.ids).tolist()) - by_id.keys() - {layout.nobody}
    require(not strange, f"partitions are on a device that does not exist, with the id {min(strange, default=0)}")
    if moved_at is None:
        moved_at = np.zeros(settings.partition_count, np.uint32)
    require(len(moved_at) == settings.partition_count, "the times of the last moves are not one for each partition")
    return RingBuilder(settings, by_id, layout=layout, moved_at=moved_at, next_id=largest + 1)


def _layout(settings: Settings, rows: Sequence[array[int]], dtype: np.dtype[np.unsignedinteger]) -> Layout:
    """The rows as a matrix. Its replica count is the one they have, whatever the settings want from now on."""
    partitions, nobody = settings.partition_count, np.iinfo(dtype).max
    lengths = [len(row) for row in rows]
    whole = lengths[:-1] == [partitions] * (len(rows) - 1)
    require(bool(rows) and whole and 0 < lengths[-1] <= partitions, f"the replicas do not have {partitions} partitions")
    ids = np.full((len(rows), partitions), nobody, dtype)
    for replica, row in enumerate(rows):
        values = np.asarray(row)
        # Such an id would be taken for a place without a replica, or be cut to another one.
        require(bool(np.all((values >= 0) & (values < nobody))), f"replica {replica} has partitions without a device")
        ids[replica, : len(row)] = values
    return Layout(dataclasses.replace(settings, replicas=sum(lengths) / partitions), ids)
