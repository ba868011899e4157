"""docs/operations.md describes every command and option there is, and no other."""

import re
from collections.abc import Iterator

import click

from objstore.tools.main import objstore
from objstore.tools.ring_builder import ring_builder
from tests.tidy.repository import ROOT


def commands(group: click.Group, prefix: str = "objstore") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def options(command: click.Command) -> set[str]:
    """The long names of a command's options."""
    return {name for item in command.params if isinstance(item, click.Option) for name in item.opts if name[:2] == "--"}


def documented() -> dict[str, set[str]]:
    """The options documented for each command: those of its section, and of sections for many that it links to."""
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    _, *parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    bodies = dict(zip(parts[::2], parts[1::2], strict=True))
    own = {name: set(re.findall(r"^\| `(--[a-z0-9-]+)` \|", body, re.MULTILINE)) for name, body in bodies.items()}
    shared = {f"(#{name.lower().replace(' ', '-')})": name for name in bodies if not name.startswith("objstore")}
    return {
        name: own[name].union(*(own[other] for link, other in shared.items() if link in body))
        for name, body in bodies.items()
        if name.startswith("objstore")
    }


def every_command() -> dict[str, click.Command]:
    """The commands of all programs, by their full names."""
    return dict(commands(objstore)) | dict(commands(ring_builder, "objstore-ring-builder FILE"))


def test_every_command_and_option_is_documented_and_no_other() -> None:
    assert documented() == {name: options(command) for name, command in every_command().items()}


def test_help_is_short_and_complete() -> None:
    for name, command in every_command().items():
        assert command.help, name
        for item in command.params:
            if isinstance(item, click.Option):
                assert item.help, f"{name} {item.name}"
