"""Tables of text: columns as wide as their widest cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.tools.ringbuilder.report import Report

# A heading that begins with "<" is that of a column of text, which is set to the left.
DEVICE_HEADINGS: Final = (
    "id", "region", "zone", "ip address:port", "replication ip:port", "name", "weight", "partitions", "balance",
    "<flags", "<meta",
)  # fmt: skip
REMOVED_FLAG: Final = "DEL"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The lines of a table; no line ends in blanks."""
    left = [heading.startswith("<") for heading in headings]
    lines = [tuple(heading.removeprefix("<") for heading in headings), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.ljust if each else str.rjust for each in left]
    return "\n".join(
        " ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)).rstrip()
        for line in lines
    )


def device_table(devices: Iterable[Device], report: Report) -> str:
    """One line for each device."""
    return table(("<Devices:", *DEVICE_HEADINGS), (("", *_cells(device, report)) for device in devices))


def _cells(device: Device, report: Report) -> tuple[str, ...]:
    return (
        str(device.id),
        str(device.region),
        str(device.zone),
        device.address,
        device.on_replication.address,
        device.device,
        f"{device.weight:.2f}",
        str(report.held[device.id]),
        f"{report.balances[device.id]:.2f}",
        _flags(device, report.builder),
        device.meta,
    )


def _flags(device: Device, builder: RingBuilder) -> str:
    if device.id in builder.removed:
        return REMOVED_FLAG
    limit = builder.limits.get(device.id)
    return "" if limit is None else f"MAX={limit}"


def summary(path: str, report: Report, now_seconds: float) -> str:
    """What stands above the table of devices."""
    builder, settings = report.builder, report.builder.settings
    return "\n".join(
        (
            f"{path}, build version {builder.version}",
            f"{settings.partition_count} partitions, {settings.replicas:.6f} replicas, {_domains(builder)}, "
            f"{len(builder.devices)} devices, {report.balance:.2f} balance, {report.dispersion:.2f} dispersion",
            "The minimum number of hours before a partition can be reassigned is "
            f"{settings.min_part_hours:g} ({remaining(report, now_seconds)})",
            f"The overload factor is {in_both_forms(settings.overload)}",
        )
    )


def in_both_forms(share: float) -> str:
    """A share as a percentage and as it is."""
    return f"{100 * share:.2f}% ({share:.6f})"


def remaining(report: Report, now_seconds: float) -> str:
    """How long partitions are locked."""
    return f"{timedelta(seconds=report.locked_seconds(now_seconds))} remaining"


def _domains(builder: RingBuilder) -> str:
    zones = {(device.region, device.zone) for device in builder.devices.values()}
    return f"{len({region for region, _ in zones})} regions, {len(zones)} zones"
