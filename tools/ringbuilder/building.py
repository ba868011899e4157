"""Subcommands about the whole ring: create it, change its settings, rebalance, write it, double its partitions."""

from __future__ import annotations

import dataclasses
import os
from typing import Final

import click
import numpy as np

from objstore.ring.builder import (
    RebalancePlan,
    RingBuilder,
    builder_of_ring,
    cancel_increase,
    finish_increase,
    increase,
    new_builder,
    prepare_increase,
)
from objstore.ring.errors import require
from objstore.ring.format import read_ring
from objstore.ring.moves import moves_between
from objstore.ring.settings import RingSettings
from objstore.tools.output import progress
from objstore.tools.ringbuilder.arguments import describe, number, seed, share, whole
from objstore.tools.ringbuilder.report import BuilderReport, in_both_forms, remaining, table
from objstore.tools.ringbuilder.session import DONE, WARNING, BuilderSession, Subcommand, form_options, ring_form

NEXT_REBALANCE: Final = "The change will take effect after the next rebalance."


@click.command("create", cls=Subcommand)
@click.argument("part_power")
@click.argument("replicas")
@click.argument("min_part_hours")
@click.pass_obj
def create(session: BuilderSession, part_power: str, replicas: str, min_part_hours: str) -> None:
    """Make a builder file for 2^PART_POWER partitions, each with REPLICAS replicas, which may be a fraction.

    Once a replica of a partition was moved, none of its replicas is moved again for MIN_PART_HOURS. A file that is
    there already is not replaced."""
    settings = RingSettings(
        whole(part_power, "the part power"),
        number(replicas, "the replica count"),
        number(min_part_hours, "min_part_hours"),
    )
    with session.creating():
        session.save(new_builder(settings))


@click.command("set_min_part_hours", cls=Subcommand)
@click.argument("hours")
@click.pass_obj
def set_min_part_hours(session: BuilderSession, hours: str) -> None:
    """Set for how long a partition stays where it is once it was moved: as long as a pass of replication takes."""
    value = number(hours, "min_part_hours")
    with session.changing() as builder:
        builder.set(dataclasses.replace(builder.settings, min_part_hours=value))
    click.echo(f"The minimum number of hours before a partition can be reassigned is now set to {value:g}")


@click.command("set_replicas", cls=Subcommand)
@click.argument("replicas")
@click.pass_obj
def set_replicas(session: BuilderSession, replicas: str) -> None:
    """Set the replica count. With 2.5, half of the partitions have two replicas and half of them three."""
    value = number(replicas, "the replica count")
    with session.changing() as builder:
        builder.set(dataclasses.replace(builder.settings, replicas=value))
    click.echo(f"The replica count is now {value:.6f}.\n{NEXT_REBALANCE}")


@click.command("set_overload", cls=Subcommand)
@click.argument("overload")
@click.pass_obj
def set_overload(session: BuilderSession, overload: str) -> int:
    """Set the overload: how much more than their weight's part devices may take, so that replicas are farther apart.

    A share such as 0.1, or a percentage such as 10%. Warns of a share above 1, which may be a slip."""
    value = share(overload, "the overload")
    with session.changing() as builder:
        builder.set(dataclasses.replace(builder.settings, overload=value))
    odd = value > 1 and not overload.endswith("%")
    if odd:
        click.echo("WARNING: the overload is greater than 100%", err=True)
    click.echo(f"The overload factor is now {in_both_forms(value)}\n{NEXT_REBALANCE}")
    return WARNING if odd else DONE


@click.command("pretend_min_part_hours_passed", cls=Subcommand)
@click.pass_obj
def pretend_min_part_hours_passed(session: BuilderSession) -> None:
    """Unlock all partitions, whenever they were moved.

    DANGEROUS: where replicas are still on their way, moving others of the same partitions makes data unavailable
    until replication is done."""
    with session.changing() as builder:
        builder.pretend_min_part_hours_passed()


BALANCE_LIMIT: Final = 5.0  # percent; beyond it, and beyond the overload, a rebalance ends with a warning
DEFAULT_MIN_PART_HOURS: Final = 24.0
SEED_BITS: Final = 32


@click.command("rebalance", cls=Subcommand)
@click.option("-f", "--force", is_flag=True, help="Write builder and ring even if no partition moves.")
@click.option("-s", "--seed", "seed_word", metavar="SEED", help="Number or text that makes the result repeatable.")
@click.option("-d", "--debug", is_flag=True, help="Show how many partitions each device gets and gives away.")
@form_options
@click.pass_obj
def rebalance(
    session: BuilderSession,
    force: bool,
    seed_word: str | None,
    debug: bool,
    format_version: str,
    dev_id_bytes: str | None,
) -> int:
    """Assign partitions to the devices as they are now, and write the ring.

    Moves as few as possible, of each partition one replica at most, and none that was moved in the last
    min_part_hours. Warns when nothing could be moved, when the balance is worse than 5% and the overload, and when
    replicas are closer together than need be."""
    form = ring_form(format_version, dev_id_bytes)
    if seed_word is None:
        seed_word = str(session.random.getrandbits(SEED_BITS))
        session.words = [*session.words, "--seed", seed_word]
    now = session.clock.now()
    with session.locked() as builder:
        with progress("rebalancing", None, quiet=False):
            plan = builder.plan(seed(seed_word), now)
        if not (force or builder.removed or builder.is_changed_by(plan)):
            return _nothing_to_do(BuilderReport(builder), now)
        if debug:
            _echo_moves(builder, plan)
        builder.adopt(plan, now)
        session.save_with_ring(builder, form)
    return _result(builder, plan)


