"""One ring from several, each of which is built by itself: for regions that are balanced independently."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import msgspec

from objstore.devices import Device
from objstore.ring.errors import require
from objstore.ring.ring import Ring


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
