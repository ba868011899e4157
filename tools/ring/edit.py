"""Commands that make and change builder files, and write rings from them."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import SystemRandom
from typing import Final

import click
import numpy as np

from objstore.ring.builder import (
    RebalancePlan,
    RingBuilder,
    cancel_increase,
    finish_increase,
    increase,
    new_builder,
    prepare_increase,
)
from objstore.ring.builderfile import builder_lock, save_builder
from objstore.ring.errors import RingFileError
from objstore.ring.format import DEVICE_ID_MAX, FILE_MODE, RingForm, read_ring
from objstore.ring.ring import Ring, compose
from objstore.ring.settings import PART_POWER_MAX, RingSettings
from objstore.ring.swift_import import convert_swift_builder
from objstore.system import files
from objstore.system.wallclock import WallClock
from objstore.tools.output import progress, quiet_option
from objstore.tools.ring.changes import (
    BuilderChanges,
    change_builder,
    editing,
    info_option,
    limit_option,
    overload_option,
    region_option,
    replicas_option,
    ring_path,
    weight_option,
    zone_option,
)
from objstore.tools.ringbuilder.report import BuilderReport
from objstore.tools.ringbuilder.session import DONE, WARNING
from objstore.tools.units import SHARE, readable_percent, readable_seconds


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
    settings = RingSettings(part_power, replicas, min_part_hours, overload)
    session = editing(builder, ["create", str(part_power), str(replicas), str(min_part_hours)])
    with session.creating():
        made = new_builder(settings)
        made.version = 1
        session.save(made)
    click.echo(f"{builder}: {settings.partition_count} partitions; next: objstore ring add {builder} DEVICE=WEIGHT")


@click.command()
@click.argument("builder")
@click.argument("devices", metavar="DEVICE=WEIGHT...", nargs=-1, required=True)
def add(builder: str, devices: tuple[str, ...]) -> None:
    """Add devices, such as r1z1-10.0.0.1:6200/sda=100.

    The parts are region, zone, address and name; R10.1.0.1:6300 after the address is that of replication, where it is
    another. They get partitions with the next rebalance.
    """
    change_builder(builder, "add", BuilderChanges(add=devices))


@click.command()
@click.argument("builder")
@click.argument("devices", metavar="DEVICE...", nargs=-1, required=True)
def remove(builder: str, devices: tuple[str, ...]) -> None:
    """Remove devices: the next rebalance gives all they hold to others at once.

    DEVICE is an id or a search such as z2-10.0.0.1, which means every device it matches. That is for devices that are
    lost; to empty one that works, set its weight to 0 and rebalance until it is empty.
    """
    change_builder(builder, "remove", BuilderChanges(remove=devices))


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
    changes = BuilderChanges(
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
        if not (opened.removed or opened.is_changed_by(plan)):
            return _nothing_moved(BuilderReport(opened), now)
        opened.adopt(plan, now)
        session.save_with_ring(opened, form_for(opened))
    _say(opened, plan, builder)
    return DONE


def form_for(builder: RingBuilder) -> RingForm:
    """Version 1, which every reader knows, as long as it has room for the ids."""
    return RingForm(1 if max(builder.devices, default=0) <= DEVICE_ID_MAX else 2)


def _nothing_moved(report: BuilderReport, now_seconds: float) -> int:
    wait = report.locked_seconds(now_seconds)
    if wait and report.balance > 0:
        click.echo(f"nothing can be moved for another {readable_seconds(wait)} (min_part_hours)")
    else:
        click.echo("nothing needs to be moved")
    return WARNING


def _say(builder: RingBuilder, plan: RebalancePlan, path: str) -> None:
    replicas = int(np.count_nonzero(plan.layout.ids != plan.layout.nobody))
    ring = ring_path(path)
    click.echo(
        f"{plan.moved_count} replicas of partitions ({100 * plan.moved_count / replicas:.2f}%) got another device; "
        f"balance {readable_percent(plan.after.balance)}, dispersion {plan.after.dispersion:.2f}%"
    )
    click.echo(f"{ring} has version {builder.version}; next: objstore ring publish {ring}")


# Each with what comes after the ring has been published.
STEPS: Final[dict[str, tuple[Callable[[RingBuilder], None], str]]] = {
    "prepare": (prepare_increase, "relink on all object servers, then increase"),
    "increase": (increase, "clean up on all object servers, then finish"),
    "finish": (finish_increase, "nothing more"),
    "cancel": (cancel_increase, "clean up on all object servers, then finish"),
}


@click.command()
@click.argument("builder")
@click.argument("step", type=click.Choice(list(STEPS)))
def power(builder: str, step: str) -> None:
    """Double the partitions, in steps: prepare, increase, finish; cancel goes back before the increase.

    Each step writes the ring, which is then to be published. No data is copied: each partition becomes two, on the
    devices it was on.
    """
    change, following = STEPS[step]
    session = editing(builder, ["power", step])
    with session.locked() as opened:
        change(opened)
        session.save_with_ring(opened, form_for(opened))
    click.echo(f"part power {opened.settings.part_power}; next: publish {ring_path(builder)}; {following}")


@click.command("compose")
@click.argument("target", metavar="RING")
@click.argument("components", metavar="COMPONENT...", nargs=-1, required=True)
@quiet_option
def compose_rings(target: str, components: tuple[str, ...], quiet: bool) -> None:
    """Put the rings COMPONENT... together as RING, which has the replicas of them all.

    Each component is a ring file of regions of its own, with a builder of its own, and all have the same part power.
    A RING that is there already is replaced; its version is one more then.
    """
    with progress("reading", len(components), quiet) as advance:
        rings = []
        for path in components:
            rings.append(read_ring(path))
            advance(1)
    version = read_ring(target).version + 1 if os.path.exists(target) else 1
    made = compose(rings, version)
    _write(made, target)
    click.echo(
        f"{target}: version {made.version}, {made.partition_count} partitions, {made.replica_count:g} replicas, "
        f"{len(made.devices)} devices"
    )


def _write(ring: Ring, path: str) -> None:
    form = RingForm(1 if ring.devices[-1].id <= DEVICE_ID_MAX else 2)
    try:
        files.write_atomically(path, form.content(ring), FILE_MODE)
    except OSError as error:
        raise RingFileError(path, f"cannot be written: {error.strerror or error}") from error


@click.command("import")
@click.argument("source", metavar="SWIFT_BUILDER")
@click.argument("target", metavar="BUILDER")
def import_builder(source: str, target: str) -> None:
    """Convert a builder file of Swift.

    Everything is taken over: devices and those marked for removal, weights, the partitions of each device, when they
    were moved, the overload, the version and the state of a part power increase. The ring it gives is the same one.
    The file is a pickle, of which only plain data is read; nothing in it is ever executed. BUILDER must not be there
    yet.
    """
    if os.path.exists(target):
        raise RingFileError(target, "exists already; move it away first")
    builder = convert_swift_builder(source)
    try:
        with builder_lock(target):
            save_builder(builder, target, f"import {source}", WallClock().now())
    except OSError as error:
        raise RingFileError(target, f"cannot be locked: {error.strerror or error}") from error
    click.echo(
        f"{target}: version {builder.version}, {builder.settings.partition_count} partitions, "
        f"{len(builder.devices)} devices. `objstore-ring-builder {target} write_ring` writes its ring."
    )
