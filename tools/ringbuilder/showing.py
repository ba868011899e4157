"""Subcommands that look and change nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Final

import click
import numpy as np

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.ring.errors import BuilderError, RingFileError, RingMissing, require
from objstore.ring.format import NARROW_BYTES, format_version, read_ring
from objstore.ring.layout import Layout
from objstore.ring.quality import doubled_count
from objstore.ring.ring import Ring
from objstore.ring.targets import structural_caps
from objstore.ring.tiers import LEVEL_NAMES, Ints, Tiers
from objstore.tools.ringbuilder.arguments import found, searches
from objstore.tools.ringbuilder.report import BuilderReport, device_table, summary, table
from objstore.tools.ringbuilder.session import DONE, SEARCH_OPTIONS, WARNING, BuilderSession, Subcommand, device_command

TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
SECONDS_MAX: Final = 253_402_300_799  # the year 9999


def show(session: BuilderSession) -> int:
    """The builder and its devices."""
    builder = session.load()
    report = BuilderReport(builder)
    click.echo(summary(session.files.builder, report, session.clock.now()))
    click.echo(_ring_state(session.files.ring, builder))
    click.echo(device_table(report.devices_in_order(), report))
    if not builder.devices:
        click.echo("There are no devices in this ring yet.")
    if (increase := _increase_state(builder)) is not None:
        click.echo(f"\n{increase}")
    return DONE


@device_command("search", "[SEARCH]...", SEARCH_OPTIONS)
def search(session: BuilderSession, /, words: tuple[str, ...], **options: str | None) -> None:
    """Show the devices that match a search value, or options.

    \b
    d74              the device with the id 74
    r4               devices in region 4
    z1               devices in zone 1
    z1-1.2.3.4       devices in zone 1 with the ip 1.2.3.4
    1.2.3.4          devices with the ip 1.2.3.4
    [::1]:5678       devices with the ip ::1 and the port 5678
    z1:5678          devices in zone 1 with the port 5678
    :5678            devices with the port 5678
    R5.6.7.8         devices with the replication ip 5.6.7.8
    R:5678           devices with the replication port 5678
    /sdb1            devices with the name sdb1
    _shiny           devices with shiny in their meta

    All parts together: d74r4z1-1.2.3.4:5678R5.6.7.8:5679/sdb1_shiny
    """
    wanted = searches(words, options)
    builder = session.load()
    devices = found(builder, wanted)
    require(bool(devices), "no device matches")
    click.echo(device_table(devices, BuilderReport(builder)))


def balanced(session: BuilderSession, builder: RingBuilder) -> Layout:
    """The builder's layout. Raises BuilderError when there is none yet."""
    if builder.layout is None:
        raise BuilderError(f"{session.files.builder} was never balanced: rebalance it first")
    return builder.layout


@device_command("list_parts", "[SEARCH]...", SEARCH_OPTIONS)
def list_parts(session: BuilderSession, /, words: tuple[str, ...], **options: str | None) -> None:
    """List the partitions on the devices that match, those with the most replicas on them first."""
    wanted = searches(words, options)
    builder = session.load()
    layout = balanced(session, builder)
    devices = found(builder, wanted)
    require(bool(devices), "no device matches")
    matches = np.isin(layout.ids, [device.id for device in devices]).sum(axis=0)
    partitions = np.flatnonzero(matches)
    partitions = partitions[np.argsort(-matches[partitions], kind="stable")]
    rows = zip(map(str, partitions.tolist()), map(str, matches[partitions].tolist()), strict=True)
    click.echo(table(("Partition", "Matches"), rows))


@click.command("version", cls=Subcommand)
@click.pass_obj
def version(session: BuilderSession) -> None:
    """Show the versions of the ring file: of its format, and of the builder that wrote it."""
    path = session.files.ring
    form, ring = format_version(path), read_ring(path)
    click.echo(
        f"{path}: Serialization version: {form} ({ring.rows[0].itemsize if form > 1 else NARROW_BYTES}-byte IDs), "
        f"build version: {ring.version}"
    )


