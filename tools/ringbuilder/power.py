"""Subcommands that double the number of partitions, step by step."""

from __future__ import annotations

import os
from typing import Final

import click

from objstore.ring.errors import require
from objstore.ring.partpower import cancel_increase, finish_increase, increase, prepare_increase
from objstore.tools.ringbuilder.options import Subcommand
from objstore.tools.ringbuilder.session import Session

NEXT_WRITE: Final = "The change will take effect after the next write_ring."


@click.command("prepare_increase_partition_power", cls=Subcommand)
@click.pass_obj
def prepare_increase_partition_power(session: Session) -> None:
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
def increase_partition_power(session: Session) -> None:
    """Double the partitions. The increase must be prepared, and all existing data relinked.

    Then: write_ring, distribute the ring, let the relinker clean up on all nodes, and go on with
    finish_increase_partition_power."""
    with session.changing() as builder:
        increase(builder)
    click.echo(f"The partition power is now {builder.settings.part_power}.\n{NEXT_WRITE}")
    click.echo("Clean up with the relinker on all nodes before finish_increase_partition_power.")


@click.command("cancel_increase_partition_power", cls=Subcommand)
@click.pass_obj
def cancel_increase_partition_power(session: Session) -> None:
    """Go back after prepare_increase_partition_power, as long as the partitions are not doubled.

    Then: write_ring, distribute the ring, let the relinker clean up on all nodes, and go on with
    finish_increase_partition_power."""
    with session.changing() as builder:
        cancel_increase(builder)
    click.echo(f"The partition power stays {builder.settings.part_power}.\n{NEXT_WRITE}")
    click.echo("Clean up with the relinker on all nodes before finish_increase_partition_power.")


@click.command("finish_increase_partition_power", cls=Subcommand)
@click.pass_obj
def finish_increase_partition_power(session: Session) -> None:
    """End the increase, or a cancelled one, when the relinker has cleaned up on all nodes."""
    with session.changing() as builder:
        finish_increase(builder)
    click.echo(NEXT_WRITE)
