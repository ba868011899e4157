"""A folder in which `objstore ring` is called, at a time that the test chooses."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from objstore.tools import main
from objstore.tools.ring import changes, plan, show
from tests.doubles import ManualClock

NOW = 1_800_000_000.0
HOUR = 3600.0


@dataclass
class Shell:
    """Calls the command; `folder` is where."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    def __call__(self, line: str) -> tuple[int, str, str]:
        """Run `objstore ring LINE`: exit status, output, errors."""
        self.capture.readouterr()
        with pytest.raises(SystemExit) as stop:
            main.main(["ring", *shlex.split(line)])
        out, err = self.capture.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, out, err

    def done(self, line: str) -> str:
        """Run a line that must succeed; gives what it printed."""
        status, out, err = self(line)
        assert (status, err) == (0, ""), (out, err)
        return out

    def facts(self, line: str) -> Any:
        """What a line prints with --json."""
        return json.loads(self.done(f"{line} --json"))

    def refused(self, line: str) -> str:
        """Run a line that must fail with one line of explanation and change no file; gives the line."""
        before = self.files()
        status, out, err = self(line)
        assert status == 2, (status, out, err)
        assert err.count("\n") == 1, err
        assert err.startswith("objstore: "), err
        assert self.files() == before
        return err.removeprefix("objstore: ").rstrip("\n")

    def files(self) -> dict[str, bytes]:
        """Every file in the folder but the locks."""
        paths = [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}

    def build(self, name: str = "object", devices: int = 6, region: int = 1) -> None:
        """Make a balanced builder with a device in each of so many zones, and its ring; a day passes."""
        self.done(f"create {name}.builder --part-power 6 --min-part-hours 1")
        added = (f"r{region}z{zone}-10.{region}.0.{zone}:6200/sda=100" for zone in range(1, devices + 1))
        self.done(f"add {name}.builder {' '.join(added)}")
        self.done(f"rebalance {name}.builder --seed 1")
        self.clock.seconds += 24 * HOUR


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    made = Shell(tmp_path, capsys)
    for module in (changes, plan, show):
        monkeypatch.setattr(module, "WallClock", lambda: made.clock)
    return made
