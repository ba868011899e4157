"""`objstore ring create`."""

from __future__ import annotations

import click

from objstore.ring.builder import new_builder
from objstore.ring.settings import PART_POWER_MAX, Settings
from objstore.tools.ring.opening import editing
from objstore.tools.ring.units import SHARE


@click.command()
@click.argument("builder")
@click.option(
    "--part-power", type=click.IntRange(0, PART_POWER_MAX), required=True, help="2 to this power is the partitions."
)
@click.option("--replicas", type=float, default=3.0, show_default=True, help="Replicas of each partition.")
@click.option(
    "--min-part-hours", type=float, default=24.0, show_default=True, help="Hours until a partition moves again."
)
@click.option("--overload", type=SHARE, default=0.0, metavar="SHARE", help="How far devices may exceed their part.")
def create(builder: str, part_power: int, replicas: float, min_part_hours: float, overload: float) -> None:
    """Make a new builder file without devices.

    Choose the part power for about a hundred partitions on each device of the largest cluster you foresee. All else
    can be changed later at any time.
    """
    settings = Settings(part_power, replicas, min_part_hours, overload)
    session = editing(builder, ["create", str(part_power), str(replicas), str(min_part_hours)])
    with session.creating():
        made = new_builder(settings)
        made.version = 1
        session.save(made)
    click.echo(f"{builder}: {settings.partition_count} partitions; next: objstore ring add {builder} DEVICE=WEIGHT")
