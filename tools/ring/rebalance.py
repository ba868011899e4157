"""`objstore ring rebalance`."""

from __future__ import annotations

from random import SystemRandom
from typing import Final

import click
import numpy as np

from objstore.ring.builder import Plan, RingBuilder
from objstore.ring.form import RingForm
from objstore.ring.format import DEVICE_ID_MAX
from objstore.tools.ring.opening import editing, ring_path
from objstore.tools.ring.output import progress, quiet_option
from objstore.tools.ring.units import readable_percent, readable_seconds
from objstore.tools.ringbuilder.report import Report
from objstore.tools.ringbuilder.session import DONE, WARNING

SEED_BITS: Final = 32
seed_option = click.option("--seed", type=click.IntRange(0), help="Makes the result repeatable.")


@click.command()
@click.argument("builder")
@seed_option
@quiet_option
def rebalance(builder: str, seed: int | None, quiet: bool) -> int:
    """Give partitions to the devices as they are now, and write the ring file.

    Moves as little as possible, of each partition one replica at most, and none that was moved in the last
    min_part_hours. Exit status 1 when there was nothing to move.
    """
    if seed is None:
        seed = SystemRandom().getrandbits(SEED_BITS)
    session = editing(builder, ["rebalance", "--seed", str(seed)])
    now = session.clock.now()
    with session.locked() as opened:
        with progress("rebalancing", None, quiet):
            plan = opened.plan(seed, now)
        if not (opened.removed or changes_layout(opened, plan)):
            return _nothing_moved(Report(opened), now)
        opened.adopt(plan, now)
        session.save_with_ring(opened, form_for(opened))
    _say(opened, plan, builder)
    return DONE


def changes_layout(builder: RingBuilder, plan: Plan) -> bool:
    """Whether a plan would change anything."""
    return builder.layout is None or not np.array_equal(builder.layout.ids, plan.layout.ids)


def form_for(builder: RingBuilder) -> RingForm:
    """Version 1, which every reader knows, as long as it has room for the ids."""
    return RingForm(1 if max(builder.devices, default=0) <= DEVICE_ID_MAX else 2)


def _nothing_moved(report: Report, now_seconds: float) -> int:
    wait = report.locked_seconds(now_seconds)
    if wait and report.balance > 0:
        click.echo(f"nothing can be moved for another {readable_seconds(wait)} (min_part_hours)")
    else:
        click.echo("nothing needs to be moved")
    return WARNING


def _say(builder: RingBuilder, plan: Plan, path: str) -> None:
    replicas = int(np.count_nonzero(plan.layout.ids != plan.layout.nobody))
    ring = ring_path(path)
    click.echo(
        f"{plan.moved_count} replicas of partitions ({100 * plan.moved_count / replicas:.2f}%) got another device; "
        f"balance {readable_percent(plan.after.balance)}, dispersion {plan.after.dispersion:.2f}%"
    )
    click.echo(f"{ring} has version {builder.version}; next: objstore ring publish {ring}")
