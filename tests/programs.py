"""Commands that are imported once and called many times, each time in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.tidy.repository import ROOT

FORKING = Path(__file__).with_name("forking.py")


@dataclass(frozen=True)
class Outcome:
    """What a command ended with."""

    status: int
    stdout: str
    stderr: str


class Program:
    """A console script of some Python installation."""

    def __init__(self, name: str, python: str, *modules: str) -> None:
        """`modules` are the one with the command, its function, and others that it would import each time."""
        command, environment = [python, str(FORKING), *modules], os.environ | {"PYTHONPATH": str(ROOT)}
        self._name = name
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def call(self, folder: Path, words: Sequence[str]) -> Outcome:
        """Run it in a folder."""
        (outcome,) = self.call_all(folder, [words])
        return outcome

    def call_all(self, folder: Path, lines: Sequence[Sequence[str]]) -> list[Outcome]:
        """Run it with the words of each line, side by side."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        commands = [{"arguments": [self._name, *words], "folder": str(folder)} for words in lines]
        self._process.stdin.write(json.dumps(commands) + "\n")
        self._process.stdin.flush()
        return [Outcome(**answer) for answer in json.loads(self._process.stdout.readline())]

    def end(self) -> None:
        """Let go of it."""
        self._process.communicate(timeout=10)
