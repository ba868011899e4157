"""A folder in which objstore-ring-builder is called, at a time that the test chooses."""

from __future__ import annotations

import io
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from objstore.tools import ring_builder
from tests.doubles import ManualClock

NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Answer:
    """What a call of the command printed, and its exit status."""

    status: int
    out: str
    err: str


@dataclass
class Shell:
    """Calls the command; `folder` is where."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    def __call__(self, line: str, typed: str = "") -> Answer:
        """Run `objstore-ring-builder LINE`; `typed` is what the operator types."""
        self.patch.setattr("sys.stdin", io.StringIO(typed))
        self.capture.readouterr()
        with pytest.raises(SystemExit) as stop:
            ring_builder.main(shlex.split(line))
        out, err = self.capture.readouterr()
        assert isinstance(stop.value.code, int)
        return Answer(stop.value.code, out, err)

    def done(self, line: str) -> str:
        """Run a line that must succeed; gives what it printed."""
        answer = self(line)
        assert (answer.status, answer.err) == (0, ""), answer
        return answer.out

    def refused(self, line: str, typed: str = "") -> str:
        """Run a line that must fail with one line of explanation and change no file; gives the line."""
        before = self.files()
        answer = self(line, typed)
        assert answer.status == 2, answer
        assert answer.err.count("\n") == 1, answer
        assert answer.err.startswith("objstore-ring-builder: "), answer
        assert self.files() == before
        return answer.err.removeprefix("objstore-ring-builder: ").rstrip("\n")

    def files(self) -> dict[str, bytes]:
        """Every file in the folder but the locks."""
        paths = [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}

    def build(self, name: str = "object", power: int = 6, replicas: float = 3, devices: int = 6) -> None:
        """Make a builder with a device in each of so many zones, and its ring."""
        self.done(f"{name}.builder create {power} {replicas} 1")
        added = (
            f"r1z{number}-10.0.0.{number}:6200R10.1.0.{number}:6300/sd{number}_shelf{number} 100"
            for number in range(devices)
        )
        self.done(f"{name}.builder add {' '.join(added)}")
        self.done(f"{name}.builder rebalance --seed 1")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    made = Shell(tmp_path, capsys, monkeypatch)
    monkeypatch.setattr(ring_builder, "WallClock", lambda: made.clock)
    return made
