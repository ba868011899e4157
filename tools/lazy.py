"""Groups of commands that import a command when it is asked for: start-up time is the operator's time."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands are given as "module:name"."""

    def __init__(self, *arguments: Any, where: Mapping[str, str], **options: Any) -> None:
        """`where` is by the command's name."""
        super().__init__(*arguments, **options)
        self._where = where

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(self._where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, None if there is none."""
        where = self._where.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command
