"""`objstore ring import`: a builder file of Swift becomes one of ours."""

from __future__ import annotations

import os

import click

from objstore.ring.builderfile import builder_lock, save_builder
from objstore.ring.errors import RingFileError
from objstore.ring.swift_import import convert_swift_builder
from objstore.system.clock import Clock


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
            save_builder(builder, target, f"import {source}", Clock().now())
    except OSError as error:
        raise RingFileError(target, f"cannot be locked: {error.strerror or error}") from error
    click.echo(
        f"{target}: version {builder.version}, {builder.settings.partition_count} partitions, "
        f"{len(builder.devices)} devices. `objstore-ring-builder {target} write_ring` writes its ring."
    )
