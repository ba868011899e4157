"""Subcommands that make a builder and change what holds for the whole ring."""

from __future__ import annotations

import dataclasses
from typing import Final

import click

from objstore.ring.builder import new_builder
from objstore.ring.settings import Settings
from objstore.tools.ringbuilder.options import Subcommand
from objstore.tools.ringbuilder.session import DONE, WARNING, Session
from objstore.tools.ringbuilder.tables import in_both_forms
from objstore.tools.ringbuilder.values import number, share, whole

NEXT_REBALANCE: Final = "The change will take effect after the next rebalance."


@click.command("create", cls=Subcommand)
@click.argument("part_power")
@click.argument("replicas")
@click.argument("min_part_hours")
@click.pass_obj
def create(session: Session, part_power: str, replicas: str, min_part_hours: str) -> None:
    """Make a builder file for 2^PART_POWER partitions, each with REPLICAS replicas, which may be a fraction.

    Once a replica of a partition was moved, none of its replicas is moved again for MIN_PART_HOURS. A file that is
    there already is not replaced."""
    settings = Settings(
        whole(part_power, "the part power"),
        number(replicas, "the replica count"),
        number(min_part_hours, "min_part_hours"),
    )
    with session.creating():
        session.save(new_builder(settings))


@click.command("set_min_part_hours", cls=Subcommand)
@click.argument("hours")
@click.pass_obj
def set_min_part_hours(session: Session, hours: str) -> None:
    """Set for how long a partition stays where it is once it was moved: as long as a pass of replication takes."""
    value = number(hours, "min_part_hours")
    with session.changing() as builder:
        builder.set(dataclasses.replace(builder.settings, min_part_hours=value))
    click.echo(f"The minimum number of hours before a partition can be reassigned is now set to {value:g}")


@click.command("set_replicas", cls=Subcommand)
@click.argument("replicas")
@click.pass_obj
def set_replicas(session: Session, replicas: str) -> None:
    """Set the replica count. With 2.5, half of the partitions have two replicas and half of them three."""
    value = number(replicas, "the replica count")
    with session.changing() as builder:
        builder.set(dataclasses.replace(builder.settings, replicas=value))
    click.echo(f"The replica count is now {value:.6f}.\n{NEXT_REBALANCE}")


@click.command("set_overload", cls=Subcommand)
@click.argument("overload")
@click.pass_obj
def set_overload(session: Session, overload: str) -> int:
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
def pretend_min_part_hours_passed(session: Session) -> None:
    """Unlock all partitions, whenever they were moved.

    DANGEROUS: where replicas are still on their way, moving others of the same partitions makes data unavailable
    until replication is done."""
    with session.changing() as builder:
        builder.pretend_min_part_hours_passed()
