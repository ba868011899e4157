"""objstore ring diff: two states of a ring side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click
import msgspec
import numpy as np

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.ring.errors import require
from objstore.ring.layout import Layout
from objstore.ring.moves import Moves, moves_between
from objstore.ring.tiers import LEVEL_NAMES, make_tiers
from objstore.tools.output import echo_json, echo_table, json_option
from objstore.tools.ring.changes import open_either, place_of


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


CHANGEABLE = ("region", "zone", "weight", "replication_ip", "replication_port", "meta")


@click.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@json_option
def diff(old: str, new: str, as_json: bool) -> None:
    """Compare two builder or ring files: devices that came, went or changed, and the partitions that moved."""
    builders = open_either(old), open_either(new)
    found = compare(*builders)
    tiers = _tier_rows(found)
    if as_json:
        echo_json(
            {
                "old_version": builders[0].version,
                "new_version": builders[1].version,
                "added": [msgspec.to_builtins(device) for device in found.added],
                "removed": [msgspec.to_builtins(device) for device in found.removed],
                "changed": [_change_facts(*pair) for pair in found.changed],
                "partitions_moved": found.moves.partitions,
                "replicas_moved": found.moves.count,
                "tiers": tiers,
            }
        )
        return
    click.echo(f"version {builders[0].version} -> {builders[1].version}")
    for word, devices in (("added", found.added), ("removed", found.removed)):
        for device in devices:
            click.echo(f"{word}: device {device.id}, {place_of(device)}, weight {device.weight:g}")
    for pair in found.changed:
        changes = ", ".join(f"{name} {before} -> {after}" for name, (before, after) in _changes(*pair).items())
        click.echo(f"changed: device {pair[1].id}, {place_of(pair[1])}: {changes}")
    total = found.old_layout.ids.shape[1]
    click.echo(f"{found.moves.count} replicas moved, of {found.moves.partitions} of {total} partitions")
    cells = ((row["tier"], row["name"], str(row["departures"]), str(row["arrivals"])) for row in tiers)
    if found.moves.partitions:
        echo_table(("<tier", "<name", "left", "arrived"), cells)


def _changes(before: Device, after: Device) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in CHANGEABLE}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _change_facts(before: Device, after: Device) -> dict[str, Any]:
    return {"id": after.id, "device": place_of(after), "changes": _changes(before, after)}


def _tier_rows(found: Comparison) -> list[dict[str, Any]]:
    """Of every region, zone, server and device that anything left or reached."""
    rows = []
    for level, tier in enumerate(LEVEL_NAMES):
        departures, arrivals = found.moves.departures_by(level), found.moves.arrivals_by(level)
        names = {
            int(found.moves.tiers.nodes[level][key]): name_at(device, level) for key, device in found.devices.items()
        }
        rows += [
            {"tier": tier, "name": names[node], "departures": int(departures[node]), "arrivals": int(arrivals[node])}
            for node in sorted(names)
            if departures[node] or arrivals[node]
        ]
    return rows


def name_at(device: Device, level: int) -> str:
    """What the region, zone, server or device of a device is called."""
    zone = f"r{device.region}z{device.zone}"
    return (f"r{device.region}", zone, f"{zone}-{device.ip}", place_of(device))[level]
