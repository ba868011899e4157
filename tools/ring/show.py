"""`objstore ring show`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.system.wallclock import WallClock
from objstore.tools.output import echo_json, echo_table, json_option
from objstore.tools.ring.changes import is_builder_file, open_either, place_of
from objstore.tools.ringbuilder.report import BuilderReport
from objstore.tools.units import finite, readable_seconds

NEVER_BALANCED = "it was never balanced: objstore ring rebalance makes its ring"
TABLE_HEADINGS = ("id", "<device", "weight", "partitions", "ideal", "balance", "<notes")


@click.command()
@click.argument("file", metavar="BUILDER|RING")
@json_option
def show(file: str, as_json: bool) -> None:
    """Show a builder or ring file: its settings, how good it is, and its devices."""
    report = BuilderReport(open_either(file))
    facts = _facts(file, report)
    if as_json:
        echo_json(facts | {"devices": [_device_facts(device, report) for device in report.devices_in_order()]})
        return
    click.echo(f"{file}: {facts['kind']} version {facts['version']}")
    click.echo(
        f"{facts['partitions']} partitions, {facts['replicas']:g} replicas, {facts['regions']} regions, "
        f"{facts['zones']} zones, {facts['servers']} servers, {len(report.builder.devices)} devices"
    )
    if facts["kind"] == "builder":
        _echo_settings(facts)
    if report.builder.layout is None:
        click.echo(NEVER_BALANCED)
    else:
        click.echo(f"balance {report.balance:.2f}%, dispersion {report.dispersion:.2f}%")
    if report.builder.devices:
        echo_table(TABLE_HEADINGS, (_cells(device, report) for device in report.devices_in_order()))


def _echo_settings(facts: dict[str, Any]) -> None:
    wait = facts["locked_seconds"]
    until = f"; some partitions are locked for another {readable_seconds(wait)}" if wait else ""
    click.echo(f"overload {100 * facts['overload']:g}%, min_part_hours {facts['min_part_hours']:g}{until}")
    if (power := facts["next_part_power"]) is not None:
        click.echo(f"the part power is being increased; the next is {power}")


def _facts(file: str, report: BuilderReport) -> dict[str, Any]:
    builder: RingBuilder = report.builder
    devices = builder.devices.values()
    facts: dict[str, Any] = {
        "kind": "ring",
        "version": builder.version,
        "part_power": builder.settings.part_power,
        "next_part_power": builder.next_part_power,
        "partitions": builder.settings.partition_count,
        "replicas": builder.settings.replicas,
        "regions": len({device.region for device in devices}),
        "zones": len({(device.region, device.zone) for device in devices}),
        "servers": len({(device.region, device.zone, device.ip) for device in devices}),
        "balanced": builder.layout is not None,
        "balance": finite(report.balance),
        "dispersion": report.dispersion,
    }
    if is_builder_file(file):
        facts |= {
            "kind": "builder",
            "overload": builder.settings.overload,
            "min_part_hours": builder.settings.min_part_hours,
            "locked_seconds": report.locked_seconds(WallClock().now()),
            "history": builder.history,
        }
    return facts


def _device_facts(device: Device, report: BuilderReport) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(device)
    return facts | {
        "partitions": int(report.held[device.id]),
        "ideal": float(report.shares[device.id]),
        "balance": float(report.balances[device.id]),
        "leaving": device.id in report.builder.removed,
        "limit": report.builder.limits.get(device.id),
    }


def _cells(device: Device, report: BuilderReport) -> tuple[str, ...]:
    limit = report.builder.limits.get(device.id)
    notes = [
        "leaving" if device.id in report.builder.removed else "",
        "" if device.weight or device.id in report.builder.removed else "draining",
        "" if limit is None else f"at most {limit}",
        device.meta,
    ]
    return (
        str(device.id),
        place_of(device),
        f"{device.weight:g}",
        str(report.held[device.id]),
        f"{report.shares[device.id]:.1f}",
        f"{report.balances[device.id]:+.2f}%",
        ", ".join(filter(None, notes)),
    )
