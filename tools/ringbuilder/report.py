"""What a builder is like, as numbers and as tables of text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

import numpy as np

from objstore.devices import Device
from objstore.ring.builder import SECONDS_PER_HOUR, RingBuilder
from objstore.ring.errors import BuilderError
from objstore.ring.quality import quality_of, shares_by_weight
from objstore.ring.targets import targets, weighted_targets
from objstore.ring.tiers import Floats, Ints, Tiers

BALANCE_MAX: Final = 999.99  # shown for a device that holds partitions without being entitled to any
ALL_THE_OVERLOAD: Final = 1000.0


@dataclass(frozen=True, eq=False)
class BuilderReport:
    """Facts about a builder as it stands; computed when asked for."""

    builder: RingBuilder

    @cached_property
    def tiers(self) -> Tiers:
        return self.builder.tiers

    @property
    def usable(self) -> bool:
        """Whether the devices, as they are now, can take all partitions: by their weights, and their limits."""
        return bool(self.shares.any())

    @cached_property
    def held(self) -> Ints:
        size = len(self.tiers.weights)
        return np.zeros(size, np.int64) if self.builder.layout is None else self.builder.layout.held(size)

    @cached_property
    def shares(self) -> Floats:
        """The partitions each device should hold by its weight, by id; not whole numbers. All 0 if it cannot be."""
        try:
            return shares_by_weight(self.builder.settings, self.tiers)
        except BuilderError:
            return np.zeros(len(self.tiers.weights))

    @cached_property
    def balances(self) -> Floats:
        """How far each device is from its share, by id, in percent of the share."""
        held, shares = self.held, self.shares
        result = np.where(held > 0, BALANCE_MAX, 0.0)
        entitled = shares > 0
        result[entitled] = np.minimum(100 * (held[entitled] / shares[entitled] - 1), BALANCE_MAX)
        return result

    @cached_property
    def balance(self) -> float:
        """The balance of the device that is farthest from its share."""
        return float(np.max(np.abs(self.balances), initial=0.0))

    @cached_property
    def dispersion(self) -> float:
        """The percentage of replicas that are closer to others of their partition than need be."""
        layout = self.builder.layout
        return quality_of(layout, self.tiers).dispersion if layout is not None and self.usable else 0.0

    @cached_property
    def required_overload(self) -> float:
        """The share by which devices must take more than their weight's part so that replicas are as far apart as
        the devices allow."""
        if not self.usable:
            return 0.0
        tiers, settings = self.tiers, self.builder.settings
        weighted = weighted_targets(tiers, settings)
        best = targets(tiers, dataclasses.replace(settings, overload=ALL_THE_OVERLOAD))
        entitled = weighted > 0
        return max(0.0, float(np.max(best[entitled] / weighted[entitled]) - 1))

    def devices_in_order(self) -> list[Device]:
        """All devices, those that go together side by side."""
        return sorted(
            self.builder.devices.values(),
            key=lambda device: (device.region, device.zone, device.ip, device.port, device.device),
        )

    def locked_seconds(self, now_seconds: float) -> int:
        """How long it takes until every partition may be moved."""
        moved_at = self.builder.moved_at
        if moved_at is None or not moved_at.any():
            return 0
        unlocked_at = float(moved_at.max()) + self.builder.settings.min_part_hours * SECONDS_PER_HOUR
        return max(0, math.ceil(unlocked_at - now_seconds))


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


def device_table(devices: Iterable[Device], report: BuilderReport) -> str:
    return table(("<Devices:", *DEVICE_HEADINGS), (("", *_cells(device, report)) for device in devices))


def _cells(device: Device, report: BuilderReport) -> tuple[str, ...]:
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


def summary(path: str, report: BuilderReport, now_seconds: float) -> str:
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


def remaining(report: BuilderReport, now_seconds: float) -> str:
    """How long partitions are locked."""
    return f"{timedelta(seconds=report.locked_seconds(now_seconds))} remaining"


def _domains(builder: RingBuilder) -> str:
    zones = {(device.region, device.zone) for device in builder.devices.values()}
    return f"{len({region for region, _ in zones})} regions, {len(zones)} zones"
