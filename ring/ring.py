"""The ring as servers use it: from a path's digest to a partition, from a partition to devices."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from itertools import chain, repeat
from typing import Final

import msgspec

from objstore.devices import Device
from objstore.ring.errors import require

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


HASH_BITS: Final = 32
PART_POWER_MAX: Final = 32


class Ring:
    """Which devices hold each partition; immutable.

    `rows[replica][partition]` is a device id. Each row covers all 2**part_power partitions, except the last,
    which ends early when the replica count is fractional. Costs two bytes of memory (four beyond 65,535 devices)
    for each replica of each partition, and no time to build beyond checking that every id names a device.
    """

    __slots__ = (
        "_by_id",
        "_handoffs",
        "_short_length",
        "_short_row",
        "_whole_rows",
        "devices",
        "former",
        "next_part_power",
        "part_power",
        "replica_count",
        "rows",
        "shift",
        "version",
    )

    def __init__(
        self,
        part_power: int,
        devices: Sequence[Device],
        rows: Sequence[array[int]],
        version: int = 0,
        next_part_power: int | None = None,
    ) -> None:
        """Raises ValueError when rows and devices do not make a ring."""
        if not 0 <= part_power <= PART_POWER_MAX:
            raise ValueError(f"the part power must be 0 to {PART_POWER_MAX}, not {part_power}")
        # Rings that this one has replaced lately, newest first: what has moved may still lie where they say.
        self.former: tuple[Ring, ...] = ()
        self.part_power: Final = part_power
        self.next_part_power: Final = next_part_power
        self.version: Final = version
        self.shift: Final = HASH_BITS - part_power
        self.rows: Final = tuple(rows)
        self.devices: Final = tuple(sorted(devices, key=lambda device: device.id))
        self._by_id: Final = self._index()
        held = self._check_rows()
        last = self.rows[-1]
        whole = len(last) == self.partition_count
        self._whole_rows: Final = self.rows if whole else self.rows[:-1]
        self._short_row: Final = array(last.typecode) if whole else last
        self._short_length: Final = len(self._short_row)
        self.replica_count: Final = sum(map(len, self.rows)) / self.partition_count
        self._handoffs: Final = Handoffs(self.devices, self.rows, part_power, held)

    def _index(self) -> list[Device | None]:
        by_id: list[Device | None] = list(repeat(None, self.devices[-1].id + 1 if self.devices else 0))
        for device in self.devices:
            if by_id[device.id] is not None:
                raise ValueError(f"two devices have the id {device.id}")
            by_id[device.id] = device
        return by_id

    def _check_rows(self) -> frozenset[int]:
        """The ids of all devices that hold partitions. Raises ValueError."""
        if not self.rows or not self.rows[-1]:
            raise ValueError("the ring has no replicas")
        held: set[int] = set()
        for replica, row in enumerate(self.rows):
            is_last = replica == len(self.rows) - 1
            if len(row) > self.partition_count or (len(row) < self.partition_count and not is_last):
                raise ValueError(
                    f"replica {replica} has {len(row)} partitions where {self.partition_count} are expected"
                )
            held.update(ids := set(row))
            for device_id in ids:
                if device_id >= len(self._by_id) or self._by_id[device_id] is None:
                    raise ValueError(f"replica {replica} names the device id {device_id}, which does not exist")
        return frozenset(held)

    @property
    def partition_count(self) -> int:
        return 1 << self.part_power

    def device(self, device_id: int) -> Device | None:
        return self._by_id[device_id] if 0 <= device_id < len(self._by_id) else None

    def partition_of(self, digest: bytes) -> int:
        """The partition of a path by its MD5 digest: the top bits of the first four bytes, big-endian."""
        return int.from_bytes(digest[:4], "big") >> self.shift

    def former_primaries(self, partition: int) -> list[Device]:
        """Devices that lately should have held the partition and are no primaries now; nearly always none."""
        found: dict[int, Device] = {}
        if self.former:
            present = {device.id for device in self.primaries(partition)}
            for ring in self.former:
                if ring.part_power == self.part_power:
                    moved = (device for device in ring.primaries(partition) if device.id not in present)
                    found.update((device.id, device) for device in moved if device.id not in found)
        return list(found.values())

    def primaries(self, partition: int) -> tuple[Device, ...]:
        """The devices that should hold the partition, each once, in the order of its replicas.

        Raises IndexError for a partition the ring does not have.
        """
        ids = [row[partition] for row in self._whole_rows]
        if partition < self._short_length:
            ids.append(self._short_row[partition])
        by_id = self._by_id
        # Every id was checked when the ring was made, so none of these is None.
        return tuple([by_id[device_id] for device_id in dict.fromkeys(ids)])  # type: ignore[misc]

    def handoffs(self, partition: int) -> Iterator[Device]:
        """The devices to use when primaries cannot be, best first, found one at a time as they are asked for.

        They spread as primaries do: first regions without a copy, then zones, then servers, then devices. No
        primary is among them, no device twice; all others that hold any partition come in the end.
        """
        return self._handoffs.of(partition, self.primaries(partition))


def compose(components: Sequence[Ring], version: int) -> Ring:
    """Put the replicas of all components into one ring, in their order, with device ids counted on.

    Raises BuilderError unless there are two or more components, all with the same part power and a whole number of
    replicas, no region in two of them and no device twice.
    """
    require(len(components) > 1, "a composite ring needs two components or more")
    power = components[0].part_power
    regions: set[int] = set()
    places: set[tuple[str, int, str]] = set()
    devices: list[Device] = []
    rows: list[array[int]] = []
    for number, ring in enumerate(components, 1):
        require(ring.part_power == power, f"component {number} has the part power {ring.part_power}, not {power}")
        require(ring.next_part_power is None, f"component {number} is in the middle of a part power increase")
        require(
            ring.replica_count.is_integer(), f"component {number} has {ring.replica_count} replicas, no whole number"
        )
        here = {device.region for device in ring.devices}
        require(not here & regions, f"component {number} shares region {min(here & regions, default=0)} with another")
        regions |= here
        offset = devices[-1].id + 1 if devices else 0
        for device in ring.devices:
            place = (device.ip, device.port, device.device)
            require(place not in places, f"{device.device} on {device.address} is in two components")
            places.add(place)
            devices.append(msgspec.structs.replace(device, id=device.id + offset))
        rows.extend(_shifted(row, offset, devices[-1].id) for row in ring.rows)
    return Ring(power, devices, rows, version)


def _shifted(row: array[int], offset: int, largest: int) -> array[int]:
    return array("H" if largest < 1 << 16 else "I", [device_id + offset for device_id in row])
