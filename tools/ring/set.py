"""`objstore ring set`."""

from __future__ import annotations

import click

from objstore.tools.ring.changes import Changes, limit_option, overload_option, replicas_option, weight_option
from objstore.tools.ring.editing import change_builder


@click.command("set")
@click.argument("builder")
@weight_option
@limit_option
@replicas_option
@overload_option
@click.option("--min-part-hours", type=float, help="Hours until a partition moves again.")
def set_(
    builder: str,
    weights: tuple[str, ...],
    limits: tuple[str, ...],
    replicas: float | None,
    overload: float | None,
    min_part_hours: float | None,
) -> None:
    """Change weights and limits of devices, or settings of the ring.

    DEVICE is an id or a search such as z2-10.0.0.1, which means every device it matches. Partitions move with the next
    rebalance.
    """
    changes = Changes(
        weights=weights, limits=limits, replicas=replicas, overload=overload, min_part_hours=min_part_hours
    )
    if not changes.words:
        raise click.UsageError("say what to set; see --help")
    change_builder(builder, "set", changes)
