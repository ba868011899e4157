"""How far apart replicas are, by region, zone, server and device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import click
import numpy as np

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.ring.errors import BuilderError, require
from objstore.ring.layout import Layout
from objstore.ring.targets import structural_caps
from objstore.ring.tiers import LEVEL_NAMES, Ints, Tiers
from objstore.tools.ringbuilder.options import Subcommand
from objstore.tools.ringbuilder.report import Report
from objstore.tools.ringbuilder.session import DONE, WARNING, Session
from objstore.tools.ringbuilder.tables import table


@dataclass(frozen=True)
class TierReport:
    """`partitions[n]` have n replicas in the tier; `too_close` replicas are beyond the `most` it should have."""

    name: str
    partitions: tuple[int, ...]
    most: int
    too_close: int

    @property
    def replicas(self) -> int:
        """All replicas in the tier."""
        return sum(count * each for count, each in enumerate(self.partitions))

    @property
    def percent(self) -> float:
        """Of the replicas in the tier, how many are too close."""
        return 100 * self.too_close / self.replicas if self.replicas else 0.0


@click.command("dispersion", cls=Subcommand)
@click.argument("pattern", metavar="[PATTERN]", default="")
@click.option("-v", "--verbose", is_flag=True, help="Show every tier.")
@click.option("--recalculate", is_flag=True, help="Accepted and without effect: it is computed anew every time.")
@click.pass_obj
def dispersion(session: Session, pattern: str, verbose: bool, recalculate: bool) -> int:
    """Report how far apart replicas are. PATTERN, a regular expression, chooses tiers by their names.

    Tiers are named r1, r1z2, r1z2-10.0.0.1 and r1z2-10.0.0.1/sdb1. "r\\d+z\\d+$" chooses the zones, ".*-[^/]*$" the
    servers. For each tier, --verbose shows how many replicas it has, the percentage of these that is too close to
    others, the most replicas of a partition it should have, and how many partitions have none, one, two and so on."""
    chosen = _compiled(pattern)
    builder = session.load()
    layout = builder.layout
    if layout is None:
        raise BuilderError(f"{session.files.builder} was never balanced: rebalance it first")
    report = Report(builder)
    require(report.usable, "the devices cannot take all partitions, so there is no way replicas should be spread")
    tiers = [tier for tier in tier_reports(builder, layout, report.tiers) if chosen.search(tier.name)]
    click.echo(
        f"Dispersion is {report.dispersion:.6f}, Balance is {report.balance:.6f}, "
        f"Overload is {100 * builder.settings.overload:.2f}%"
    )
    click.echo(f"Required overload is {100 * report.required_overload:.6f}%")
    worst = max(tiers, key=lambda tier: tier.percent, default=None)
    if worst is not None and worst.too_close:
        click.echo(f"Worst tier is {worst.percent:.6f} ({worst.name})")
    if verbose and tiers:
        click.echo(_tier_table(tiers))
    return WARNING if report.dispersion > 0 else DONE


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise click.UsageError(f"{pattern!r} is no regular expression: {error}") from None


def _tier_table(tiers: list[TierReport]) -> str:
    counts = map(str, range(len(tiers[0].partitions)))
    rows = (
        (tier.name, str(tier.replicas), f"{tier.percent:.2f}", str(tier.most), *map(str, tier.partitions))
        for tier in tiers
    )
    return table(("<Tier", "Parts", "%", "Max", *counts), rows)


def tier_reports(builder: RingBuilder, layout: Layout, tiers: Tiers) -> list[TierReport]:
    """All tiers that devices are in, sorted by name such that what is inside of a tier follows it."""
    reports = {}
    for level in range(len(LEVEL_NAMES)):
        counts, most, too_close = _count(layout, tiers, level)
        for device in builder.devices.values():
            node = tiers.nodes[level][device.id]
            key = _path(device)[: level + 1]
            reports[key] = TierReport(
                _name(device, level), tuple(counts[node].tolist()), int(most[node]), int(too_close[node])
            )
    return [reports[key] for key in sorted(reports)]


def _count(layout: Layout, tiers: Tiers, level: int) -> tuple[Ints, Ints, Ints]:
    """By node of a level: partitions by their number of replicas there, most replicas, replicas beyond these."""
    nodes, rows = tiers.node_count(level), layout.settings.row_count
    counts = np.zeros((nodes, rows + 1), np.int64)
    most, too_close = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
    for ids, replicas in _kinds(layout):
        cap = np.maximum(structural_caps(tiers, replicas)[level], 1)
        places = tiers.nodes[level][ids]
        # A partition with n replicas in a node is met n times, each time with the count n.
        together = sum((places == other for other in places), np.zeros(places.shape, np.int64))
        met = np.bincount((places * (rows + 1) + together).ravel(), minlength=counts.size).reshape(counts.shape)
        kind = met // np.maximum(np.arange(rows + 1), 1)
        counts += kind
        most = np.maximum(most, cap)
        too_close += (kind * np.maximum(np.arange(rows + 1) - cap[:, None], 0)).sum(axis=1)
    counts[:, 0] = layout.settings.partition_count - counts[:, 1:].sum(axis=1)
    return counts, most, too_close


def _kinds(layout: Layout) -> Iterator[tuple[Ints, int]]:
    """The ids of the partitions with more replicas and of those with fewer, and how many replicas these are."""
    begin = 0
    for partitions, replicas in layout.settings.replica_counts:
        yield layout.ids[:replicas, begin : begin + partitions].astype(np.int64), replicas
        begin += partitions


def _path(device: Device) -> tuple[int | str, ...]:
    return device.region, device.zone, device.ip, device.device, device.port


def _name(device: Device, level: int) -> str:
    names = (f"r{device.region}", f"z{device.zone}", f"-{device.ip}", f"/{device.device}")
    return "".join(names[: level + 1])
