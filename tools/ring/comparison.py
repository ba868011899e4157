"""Two states of a ring side by side: which devices are the same, what moved between them."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.ring.errors import require
from objstore.ring.layout import Layout
from objstore.ring.moves import Moves, moves_between
from objstore.ring.tiers import make_tiers


@dataclass(frozen=True, eq=False)
class Comparison:
    """`devices` are all of both, by ids that are those of the new ring, and beyond those for devices only the old has.

    A device is the same if it is at the same address under the same name, whatever its id.
    """

    devices: dict[int, Device]
    added: list[Device]
    removed: list[Device]
    changed: list[tuple[Device, Device]]
    moves: Moves
    old_layout: Layout
    new_layout: Layout


def compare(old: RingBuilder, new: RingBuilder) -> Comparison:
    """Raises BuilderError when they cannot be compared."""
    if old.layout is None or new.layout is None:
        require(False, "a builder that was never balanced has no partitions to compare")
        raise AssertionError
    old_power, new_power = old.settings.part_power, new.settings.part_power
    require(old_power == new_power, f"their part powers differ: {old_power} and {new_power}")
    there = {_place(device): device for device in new.devices.values()}
    devices = dict(new.devices)
    translated: dict[int, int] = {}
    removed, changed = [], []
    for device in old.devices.values():
        match = there.get(_place(device))
        if match is None:
            fresh = max(devices, default=-1) + 1
            devices[fresh] = msgspec.structs.replace(device, id=fresh)
            removed.append(device)
        elif _described(match) != _described(device):
            changed.append((device, match))
        translated[device.id] = fresh if match is None else match.id
    before = {_place(device) for device in old.devices.values()}
    added = [device for device in new.devices.values() if _place(device) not in before]
    old_layout = _translate(old.layout, translated)
    moves = moves_between(old_layout, new.layout, make_tiers(devices.values()))
    return Comparison(devices, added, removed, changed, moves, old_layout, new.layout)


def _translate(layout: Layout, ids: dict[int, int]) -> Layout:
    """The layout under other ids."""
    table = np.zeros(max(ids, default=0) + 1, np.uint32)
    for old, new in ids.items():
        table[old] = new
    nobody = np.iinfo(np.uint32).max
    placed = layout.ids != layout.nobody
    result = np.full(layout.ids.shape, nobody, np.uint32)
    result[placed] = table[layout.ids[placed]]
    return Layout(layout.settings, result)


def _place(device: Device) -> tuple[str, int, str]:
    return device.ip, device.port, device.device


def _described(device: Device) -> tuple[int, int, float, str, int, str]:
    return device.region, device.zone, device.weight, device.replication_ip, device.replication_port, device.meta
