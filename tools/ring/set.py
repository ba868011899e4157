"""`objstore ring set`."""

from __future__ import annotations

import click

from objstore.tools.ring.changes import (
    Changes,
    info_option,
    limit_option,
    overload_option,
    region_option,
    replicas_option,
    weight_option,
    zone_option,
)
from objstore.tools.ring.editing import change_builder


@click.command("set")
@click.argument("builder")
@weight_option
@limit_option
@region_option
@zone_option
@info_option
@replicas_option
@overload_option
@click.option("--min-part-hours", type=float, help="Hours until a partition moves again.")
def set_(
    builder: str,
    weights: tuple[str, ...],
    limits: tuple[str, ...],
    regions: tuple[str, ...],
    zones: tuple[str, ...],
    infos: tuple[str, ...],
    replicas: float | None,
    overload: float | None,
    min_part_hours: float | None,
) -> None:
    """Change weights, limits, places and addresses of devices, or settings of the ring.

    DEVICE is an id or a search such as z2-10.0.0.1, which means every device it matches. CHANGE has the form
    IP:PORTRIP:PORT/NAME_META; the parts left out stay. Partitions move with the next rebalance.
    """
    changes = Changes(
        weights=weights,
        limits=limits,
        regions=regions,
        zones=zones,
        infos=infos,
        replicas=replicas,
        overload=overload,
        min_part_hours=min_part_hours,
    )
    if not changes.words:
        raise click.UsageError("say what to set; see --help")
    change_builder(builder, "set", changes)
