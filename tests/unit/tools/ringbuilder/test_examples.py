"""The examples of docs/reference/ring-builder.md do what it says, one after the other."""

from __future__ import annotations

import re
import shutil
from typing import Final

from objstore.tools.ring_builder import SUBCOMMANDS
from tests.tidy.repository import ROOT
from tests.unit.tools.ringbuilder.conftest import Shell

BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND: Final = re.compile(r"\$ objstore-ring-builder (.*?)(?:\s+# exit status ([12]))?")
COPY: Final = re.compile(r"\$ cp (\S+) (\S+)")
HOURS: Final = 3600 * 30  # between two examples: nothing is locked any more


def examples() -> list[str]:
    """The lines of all console blocks of the page."""
    text = (ROOT / "docs/reference/ring-builder.md").read_text(encoding="utf-8")
    return [line for block in BLOCK.findall(text) for line in block.splitlines() if line.startswith("$")]


def test_every_example_ends_as_it_says(shell: Shell) -> None:
    for line in examples():
        if copy := COPY.fullmatch(line):
            shutil.copy(*copy.groups())
            continue
        found = COMMAND.fullmatch(line)
        assert found is not None, line
        words, status = found.groups()
        shell.clock.seconds += 1 if "exit status 1" in line else HOURS
        answer = shell(words)
        assert answer.status == int(status or 0), (line, answer)


def test_every_command_has_an_example() -> None:
    shown = {found[1].split()[1] for line in examples() if (found := COMMAND.fullmatch(line)) and " " in found[1]}
    assert shown == SUBCOMMANDS.keys()
