"""The devices of one machine in a pass of its replicator: each for itself."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from objstore.daemon import Step, run_once
from objstore.object.replication import replicator
from objstore.object.replication.comparison import DeviceReplicationPass
from objstore.object.replication.replicator import ObjectReplicator
from objstore.policies import Policy
from objstore.system import concurrency
from objstore.system.concurrency import Event
from tests.unit.object.replication.cluster import Replicas
from tests.waiting import wait_in_hub


class Machine:
    """A replicator with the devices sda and sdb, of two batches each; it does nothing but what a test says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        replicas = Replicas(folder)
        self.root = replicas.servers[0].root
        (self.root / "sdb").mkdir()
        self.worker: Any = replicas.replicator(0, **options)
        self.broken = ""
        self.gates: dict[str, Event[None]] = {}
        self.seen: list[str] = []
        monkeypatch.setattr(replicator, "PARTITIONS_AT_ONCE", 1)
        monkeypatch.setattr(self.worker, "_device_names", lambda: ["sda", "sdb"])
        for name in ("sda", "sdb"):
            storage = self.worker._engine.device(str(self.root / name))
            monkeypatch.setattr(storage, "partitions", partial(self.partitions, name))
        monkeypatch.setattr(self.worker._comparison, "compare", self.compare)

    def partitions(self, device: str, _policy: Policy) -> list[str]:
        if device == self.broken:
            raise OSError(errno.EIO, "broken")
        return ["0", "1"]

    def compare(self, device: DeviceReplicationPass, _policy: Policy, _partitions: Sequence[str]) -> None:
        with device.places:
            self.seen.append(device.name)
            if device.name in self.gates:
                self.gates[device.name].wait()

    def noted(self) -> set[str]:
        """The devices that have come to the end of a pass."""
        return {path.parent.name for path in self.root.glob("*/objects_replicated")}


def test_a_slow_device_holds_no_other_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    machine.gates["sda"] = Event()
    assert [machine.worker.step() for _ in range(3)] == [Step.BUSY] * 3
    assert machine.seen.count("sdb") == 2
    assert machine.noted() == {"sdb"}
    machine.gates["sda"].set()
    assert run_once(machine.worker) is Step.IDLE
    assert machine.seen.count("sda") == 2
    assert machine.noted() == {"sda", "sdb"}


def test_a_broken_device_ends_no_pass_but_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    machine.broken = "sda"
    assert run_once(machine.worker) is Step.IDLE
    assert machine.seen == ["sdb", "sdb"]
    assert machine.noted() == {"sdb"}
    assert machine.worker._report.counts == {"failed": 1}


def test_a_bug_is_raised_and_the_pass_has_an_end_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)

    def compare(device: DeviceReplicationPass, _policy: Policy, _partitions: Sequence[str]) -> None:
        machine.seen.append(device.name)
        if device.name == "sda":
            raise ValueError

    monkeypatch.setattr(machine.worker._comparison, "compare", compare)
    outcomes = [outcome_of(machine.worker) for _ in range(6)]
    assert outcomes.count(ValueError) == 2
    assert outcomes[-1] is Step.IDLE
    assert machine.noted() == {"sdb"}
    assert sorted(machine.seen) == ["sda", "sda", "sdb", "sdb"]


def outcome_of(worker: ObjectReplicator) -> Step | type[Exception]:
    try:
        return worker.step()
    except ValueError as error:
        return type(error)


def test_limits_are_of_each_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, concurrency=1, bandwidth=1000, objects_per_second=10)
    machine.gates |= {"sda": Event(), "sdb": Event()}
    task = concurrency.spawn(machine.worker.step)
    wait_in_hub(lambda: len(machine.seen) == 2, "both devices")
    assert sorted(machine.seen) == ["sda", "sdb"]
    first, second = machine.worker._pass.devices
    assert first.bytes is not second.bytes
    assert first.files is not second.files
    for gate in machine.gates.values():
        gate.set()
    task.wait()
    run_once(machine.worker)


def test_the_slowest_device_says_how_long_a_pass_will_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    reported: dict[str, Any] = {}
    monkeypatch.setattr(machine.worker._report, "_recon", Reports(reported))
    elapsed = iter([0.0, 100.0])
    monkeypatch.setattr(machine.worker._report, "_clock", Elapsed(elapsed))
    machine.worker._report.begin()
    machine.worker._report.progress_side_by_side([(90, 100), (20, 100)])
    assert (reported["done"], reported["total"]) == (110, 200)
    assert reported["remaining_seconds"] == 400.0


class Reports:
    """Stands for Recon."""

    def __init__(self, figures: dict[str, Any]) -> None:
        self._figures = figures

    def report(self, daemon: str, **figures: Any) -> None:
        self._figures |= figures


class Elapsed:
    """Stands for a clock."""

    def __init__(self, moments: Any) -> None:
        self._moments = moments

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        moment: float = next(self._moments)
        return moment
