"""The guest's agent, and monitors: file systems are thawed whatever happens, and nothing waits for ever."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.compute.host.driver import MachineError
from objstore.compute.host.qmp import Monitor, MonitorError
from objstore.compute.host.records import MachineFolder, MachineFolders, MachineRecord
from objstore.compute.host.snapshots import frozen
from objstore.compute.protocol import ImageSource
from tests.unit.compute.host.machines import SERVER, machine

QUIESCED = {"hw_qemu_guest_agent": "yes", "os_require_quiesce": "yes"}


class GuestAgent:
    """Answers as it is told; remembers what it was asked. An answer of None is none."""

    def __init__(self, path: Path, answers: dict[str, object]) -> None:
        self.asked: list[str] = []
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, client.makefile("rwb") as lines:
                for line in lines:
                    name = json.loads(line)["execute"]
                    self.asked.append(name)
                    answer = self._answers.get(name, {"return": {}})
                    if answer is not None:
                        lines.write(json.dumps(answer).encode() + b"\n")
                        lines.flush()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def folder(short_path: Path) -> MachineFolder:
    made = MachineFolders(short_path).of(SERVER)
    made.path.mkdir()
    return made


@pytest.fixture
def agent(folder: MachineFolder) -> Iterator[GuestAgent]:
    running = GuestAgent(folder.socket("agent"), {})
    yield running
    running.close()


def record(**properties: str) -> MachineRecord:
    return MachineRecord(machine(image=ImageSource("image", properties=properties)))


def test_file_systems_stand_still_only_for_that_moment(folder: MachineFolder, agent: GuestAgent) -> None:
    with frozen(folder, record(hw_qemu_guest_agent="yes")):
        assert agent.asked == ["guest-fsfreeze-freeze"]
    assert agent.asked == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]


def test_they_are_thawed_when_the_snapshot_fails(folder: MachineFolder, agent: GuestAgent) -> None:
    with pytest.raises(ZeroDivisionError), frozen(folder, record(**QUIESCED)):
        raise ZeroDivisionError
    assert agent.asked[-1] == "guest-fsfreeze-thaw"


def test_they_are_thawed_when_the_agent_does_not_answer_in_time(
    folder: MachineFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objstore.compute.host.snapshots.FREEZE_SECONDS", 0.05)
    agent = GuestAgent(folder.socket("agent"), {"guest-fsfreeze-freeze": None})
    with pytest.raises(MachineError, match="does not freeze"), frozen(folder, record(**QUIESCED)):
        pytest.fail("the image requires it")
    assert agent.asked == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]
    with frozen(folder, record(hw_qemu_guest_agent="yes")):
        pass  # without being required, the snapshot is taken as it is
    agent.close()


def test_an_image_that_requires_it_and_has_no_agent_is_refused(folder: MachineFolder) -> None:
    with pytest.raises(MachineError, match="has none"), frozen(folder, record(os_require_quiesce="yes")):
        pytest.fail("the image requires it")
    with frozen(folder, record()):
        pass


def test_a_monitor_keeps_events_and_tells_errors(short_path: Path) -> None:
    path = short_path / "monitor"
    agent = GuestAgent(
        path, {"bad": {"error": {"desc": "no such thing"}}, "odd": [], "silent": None, "event": {"event": "DONE"}}
    )
    with Monitor(str(path), greets=False, seconds=0.2) as monitor:
        assert monitor.command("good") == {}
        with pytest.raises(MonitorError, match="no such thing"):
            monitor.command("bad")
        with pytest.raises(MonitorError, match="not JSON"):
            monitor.command("odd")
        with pytest.raises(MonitorError, match="no answer in time"):
            monitor.command("silent")
        with pytest.raises(MonitorError, match="no answer in time"):
            monitor.command("event", seconds=0.1)
        assert monitor.wait_for_event("DONE", 1) == {"event": "DONE"}
    agent.close()
    with pytest.raises(MonitorError):
        Monitor(str(short_path / "none"))
