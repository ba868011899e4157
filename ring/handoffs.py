"""Where copies go when primaries cannot take them."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Final

from objstore.devices import Device

WALK_STEPS_MAX: Final = 65536  # partitions looked at for each tier; more would find no better device


class Handoffs:
    """Finds handoffs of partitions by walking the ring itself, so that they are spread by weight as it is.

    The walk starts at a partition derived from a hash of the first one, so that the partitions of a lost device
    hand off to different devices.
    """

    __slots__ = ("__dict__", "_devices", "_held", "_part_power", "_rows")

    def __init__(
        self, devices: Sequence[Device], rows: Sequence[array[int]], part_power: int, held: Collection[int]
    ) -> None:
        """`held` are the ids that the rows name. Other devices are no handoffs: nobody looks for anything there.

        One that is being drained is, as long as it holds partitions: where copies go is a matter of the rows alone, so
        that whoever reads the same ring, Swift too, looks for them in the same places.
        """
        self._held: Final = held
        self._devices: Final = devices
        self._rows: Final = rows
        self._part_power: Final = part_power

    @cached_property
    def _usable(self) -> dict[int, Device]:
        return {device.id: device for device in self._devices if device.id in self._held}

    @cached_property
    def _tiers(self) -> tuple[dict[int, int], ...]:
        """From device id to the number of its region, of its zone, of its server; usable and other devices."""
        keys = (
            lambda device: device.region,
            lambda device: (device.region, device.zone),
            lambda device: (device.region, device.zone, device.ip),
            lambda device: device.id,
        )
        return tuple(_numbered({device.id: key(device) for device in self._devices}) for key in keys)

    @cached_property
    def _usable_places(self) -> tuple[frozenset[int], ...]:
        return tuple(frozenset(place_of[device_id] for device_id in self._usable) for place_of in self._tiers)

    def of(self, partition: int, primaries: Sequence[Device]) -> Iterator[Device]:
        """The handoffs of a partition, lazily; see Ring.handoffs."""
        usable = self._usable
        chosen = {device.id for device in primaries}
        for place_of, usable_places in zip(self._tiers, self._usable_places, strict=True):
            missing = usable_places - {place_of[device_id] for device_id in chosen}
            if not missing:
                continue
            # Devices with a share so small that the walk does not meet them come at its end.
            for device_id in chain(self._walk(partition), usable):
                if place_of[device_id] in missing and device_id in usable:
                    missing -= {place_of[device_id]}
                    chosen.add(device_id)
                    yield usable[device_id]
                    if not missing:
                        break

    def _walk(self, partition: int) -> Iterator[int]:
        """Device ids of partitions evenly spaced over the whole ring, beginning at a hashed place."""
        count = 1 << self._part_power
        stride = max(count // WALK_STEPS_MAX, 1)
        digest = hashlib.md5(str(partition).encode(), usedforsecurity=False).digest()
        start = int.from_bytes(digest[:4], "big") >> (32 - self._part_power)
        # The second leg begins a stride in, so that the order is Swift's: either finds what the other handed off.
        for place in chain(range(start, count, stride), range(start % stride or stride, start, stride)):
            for row in self._rows:
                if place < len(row):
                    yield row[place]


def _numbered(keys: dict[int, object]) -> dict[int, int]:
    """Replace equal keys by equal small numbers."""
    numbers: dict[object, int] = {}
    return {device_id: numbers.setdefault(key, len(numbers)) for device_id, key in keys.items()}
