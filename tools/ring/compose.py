"""`objstore ring compose`."""

from __future__ import annotations

import os

import click

from objstore.ring.composite import compose
from objstore.ring.errors import RingFileError
from objstore.ring.form import RingForm
from objstore.ring.format import DEVICE_ID_MAX, FILE_MODE, read_ring
from objstore.ring.ring import Ring
from objstore.system import files
from objstore.tools.ring.output import progress, quiet_option


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
