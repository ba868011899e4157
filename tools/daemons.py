"""objstore object-daemons, container-daemons, account-daemons: what keeps a storage server's data whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from objstore.tools.serve import config_option

Command = TypeVar("Command", bound=Callable[..., object])


def _split(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name for name in value.replace(" ", "").split(",") if name)


def _choice(command: Command) -> Command:
    command = click.option("--once", is_flag=True, help="Go through everything once and end.")(command)
    return click.option(
        "--only", default="", metavar="NAME,...", callback=_split, help="Not all daemons, but those of these names."
    )(command)


@click.command("object-daemons")
@config_option
@_choice
def object_daemons(path: Path, only: tuple[str, ...], once: bool) -> None:
    """Run the daemons of an object server."""
    from objstore.tools import services

    services.run_object_daemons(path, only, once)


@click.command("container-daemons")
@config_option
@_choice
def container_daemons(path: Path, only: tuple[str, ...], once: bool) -> None:
    """Run the daemons of a container server."""
    from objstore.tools import services

    services.run_container_daemons(path, only, once)


@click.command("account-daemons")
@config_option
@_choice
def account_daemons(path: Path, only: tuple[str, ...], once: bool) -> None:
    """Run the daemons of an account server."""
    from objstore.tools import services

    services.run_account_daemons(path, only, once)
