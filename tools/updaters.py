"""objstore object-updater, container-updater: deliver what servers could not tell one another at once."""

from __future__ import annotations

from pathlib import Path

import click

from objstore.tools.serve import config_option


@click.command("object-updater")
@config_option
def object_updater(path: Path) -> None:
    """Deliver the container updates that an object server kept on its devices."""
    from objstore.tools import services

    services.run_object_updater(path)


@click.command("container-updater")
@config_option
def container_updater(path: Path) -> None:
    """Tell accounts how full the containers of a container server are."""
    from objstore.tools import services

    services.run_container_updater(path)
