"""`objstore ring plot`."""

from __future__ import annotations

import click
import numpy as np

from objstore.ring.builder import RingBuilder
from objstore.ring.errors import require
from objstore.ring.tiers import DEVICE_LEVEL, LEVEL_NAMES
from objstore.tools.charts.bars import Fill, Move, fill_panel, move_panel
from objstore.tools.charts.page import Panel, write_page
from objstore.tools.ring.changes import open_either
from objstore.tools.ring.diff import Comparison, compare, name_at
from objstore.tools.ringbuilder.report import BuilderReport
from objstore.tools.units import readable_percent

output_option = click.option("-o", "--output", required=True, metavar="FILE.svg", help="The drawing to write.")


@click.command()
@click.argument("file", metavar="BUILDER|RING")
@click.option("--against", metavar="OLD", help="Also draw what moved since this builder or ring.")
@output_option
def plot(file: str, against: str | None, output: str) -> None:
    """Draw how full regions, zones, servers and devices are, against their ideal, as SVG. Needs matplotlib.

    Of many devices, neighbours share a bar that shows their mean and range.
    """
    builder = open_either(file)
    require(builder.layout is not None, f"{file} was never balanced: there is nothing to draw")
    report = BuilderReport(builder)
    panels = _fill_panels(report)
    if against is not None:
        panels += _move_panels(compare(open_either(against), builder))
    settings = builder.settings
    title = (
        f"{file}, version {builder.version}: {settings.partition_count} partitions, {settings.replicas:g} replicas, "
        f"balance {readable_percent(report.balance)}, dispersion {report.dispersion:.2f}%"
    )
    write_page(output, title, panels)
    click.echo(f"{output} is drawn")


def _fill_panels(report: BuilderReport) -> list[Panel]:
    """One for each level at which there is more than one thing to compare."""
    builder, tiers = report.builder, report.tiers
    panels = []
    for level, tier in enumerate(LEVEL_NAMES):
        held = tiers.sums(level, report.held.astype(np.float64))
        ideal = tiers.sums(level, report.shares)
        names = _names(builder, level)
        if len(names) > 1 or level == DEVICE_LEVEL:
            fills = [Fill(name, float(held[node]), float(ideal[node])) for node, name in names.items()]
            panels.append(fill_panel(f"Fill of each {tier} ({len(fills)})", fills))
    return panels


def _move_panels(found: Comparison) -> list[Panel]:
    builder = RingBuilder(found.new_layout.settings, found.devices)
    panels = []
    for level, tier in enumerate(LEVEL_NAMES):
        departures, arrivals = found.moves.departures_by(level), found.moves.arrivals_by(level)
        names = _names(builder, level, found)
        if len(names) > 1 or level == DEVICE_LEVEL:
            moves = [Move(name, int(departures[node]), int(arrivals[node])) for node, name in names.items()]
            panels.append(move_panel(f"Moves of each {tier}: {found.moves.count} replicas", moves))
    return panels


def _names(builder: RingBuilder, level: int, found: Comparison | None = None) -> dict[int, str]:
    """The names of a level's nodes by their numbers, those that go together side by side."""
    tiers = builder.tiers if found is None else found.moves.tiers
    devices = sorted(
        builder.devices.values(), key=lambda each: (each.region, each.zone, each.ip, each.port, each.device)
    )
    return {int(tiers.nodes[level][device.id]): name_at(device, level) for device in devices}
