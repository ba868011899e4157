"""Subcommands that make the ring: rebalance, write it, or make a builder from it."""

from __future__ import annotations

from typing import Final

import click
import numpy as np

from objstore.ring.builder import Plan, RingBuilder
from objstore.ring.format import read_ring
from objstore.ring.moves import moves_between
from objstore.ring.restore import restore_builder
from objstore.ring.settings import Settings
from objstore.tools.ring.output import progress
from objstore.tools.ringbuilder.options import Subcommand, form_options, ring_form
from objstore.tools.ringbuilder.places import describe
from objstore.tools.ringbuilder.report import Report
from objstore.tools.ringbuilder.session import DONE, WARNING, Session
from objstore.tools.ringbuilder.tables import remaining, table
from objstore.tools.ringbuilder.values import number, seed

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
    session: Session, force: bool, seed_word: str | None, debug: bool, format_version: str, dev_id_bytes: str | None
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
        if not (force or builder.removed or _changes(builder, plan)):
            return _nothing_to_do(Report(builder), now)
        if debug:
            _echo_moves(builder, plan)
        builder.adopt(plan, now)
        session.save_with_ring(builder, form)
    return _result(builder, plan)


def _changes(builder: RingBuilder, plan: Plan) -> bool:
    return builder.layout is None or not np.array_equal(builder.layout.ids, plan.layout.ids)


def _echo_moves(builder: RingBuilder, plan: Plan) -> None:
    moves = moves_between(builder.layout, plan.layout, builder.tiers)
    rows = (
        (describe(builder.devices[key]), str(moves.departures[key]), str(moves.arrivals[key]))
        for key in sorted(builder.devices)
        if moves.departures[key] or moves.arrivals[key]
    )
    click.echo(table(("<Device", "gives", "gets"), rows), err=True)


def _nothing_to_do(report: Report, now_seconds: float) -> int:
    click.echo("No partitions could be reassigned.")
    if report.locked_seconds(now_seconds) and report.balance > 0:
        hours = f"{report.builder.settings.min_part_hours:g}"
        wait = remaining(report, now_seconds)
        click.echo(f"The time between rebalances must be at least min_part_hours: {hours} hours ({wait})")
    else:
        click.echo("There is no need to do so at this time.")
    return WARNING


def _result(builder: RingBuilder, plan: Plan) -> int:
    report = Report(builder)
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


def _remedy(builder: RingBuilder, plan: Plan) -> str:
    if plan.before is None:  # a first layout is as balanced as it can be
        return "too few partitions for so many devices or such weights"
    hours = f"{builder.settings.min_part_hours:g}"
    return f"you should push this ring, wait at least {hours} hours, and rebalance again"


@click.command("write_ring", cls=Subcommand)
@form_options
@click.pass_obj
def write_ring(session: Session, format_version: str, dev_id_bytes: str | None) -> None:
    """Write the ring file anew: after set_info, or to have it in another format. A rebalance writes it by itself."""
    with session.locked() as builder:
        session.write_ring(builder, ring_form(format_version, dev_id_bytes))


@click.command("write_builder", cls=Subcommand)
@click.argument("min_part_hours", required=False)
@click.pass_obj
def write_builder(session: Session, min_part_hours: str | None) -> None:
    """Make a builder file from a ring file, when the builder is lost and has no backup.

    What a ring does not know is lost: min_part_hours (24 unless given), the overload, and when partitions were moved.
    A builder that is there already is not replaced."""
    hours = DEFAULT_MIN_PART_HOURS if min_part_hours is None else number(min_part_hours, "min_part_hours")
    with session.creating():
        ring = read_ring(session.files.ring)
        settings = Settings(ring.part_power, ring.replica_count, hours)
        builder = restore_builder(settings, ring.devices, ring.rows)
        builder.version, builder.next_part_power = ring.version, ring.next_part_power
        session.save(builder)
    if min_part_hours is None:
        click.echo("WARNING: min_part_hours may not be what it was in the lost builder", err=True)
