"""objstore cloud guest-image: a small machine to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from objstore.compute.guest.image import build


@click.command("guest-image")
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
def guest_image(target: Path) -> None:
    """Build a small guest from Debian's packages as FILE, a qcow2 image of 14 MB. It needs no root."""
    build(target)
    click.echo(f"{target}: {target.stat().st_size >> 20} MiB; upload it as qcow2, container format bare")
