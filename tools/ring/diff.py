"""`objstore ring diff`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from objstore.devices import Device
from objstore.ring.tiers import LEVEL_NAMES
from objstore.tools.ring.comparison import Comparison, compare
from objstore.tools.ring.opening import open_either, place_of
from objstore.tools.ring.output import echo_json, echo_table, json_option

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
