"""The daemons as they are put together: each of them tells operators of its passes."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig
from objstore.config.object import ObjectConfig
from objstore.config.proxy import ProxyConfig
from objstore.config.sections import DevicesConfig, ReconConfig
from objstore.daemon import Job, Runner, run_once
from objstore.devices import Device
from objstore.http.access import RequestMetrics
from objstore.metrics import FORMER_NAMES
from objstore.metrics_folder import Family, MetricType
from objstore.operators.recon import DAEMONS
from objstore.recon import ReconFolder
from objstore.ring.builder import build_ring
from objstore.runtime import Runtime
from objstore.tools import assembly
from tests.doubles import RecordingTransport
from tests.tidy.repository import ROOT
from tests.unit.objstore.db.harness import Servers

RING = build_ring([Device(0, 1, 0, "10.0.0.1", 6200, "10.0.0.1", 6200, "sda", 1.0)], 4, 1, seed=1)
# What reports elsewhere: the quick pass of the auditor, the relinker, whose page names no server, repairs, and users.
OTHERS = {
    "object-device-check",
    "object-auditor-quick",
    "object-relinker",
    "object-update-recovery",
    "container-repairer",
    "account-repairer",
    "user-follower",
}


@dataclass
class Node:
    """All daemons of a node with one empty device."""

    jobs: list[Job]
    runtime: Runtime
    recon: ReconFolder


@pytest.fixture
def node(tmp_path: Path) -> Node:
    (tmp_path / "devices").mkdir()
    servers = Servers(tmp_path / "devices")
    devices = DevicesConfig(root=str(tmp_path / "devices"), mount_check=False)
    rings = SimpleNamespace(
        account=RING, container=RING, object=lambda _index: RING, refreshed_object=lambda _index: RING
    )
    recon = ReconFolder(str(tmp_path / "recon"))
    context = servers.context(rings=rings, recon=recon)
    jobs = [
        *assembly.make_object_daemons(ObjectConfig(devices=devices), context),
        *assembly.make_container_daemons(ContainerConfig(devices=devices), context),
        *assembly.make_account_daemons(AccountConfig(devices=devices), context),
        *assembly.make_proxy_daemons(
            ProxyConfig(recon=ReconConfig(str(tmp_path / "recon"))),
            context.cluster,
            context.rings,
            RecordingTransport(404),
            context.runtime,
        ),
    ]
    return Node(jobs, servers.runtime, recon)


def test_each_daemon_has_a_page_with_the_time_of_its_last_pass(node: Node) -> None:
    for job in node.jobs:
        run_once(job.worker)
    assert {job.worker.name for job in node.jobs} == {name for name, _ in DAEMONS.values()} | OTHERS
    for name in sorted(job.worker.name for job in node.jobs):
        report = node.recon.read(name)
        assert report.keys() >= {"pass_seconds", "started", "ended"}, name
    for (kind, server), (name, shown) in DAEMONS.items():
        page = shown(server, node.recon.read(name))
        assert page["report"]["pass_seconds"] >= 0, (kind, server)


def documented(heading: str) -> list[str]:
    """The names in the first column of a table of the metrics' page."""
    text = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    table = text.partition(heading)[2].partition("\n\n")[0]
    return [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.partition(" | ")[0])]


def exported(family: Family, name: str) -> str:
    return f"{name}_total" if family.kind is MetricType.COUNTER else name


def test_every_metric_is_documented_and_no_other(node: Node) -> None:
    metrics = node.runtime.metrics
    for service in ("proxy", "object", "container", "account"):
        RequestMetrics(metrics, service)
    Runner(node.jobs, node.runtime)
    for job in node.jobs:
        run_once(job.worker)
    kept = [series.family() for series in metrics._series.values()]
    assert sorted(documented("| metric | labels | what |")) == sorted(exported(family, family.name) for family in kept)
    former = {exported(family, FORMER_NAMES[family.name]) for family in kept if family.name in FORMER_NAMES}
    assert len(former) == len(FORMER_NAMES), "a metric that has a former name is gone"
    assert set(documented("| former name | name |")) == former


def test_daemons_alone_find_the_storage_engine(tmp_path: Path) -> None:
    script = (
        "from types import SimpleNamespace as Of; from objstore.config.object import ObjectConfig;"
        "from objstore.runtime import Runtime; from objstore.logs import get_logger;"
        "from objstore.tools import assembly;"
        "print(type(assembly._engine(ObjectConfig(), Of(runtime=Runtime(get_logger('x'))))).__name__)"
    )
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "StorageEngine"
