"""The daemons as they are put together: each of them tells operators of its passes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig
from objstore.config.object import ObjectConfig
from objstore.config.sections import DevicesConfig
from objstore.daemon import Job, run_once
from objstore.devices import Device
from objstore.operators.reports import DAEMONS
from objstore.recon import ReconFolder
from objstore.ring.build import build_ring
from objstore.tools import assembly
from tests.unit.objstore.db.harness import Servers

RING = build_ring([Device(0, 1, 0, "10.0.0.1", 6200, "10.0.0.1", 6200, "sda", 1.0)], 4, 1, seed=1)
# What reports elsewhere: the quick pass of the auditor, and the relinker, which has a page without a server's name.
OTHERS = {"object-auditor-quick", "object-relinker"}


@pytest.fixture
def jobs(tmp_path: Path) -> tuple[list[Job], ReconFolder]:
    """All daemons of a node with one empty device."""
    (tmp_path / "devices").mkdir()
    servers = Servers(tmp_path / "devices")
    devices = DevicesConfig(root=str(tmp_path / "devices"), mount_check=False)
    rings = SimpleNamespace(
        account=RING, container=RING, object=lambda _index: RING, refreshed_object=lambda _index: RING
    )
    recon = ReconFolder(str(tmp_path / "recon"))
    surroundings = servers.surroundings(rings=rings, recon=recon)
    return [
        *assembly.make_object_daemons(ObjectConfig(devices=devices), surroundings),
        *assembly.make_container_daemons(ContainerConfig(devices=devices), surroundings),
        *assembly.make_account_daemons(AccountConfig(devices=devices), surroundings),
    ], recon


def test_each_daemon_has_a_page_with_the_time_of_its_last_pass(jobs: tuple[list[Job], ReconFolder]) -> None:
    every, recon = jobs
    for job in every:
        run_once(job.worker)
    assert {job.worker.name for job in every} == {name for name, _ in DAEMONS.values()} | OTHERS
    for name in sorted(job.worker.name for job in every):
        report = recon.read(name)
        assert report.keys() >= {"pass_seconds", "started", "ended"}, name
    for (kind, server), (name, shown) in DAEMONS.items():
        page = shown(server, recon.read(name))
        assert page["report"]["pass_seconds"] >= 0, (kind, server)
