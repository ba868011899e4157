"""Subcommands that look and change nothing."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Final

import click
import numpy as np

from objstore.ring.builder import RingBuilder
from objstore.ring.errors import BuilderError, RingFileError, RingMissing
from objstore.ring.form import NARROW_BYTES, format_version
from objstore.ring.format import read_ring
from objstore.ring.ring import Ring
from objstore.tools.ringbuilder.choosing import found, searches
from objstore.tools.ringbuilder.options import SEARCH_OPTIONS, Subcommand, device_options
from objstore.tools.ringbuilder.report import Report
from objstore.tools.ringbuilder.session import DONE, WARNING, Session
from objstore.tools.ringbuilder.tables import device_table, summary, table

TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
SECONDS_MAX: Final = 253_402_300_799  # the year 9999


def show(session: Session) -> int:
    """The builder and its devices."""
    builder = session.load()
    report = Report(builder)
    click.echo(summary(session.files.builder, report, session.clock.now()))
    click.echo(_ring_state(session.files.ring, builder))
    click.echo(device_table(report.devices_in_order(), report))
    if not builder.devices:
        click.echo("There are no devices in this ring yet.")
    if (increase := _increase_state(builder)) is not None:
        click.echo(f"\n{increase}")
    return DONE


@click.command("search", cls=Subcommand)
@click.argument("words", metavar="[SEARCH]...", nargs=-1)
@device_options(SEARCH_OPTIONS)
@click.pass_obj
def search(session: Session, /, words: tuple[str, ...], **options: str | None) -> None:
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
    if not devices:
        raise BuilderError("no device matches")
    click.echo(device_table(devices, Report(builder)))


@click.command("list_parts", cls=Subcommand)
@click.argument("words", metavar="[SEARCH]...", nargs=-1)
@device_options(SEARCH_OPTIONS)
@click.pass_obj
def list_parts(session: Session, /, words: tuple[str, ...], **options: str | None) -> None:
    """List the partitions on the devices that match, those with the most replicas on them first."""
    wanted = searches(words, options)
    builder = session.load()
    if builder.layout is None:
        raise BuilderError(f"{session.files.builder} was never balanced: rebalance it first")
    devices = found(builder, wanted)
    if not devices:
        raise BuilderError("no device matches")
    matches = np.isin(builder.layout.ids, [device.id for device in devices]).sum(axis=0)
    partitions = np.flatnonzero(matches)
    partitions = partitions[np.argsort(-matches[partitions], kind="stable")]
    rows = zip(map(str, partitions.tolist()), map(str, matches[partitions].tolist()), strict=True)
    click.echo(table(("Partition", "Matches"), rows))


@click.command("version", cls=Subcommand)
@click.pass_obj
def version(session: Session) -> None:
    """Show the versions of the ring file: of its format, and of the builder that wrote it."""
    path = session.files.ring
    form, ring = format_version(path), read_ring(path)
    click.echo(
        f"{path}: Serialization version: {form} ({ring.rows[0].itemsize if form > 1 else NARROW_BYTES}-byte IDs), "
        f"build version: {ring.version}"
    )


@click.command("history", cls=Subcommand)
@click.pass_obj
def history(session: Session) -> None:
    """Show what was done to the builder: the version it made, when (UTC), and the words it was done with."""
    rows = (
        (str(entry.version), _time(entry.seconds), " ".join(entry.what.split())) for entry in session.load().history
    )
    click.echo(table(("Version", "<Time", "<Command"), rows))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(min(max(seconds, 0), SECONDS_MAX), UTC).strftime(TIME_FORMAT)


@click.command("validate", cls=Subcommand)
@click.pass_obj
def validate(session: Session) -> int:
    """Check the builder file and, if there is one, the ring file.

    Warns of partitions that are twice on one device although there are enough others, and of a ring file that is not
    up to date."""
    builder = session.load()
    ring = builder.ring()
    warnings = []
    doubled = _doubled(ring)
    if doubled:
        warnings.append(f"{doubled} partitions are on one device twice")
    if not os.path.exists(session.files.ring):
        warnings.append(f"{session.files.ring} was not written yet")
    elif not _is_of(read_ring(session.files.ring), builder):
        warnings.append(f"{session.files.ring} is not up to date")
    for warning in warnings:
        click.echo(f"WARNING: {warning}", err=True)
    return WARNING if warnings else DONE


def _doubled(ring: Ring) -> int:
    usable = sum(device.weight > 0 for device in ring.devices)
    rows = [np.asarray(row) for row in ring.rows]
    if len(rows) > usable:
        return 0
    doubled = np.zeros(ring.partition_count, np.bool_)
    for number, row in enumerate(rows):
        for other in rows[:number]:
            doubled[: len(row)] |= row == other[: len(row)]
    return int(np.count_nonzero(doubled))


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