@click.command("history", cls=Subcommand)
@click.pass_obj
def history(session: BuilderSession) -> None:
    """Show what was done to the builder: the version it made, when (UTC), and the words it was done with."""
    rows = (
        (str(entry.version), _time(entry.seconds), " ".join(entry.what.split())) for entry in session.load().history
    )
    click.echo(table(("Version", "<Time", "<Command"), rows))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(min(max(seconds, 0), SECONDS_MAX), UTC).strftime(TIME_FORMAT)


@click.command("validate", cls=Subcommand)
@click.pass_obj
def validate(session: BuilderSession) -> int:
    """Check the builder file and, if there is one, the ring file.

    Warns of partitions that are twice on one device although there are enough others, and of a ring file that is not
    up to date."""
    builder = session.load()
    layout = balanced(session, builder)
    usable = sum(device.weight > 0 for device in builder.devices.values())
    warnings = []
    if layout.settings.row_count <= usable and (doubled := doubled_count(layout)):
        warnings.append(f"{doubled} partitions are on one device twice")
    if not os.path.exists(session.files.ring):
        warnings.append(f"{session.files.ring} was not written yet")
    elif not _is_of(read_ring(session.files.ring), builder):
        warnings.append(f"{session.files.ring} is not up to date")
    for warning in warnings:
        click.echo(f"WARNING: {warning}", err=True)
    return WARNING if warnings else DONE


def _ring_state(path: str, builder: RingBuilder) -> str:
    """Whether the ring file is what the builder would write now."""
    try:
        written = read_ring(path)
    except RingMissing:
        return f"Ring file {path} not found, probably it hasn't been written yet"
    except RingFileError as error:
        return f"Ring file {path} cannot be used: {error.reason}"
    if _is_of(written, builder):
        return f"Ring file {path} is up-to-date"
    return f"Ring file {path} is obsolete"


def _is_of(ring: Ring, builder: RingBuilder) -> bool:
    """Whether a ring is what the builder would write now; versions and the width of ids do not matter."""
    devices = tuple(builder.devices[key] for key in sorted(builder.devices))
    ours = builder.settings.part_power, builder.next_part_power, devices
    if builder.layout is None or (ring.part_power, ring.next_part_power, ring.devices) != ours:
        return False
    pairs = zip_longest(ring.rows, builder.layout.rows(), fillvalue=())
    return all(np.array_equal(np.asarray(one), np.asarray(other)) for one, other in pairs)


def _increase_state(builder: RingBuilder) -> str | None:
    power, following = builder.settings.part_power, builder.next_part_power
    if following is None:
        return None
    if following > power:
        return (
            f"Preparing increase of partition power ({power} -> {following})\n"
            "Run the relinker on all nodes before moving on to increase_partition_power."
        )
    return (
        f"Increased partition power, or cancelled the increase; it is {power}\n"
        "Write and distribute the ring, and run the relinker's cleanup on all nodes before moving on to "
        "finish_increase_partition_power."
    )


@dataclass(frozen=True)
class TierReport:
    """`partitions[n]` have n replicas in the tier; `too_close` replicas are beyond the `most` it should have."""

    name: str
    partitions: tuple[int, ...]
    most: int
    too_close: int

    @property
    def replicas(self) -> int:
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
def dispersion(session: BuilderSession, pattern: str, verbose: bool, recalculate: bool) -> int:
    """Report how far apart replicas are. PATTERN, a regular expression, chooses tiers by their names.

    Tiers are named r1, r1z2, r1z2-10.0.0.1 and r1z2-10.0.0.1/sdb1. "r\\d+z\\d+$" chooses the zones, ".*-[^/]*$" the
    servers. For each tier, --verbose shows how many replicas it has, the percentage of these that is too close to
    others, the most replicas of a partition it should have, and how many partitions have none, one, two and so on."""
    chosen = _compiled(pattern)
    builder = session.load()
    layout = balanced(session, builder)
    report = BuilderReport(builder)
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