def _echo_moves(builder: RingBuilder, plan: RebalancePlan) -> None:
    moves = moves_between(builder.layout, plan.layout, builder.tiers)
    rows = (
        (describe(builder.devices[key]), str(moves.departures[key]), str(moves.arrivals[key]))
        for key in sorted(builder.devices)
        if moves.departures[key] or moves.arrivals[key]
    )
    click.echo(table(("<Device", "gives", "gets"), rows), err=True)


def _nothing_to_do(report: BuilderReport, now_seconds: float) -> int:
    click.echo("No partitions could be reassigned.")
    if report.locked_seconds(now_seconds) and report.balance > 0:
        hours = f"{report.builder.settings.min_part_hours:g}"
        wait = remaining(report, now_seconds)
        click.echo(f"The time between rebalances must be at least min_part_hours: {hours} hours ({wait})")
    else:
        click.echo("There is no need to do so at this time.")
    return WARNING


def _result(builder: RingBuilder, plan: RebalancePlan) -> int:
    report = BuilderReport(builder)
    replicas = int(np.count_nonzero(plan.layout.ids != plan.layout.nobody))
    click.echo(
        f"Reassigned {plan.moved_count} ({100 * plan.moved_count / replicas:.2f}%) replicas of partitions. "
        f"Balance is now {report.balance:.2f}.  Dispersion is now {report.dispersion:.2f}"
    )
    outcome = DONE
    if report.balance > BALANCE_LIMIT and report.balance > 100 * builder.settings.overload:
        click.echo(f"NOTE: Balance of {report.balance:.2f} indicates {_remedy(builder, plan)}.")
        outcome = WARNING
    if report.dispersion > 0:
        click.echo(
            f"NOTE: Dispersion of {report.dispersion:.6f} indicates some replicas are closer together than need be. "
            "Adjust weights or the overload; the dispersion report tells more."
        )
        outcome = WARNING
    return outcome


def _remedy(builder: RingBuilder, plan: RebalancePlan) -> str:
    if plan.before is None:  # a first layout is as balanced as it can be
        return "too few partitions for so many devices or such weights"
    hours = f"{builder.settings.min_part_hours:g}"
    return f"you should push this ring, wait at least {hours} hours, and rebalance again"


@click.command("write_ring", cls=Subcommand)
@form_options
@click.pass_obj
def write_ring(session: BuilderSession, format_version: str, dev_id_bytes: str | None) -> None:
    """Write the ring file anew: after set_info, or to have it in another format. A rebalance writes it by itself."""
    with session.locked() as builder:
        session.write_ring(builder, ring_form(format_version, dev_id_bytes))


@click.command("write_builder", cls=Subcommand)
@click.argument("min_part_hours", required=False)
@click.pass_obj
def write_builder(session: BuilderSession, min_part_hours: str | None) -> None:
    """Make a builder file from a ring file, when the builder is lost and has no backup.

    What a ring does not know is lost: min_part_hours (24 unless given), the overload, and when partitions were moved.
    A builder that is there already is not replaced."""
    hours = DEFAULT_MIN_PART_HOURS if min_part_hours is None else number(min_part_hours, "min_part_hours")
    with session.creating():
        session.save(builder_of_ring(read_ring(session.files.ring), hours))
    if min_part_hours is None:
        click.echo("WARNING: min_part_hours may not be what it was in the lost builder", err=True)


NEXT_WRITE: Final = "The change will take effect after the next write_ring."


@click.command("prepare_increase_partition_power", cls=Subcommand)
@click.pass_obj
def prepare_increase_partition_power(session: BuilderSession) -> None:
    """Announce that the part power will be one more. Only rings of objects can grow.

    Then: write_ring, distribute the ring, let the relinker link the existing data on all nodes, and go on with
    increase_partition_power. Until finish_increase_partition_power the ring cannot be rebalanced."""
    for_objects = os.path.basename(session.files.builder).startswith("object")
    require(for_objects, "the part power can only be increased in rings of objects, whose files are named object...")
    with session.changing() as builder:
        prepare_increase(builder)
    click.echo(f"The next partition power is now {builder.next_part_power}.\n{NEXT_WRITE}")
    click.echo("Relink the existing data on all nodes before increase_partition_power.")


@click.command("increase_partition_power", cls=Subcommand)
@click.pass_obj
def increase_partition_power(session: BuilderSession) -> None:
    """Double the partitions. The increase must be prepared, and all existing data relinked.

    Then: write_ring, distribute the ring, let the relinker clean up on all nodes, and go on with
    finish_increase_partition_power."""
    with session.changing() as builder:
        increase(builder)
    click.echo(f"The partition power is now {builder.settings.part_power}.\n{NEXT_WRITE}")
    click.echo("Clean up with the relinker on all nodes before finish_increase_partition_power.")


@click.command("cancel_increase_partition_power", cls=Subcommand)
@click.pass_obj
def cancel_increase_partition_power(session: BuilderSession) -> None:
    """Go back after prepare_increase_partition_power, as long as the partitions are not doubled.

    Then: write_ring, distribute the ring, let the relinker clean up on all nodes, and go on with
    finish_increase_partition_power."""
    with session.changing() as builder:
        cancel_increase(builder)
    click.echo(f"The partition power stays {builder.settings.part_power}.\n{NEXT_WRITE}")
    click.echo("Clean up with the relinker on all nodes before finish_increase_partition_power.")


@click.command("finish_increase_partition_power", cls=Subcommand)
@click.pass_obj
def finish_increase_partition_power(session: BuilderSession) -> None:
    """End the increase, or a cancelled one, when the relinker has cleaned up on all nodes."""
    with session.changing() as builder:
        finish_increase(builder)
    click.echo(NEXT_WRITE)
