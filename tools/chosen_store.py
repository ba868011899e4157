"""Whose files a command changes: a store that `objstore up` keeps in a folder, or a proxy by its configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from objstore.config.loading import load
from objstore.config.proxy import ProxyConfig
from objstore.tools.commands import OperatorProblem
from objstore.tools.store_folder import STORE_FILE, StoreFolder

DEFAULT_DATA: Final = Path("data")
DEFAULT_CONFIG: Final = Path("/etc/objstore/proxy.toml")

Command = Callable[..., Any]


def with_store(command: Command) -> Command:
    """The options that say whose users are meant."""
    path = click.Path(path_type=Path)
    command = click.option(
        "--config", type=path, help="The proxy's configuration.  [default: /etc/objstore/proxy.toml]"
    )(command)
    return click.option("--data", type=path, help="The folder of `objstore up`.  [default: data, if it holds a store]")(
        command
    )


def chosen_store(data: Path | None, config: Path | None) -> StoreFolder | ProxyConfig:
    """What these options mean. Raises OperatorProblem, ConfigError."""
    if data is not None and config is not None:
        raise OperatorProblem("--data and --config are for different stores", "give one of them")
    if config is None and (data is not None or (DEFAULT_DATA / STORE_FILE).exists()):
        folder = StoreFolder(data or DEFAULT_DATA)
        if not (folder.path / STORE_FILE).exists():
            raise OperatorProblem(f"{folder.path} holds no store", "make one with: objstore up")
        return folder
    return load(config or DEFAULT_CONFIG, ProxyConfig)
