"""The ring as servers use it: from a path's digest to a partition, from a partition to devices."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Final

from objstore.devices import Device
from objstore.ring.handoffs import Handoffs

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
        """The device with this id, None if there is none."""
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
