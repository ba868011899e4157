"""objstore proxy, object, container, account, and their daemons: each a process of its own."""

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
    from objstore.tools import serving

    serving.run_proxy(path)


@click.command("object")
@config_option
def object_(path: Path) -> None:
    """Run an object server."""
    from objstore.tools import serving

    serving.run_object(path)


@click.command()
@config_option
def container(path: Path) -> None:
    """Run a container server."""
    from objstore.tools import serving

    serving.run_container(path)


@click.command()
@config_option
def account(path: Path) -> None:
    """Run an account server."""
    from objstore.tools import serving

    serving.run_account(path)


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
    from objstore.tools import serving

    serving.run_object_daemons(path, only, once)


@click.command("container-daemons")
@config_option
@_choice
def container_daemons(path: Path, only: tuple[str, ...], once: bool) -> None:
    """Run the daemons of a container server."""
    from objstore.tools import serving

    serving.run_container_daemons(path, only, once)


@click.command("account-daemons")
@config_option
@_choice
def account_daemons(path: Path, only: tuple[str, ...], once: bool) -> None:
    """Run the daemons of an account server."""
    from objstore.tools import serving

    serving.run_account_daemons(path, only, once)
