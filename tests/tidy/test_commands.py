"""docs/reference describes every command and option there is, and no other."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from objstore.tools.main import objstore
from objstore.tools.ring_builder import ring_builder
from tests.tidy.repository import ROOT

PAGES: Final = ("commands.md", "ring-builder.md")


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
    """The options documented for each command: those of its section, and of the shared sections it links to."""
    text = "".join((ROOT / "docs/reference" / page).read_text(encoding="utf-8") for page in PAGES)
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


def printed_lines() -> list[tuple[str, str]]:
    """The document and the words after `objstore` of every line of a code block that calls it."""
    found = []
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```\w+\n(.*?)^```$|((?:^ {4}.*\n)+)", text, re.MULTILINE | re.DOTALL)
        for block in ("".join(pair).replace("\\\n", " ") for pair in blocks):
            lines = re.findall(r"^ *(?:\$ )?(?:\.venv/bin/)?objstore ([a-z].*)$", block, re.MULTILINE)
            found += [(path.name, re.sub(r"\$\(.*?\)", "1", line)) for line in lines]
    return found


@pytest.mark.parametrize(("document", "line"), printed_lines())
def test_printed_commands_are_understood(
    document: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBJSTORE_DISPERSION_KEY", "testing")
    command: click.Command = objstore
    words = shlex.split(line, comments=True)
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"{document} names a command {name!r} that is none"
        command = found
    pairs = zip(["", *words], words, strict=False)
    # Folders of processes are on the reader's machine.
    command.make_context(command.name, [str(tmp_path) if before == "--pid-dir" else word for before, word in pairs])


def test_printed_commands_are_found() -> None:
    names = {line.partition(" --")[0].split()[0] for _, line in printed_lines()}
    assert {"ring", "recon", "cluster", "bench"} <= names
