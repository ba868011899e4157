"""`objstore ring remove`."""

from __future__ import annotations

import click

from objstore.tools.ring.changes import Changes
from objstore.tools.ring.editing import change_builder


@click.command()
@click.argument("builder")
@click.argument("devices", metavar="DEVICE...", nargs=-1, required=True)
def remove(builder: str, devices: tuple[str, ...]) -> None:
    """Remove devices: the next rebalance gives all they hold to others at once.

    DEVICE is an id or a search such as z2-10.0.0.1, which means every device it matches. That is for devices that are
    lost; to empty one that works, set its weight to 0 and rebalance until it is empty.
    """
    change_builder(builder, "remove", Changes(remove=devices))
