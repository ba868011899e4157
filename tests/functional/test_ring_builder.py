"""objstore-ring-builder as processes, several at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from objstore.ring.builderfile import load_builder
from objstore.ring.format import read_ring
from tests.tidy.repository import ROOT
from tests.waiting import elapse

COMMAND = (sys.executable, "-m", "objstore.tools.ring_builder", "object.builder")


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*COMMAND, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_builders_at_once_take_turns(tmp_path: Path) -> None:
    assert finish(start(tmp_path, "create", "8", "3", "0")) == (0, "")
    adding = [start(tmp_path, "add", f"r1z{number}-10.0.0.{number}:6200/sda", "100") for number in range(6)]
    assert [finish(process) for process in adding] == [(0, "")] * 6
    builder = load_builder(str(tmp_path / "object.builder"))
    assert sorted(builder.devices) == list(range(6))
    assert {device.zone for device in builder.devices.values()} == set(range(6))
    assert builder.version == 6


def test_a_builder_killed_at_any_moment_leaves_whole_files(tmp_path: Path) -> None:
    finish(start(tmp_path, "create", "12", "3", "0"))
    finish(start(tmp_path, "add", *(word for n in range(9) for word in (f"r1z{n}-10.0.0.{n}:6200/sda", "100"))))
    assert finish(start(tmp_path, "rebalance")) == (0, "")
    for number in range(12):
        process = start(tmp_path, "rebalance", "--force", "--seed", str(number))
        elapse(0.12 + 0.03 * number, "each time another moment of the command")
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        load_builder(str(tmp_path / "object.builder"))
        read_ring(str(tmp_path / "object.ring.gz"))
    assert finish(start(tmp_path, "rebalance", "--force")) == (0, "")
    assert finish(start(tmp_path, "validate")) == (0, "")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    finish(start(tmp_path, "create", "14", "1", "0"))
    finish(start(tmp_path, "add", "r1z1-10.0.0.1:6200/sda", "100"))
    finish(start(tmp_path, "rebalance"))
    with start(tmp_path, "list_parts", "d0") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
