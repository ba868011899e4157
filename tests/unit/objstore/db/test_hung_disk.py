"""A disk that hangs: requests for its databases wait on its own threads, and those for other devices go on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from objstore.container.consistency import ContainerAuditor
from objstore.daemon import run_once
from objstore.db import database as database_module
from objstore.db import store as store_module
from objstore.system import concurrency
from objstore.system import threads as threads_module
from objstore.system.concurrency import Task
from tests.unit.objstore.db.harness import Servers, row
from tests.waiting import wait_in_hub

SEVERAL = 40  # more than there are threads for one device, or for all


class HungDisk:
    """Device sda: whatever opens, stats or lists there blocks its thread until the disk comes back."""

    def __init__(self, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
        self.back = threading.Event()
        self._folder = str(servers.device)
        self._hub = threading.get_ident()
        for module, name in ((store_module, "_inode"), (database_module, "open_connection")):
            monkeypatch.setattr(module, name, self._hanging(getattr(module, name)))
        monkeypatch.setattr(os, "scandir", self._hanging(os.scandir))
        monkeypatch.setattr(os, "listdir", self._hanging(os.listdir))

    def _hanging(self, real: Any) -> Any:
        def call(subject: Any, *arguments: Any, **others: Any) -> Any:
            path = getattr(subject, "file", subject)
            if str(path).startswith(self._folder + "/") and not self.back.is_set():
                assert threading.get_ident() != self._hub, f"{real.__name__} blocks the hub"
                self.back.wait()
            return real(subject, *arguments, **others)

        return call


@pytest.fixture
def hung(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[HungDisk]:
    """Two devices with a container each; then sda hangs, and the server of another process comes."""
    (servers.root / "sdb").mkdir()
    for device in ("sda", "sdb"):
        servers.to_container("PUT", path=f"/{device}/5/a/c")
        servers.update([row("o")], path=f"/{device}/5/a/c")
    servers.container = servers.new_container_server()
    disk = HungDisk(servers, monkeypatch)
    yield disk
    disk.back.set()


def test_other_devices_are_served(servers: Servers, hung: HungDisk) -> None:
    def head() -> int:
        return servers.to_container("HEAD", path="/sda/5/a/c").status

    waiting: list[Task[int]] = [concurrency.spawn(head) for _ in range(SEVERAL)]
    concurrency.sleep(0)
    for number in range(10):
        path = "/sdb/5/a/c"
        assert servers.update([row(f"o{number}")], path=path).status == 202
        assert len(servers.listed(path=path)) == number + 2
        assert servers.to_container("PUT", path=f"/sdb/{number}/a/new{number}").status == 201
    assert not any(task.dead for task in waiting)
    hung.back.set()
    assert [task.wait(10) for task in waiting] == [204] * SEVERAL


def test_its_own_requests_end(servers: Servers, hung: HungDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "HUNG_SECONDS", 0.01)
    assert servers.to_container("HEAD", path="/sda/5/a/c").status == 507
    assert servers.to_container("PUT", path="/sda/5/a/c").status == 507
    assert servers.update([row("p")], path="/sda/5/a/c").status == 507
    hung.back.set()
    wait_in_hub(lambda: not servers.runtime.threads.of(str(servers.device))._running)
    assert servers.to_container("HEAD", path="/sda/5/a/c").status == 204


def test_what_is_open_goes_to_threads_while_the_device_is_stalled(
    servers: Servers, hung: HungDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even appending to a log blocks then; and it goes on in the hub once the device answers."""
    monkeypatch.setattr(threads_module, "STALLED_SECONDS", 0.0)
    group = servers.runtime.threads.of(str(servers.root / "sdb"))
    path, ran = "/sdb/5/a/c", set()
    for _ in range(database_module.WARMING_OPERATIONS + 1):
        assert servers.update([row("warm")], path=path).status == 202
    real = database_module.Database._used

    def used(self: Any, operation: Any) -> Any:
        ran.add(threading.get_ident() == hung._hub)
        return real(self, operation)

    monkeypatch.setattr(database_module.Database, "_used", used)
    stall = threading.Event()
    stalled = concurrency.spawn(group.call, stall.wait)
    wait_in_hub(lambda: group.is_stalled)
    servers.update([row("a")], path=path)
    assert ran == {False}
    ran.clear()
    stall.set()
    stalled.wait(5)
    wait_in_hub(lambda: not group._running)
    servers.update([row("b")], path=path)
    assert True in ran


def test_daemons_go_on_with_the_other_devices(
    servers: Servers, hung: HungDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objstore.db.location.HUNG_SECONDS", 0.05)
    auditor = ContainerAuditor(servers.context())
    run_once(auditor)
    assert auditor._report.counts == {"sound": 1}
