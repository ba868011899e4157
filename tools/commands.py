"""What every command is built on: groups that import a command when it is asked for, and the error of an operator."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import click

from objstore.errors import StoreError
from objstore.policies import Policies, Policy, UnknownPolicy


class LazyGroup(click.Group):
    """A group whose commands are given as "module:name"."""

    def __init__(self, *arguments: Any, where: Mapping[str, str], **options: Any) -> None:
        """`where` is by the command's name."""
        super().__init__(*arguments, **options)
        self._where = where

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = self._where.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


def policy_named(policies: Policies, name: str) -> Policy:
    """Raises OperatorProblem, which names those there are."""
    try:
        return policies.by_name(name)
    except UnknownPolicy:
        names = ", ".join(policy.name for policy in policies)
        raise OperatorProblem(f"no storage policy {name!r}", f"the policies are {names}") from None


policy_option: Final = click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME=ec:4+2",
    help="A storage policy with so many data and parity fragments; gold, the default policy, may be named, too.",
)


@dataclass(eq=False)
class OperatorProblem(StoreError):
    """A command cannot do what it was asked: what stands in the way, and what to do about it."""

    message: ClassVar[str] = "{reason}; {remedy}"

    reason: str
    remedy: str
