"""`objstore ring add`."""

from __future__ import annotations

import click

from objstore.tools.ring.changes import Changes
from objstore.tools.ring.editing import change_builder


@click.command()
@click.argument("builder")
@click.argument("devices", metavar="DEVICE=WEIGHT...", nargs=-1, required=True)
def add(builder: str, devices: tuple[str, ...]) -> None:
    """Add devices, such as r1z1-10.0.0.1:6200/sda=100.

    The parts are region, zone, address and name; R10.1.0.1:6300 after the address is that of replication, where it is
    another. They get partitions with the next rebalance.
    """
    change_builder(builder, "add", Changes(add=devices))
