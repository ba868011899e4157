"""objstore proxy, object, container, account: one server of a cluster, as a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])

config_option = click.option(
    "--config",
    "path",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Its configuration.",
)


@click.command()
@config_option
def proxy(path: Path) -> None:
    """Run a proxy server: the public tier."""
    from objstore.tools import services

    services.run_proxy(path)


@click.command("object")
@config_option
def object_(path: Path) -> None:
    """Run an object server."""
    from objstore.tools import services

    services.run_object(path)


@click.command()
@config_option
def container(path: Path) -> None:
    """Run a container server."""
    from objstore.tools import services

    services.run_container(path)


@click.command()
@config_option
def account(path: Path) -> None:
    """Run an account server."""
    from objstore.tools import services

    services.run_account(path)
