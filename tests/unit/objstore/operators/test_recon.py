"""What a server answers under /recon/."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from objstore.cluster import Cluster
from objstore.config.units import Reserve
from objstore.http.errors import HttpError
from objstore.http.messages import Request
from objstore.limits import Limits
from objstore.logs import get_logger
from objstore.mounts import DeviceRoot, out_of_service_file
from objstore.operators.recon import ReconPages, Subject
from objstore.paths import PathHasher
from objstore.policies import Policies, Policy
from objstore.recon import ReconFolder
from objstore.runtime import Runtime

POLICIES = Policies([Policy(0, "gold", default=True), Policy(1, "silver")])


class Use(Struct):
    md5: str
    version: int | None
    problem: str = ""


class Machine:
    """A storage server with two devices, d1 and d2."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "devices"
        for name in ("d1", "d2"):
            (self.root / name).mkdir(parents=True)
        self.cluster_file = folder / "objstore.toml"
        self.cluster_file.write_text("secret")
        self.rings = {"/rings/object.ring.gz": Use("aa", 7), "/rings/account.ring.gz": Use("", None, "not a ring")}
        self.reports = ReconFolder(str(folder / "recon"))
        devices = DeviceRoot(str(self.root), False, Reserve())
        subject = Subject("object", lambda: self.rings, str(self.cluster_file), devices)
        cluster = Cluster(PathHasher("a", "b"), POLICIES, Limits())
        self.pages = ReconPages(subject, cluster, self.reports, Runtime(get_logger("test")))

    def get(self, page: str, method: str = "GET") -> Any:
        response = self.pages.handle(Request({"REQUEST_METHOD": method, "PATH_INFO": f"/recon/{page}"}))
        assert response.headers["Content-Type"] == "application/json"
        return json.loads(response.read_all()) if method == "GET" else response

    def make(self, name: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(b"")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_pages_of_the_machine(machine: Machine) -> None:
    assert machine.get("load").keys() == {"1m", "5m", "15m", "tasks", "processes"}
    assert "MemTotal" in machine.get("mem")
    assert any(mount["path"] == "/" for mount in machine.get("mounted"))
    assert machine.get("sockstat").keys() >= {"tcp_in_use", "tcp6_in_use"}
    assert machine.get("version")["server"] == "object"
    assert machine.get("time") > 1_600_000_000


def test_rings_in_use(machine: Machine) -> None:
    assert machine.get("ringmd5") == {"/rings/object.ring.gz": "aa"}
    assert machine.get("rings") == {
        "/rings/object.ring.gz": {"md5": "aa", "version": 7, "problem": ""},
        "/rings/account.ring.gz": {"md5": "", "version": None, "problem": "not a ring"},
    }


def test_digests_of_files(machine: Machine) -> None:
    secret = {str(machine.cluster_file): hashlib.md5(b"secret").hexdigest()}
    assert machine.get("configmd5") == machine.get("swiftconfmd5") == secret


def test_devices(machine: Machine) -> None:
    (machine.root / ".hidden").mkdir()
    (machine.root / "file").write_bytes(b"")
    assert machine.get("devices") == {str(machine.root): ["d1", "d2"]}
    assert machine.get("unmounted") == []
    usage = machine.get("diskusage")
    assert [disk["device"] for disk in usage] == ["d1", "d2"]
    assert all(disk["mounted"] and disk["size"] >= disk["used"] + disk["avail"] > 0 for disk in usage)


def test_a_device_out_of_service_counts_as_unmounted(machine: Machine) -> None:
    Path(out_of_service_file(str(machine.root), "d2")).write_text("{}")
    assert machine.get("unmounted") == [{"device": "d2", "mounted": False}]
    assert machine.get("diskusage")[1] == {"device": "d2", "mounted": False, "size": "", "used": "", "avail": ""}


def test_quarantine_by_kind_and_policy(machine: Machine) -> None:
    for name in ("objects/a", "objects/b", "objects-1/c", "accounts/d", "containers/e", "containers/f"):
        (machine.root / "d1/quarantined" / name).mkdir(parents=True)
    assert machine.get("quarantined") == {
        "accounts": 1,
        "containers": 2,
        "objects": 3,
        "policies": {"0": {"objects": 2}, "1": {"objects": 1}},
    }


def test_pending_updates_are_counted(machine: Machine) -> None:
    for name in ("d1/async_pending/abc/x", "d1/async_pending/abc/y.1.2.tmp", "d2/async_pending-1/def/z"):
        machine.make(name)
    assert machine.get("async")["async_pending"] == 2


def test_what_daemons_reported(machine: Machine) -> None:
    machine.reports.report("object-replicator", started=1.0, ended=100.0, pass_seconds=90.0, pushed=3)
    machine.reports.report("container-updater", pass_seconds=2.5)
    machine.reports.report("account-auditor", started=5.0, pass_seconds=1.0, counts={"passed": 7})
    machine.reports.report("drive-audit", errors=2)
    machine.reports.report("object-expirer", pass_seconds=1.0, counts={"deleted": 3})
    whole = machine.get("replication/object")
    assert whole == machine.get("replication")
    assert (whole["object_replication_last"], whole["object_replication_time"]) == (100.0, 1.5)
    assert machine.get("updater/container")["container_updater_sweep"] == 2.5
    assert machine.get("auditor/account")["account_audits_passed"] == 7
    assert machine.get("driveaudit")["drive_audit_errors"] == 2
    assert machine.get("expirer/object")["expired_last_pass"] == 3


def test_daemons_that_never_ran(machine: Machine) -> None:
    assert machine.get("replication/account")["replication_last"] is None
    assert machine.get("expirer/object")["object_expiration_pass"] is None
    assert machine.get("relinker") == {}


@pytest.mark.parametrize("page", ["sharding", "reconstruction/object", "nonsense", "", "replication/proxy"])
def test_what_there_is_not(machine: Machine, page: str) -> None:
    with pytest.raises(HttpError) as refusal:
        machine.get(page)
    assert refusal.value.status == 404
    assert len(refusal.value.reason) > 20


def test_methods(machine: Machine) -> None:
    assert machine.get("mem", "HEAD").read_all() == b""
    with pytest.raises(HttpError) as refusal:
        machine.get("mem", "DELETE")
    assert refusal.value.status == 405


def test_a_proxy_has_no_devices(tmp_path: Path) -> None:
    subject = Subject("proxy", dict, str(tmp_path / "none"), None)
    cluster = Cluster(PathHasher("a", "b"), POLICIES, Limits())
    pages = ReconPages(subject, cluster, ReconFolder(str(tmp_path)), Runtime(get_logger("test")))
    with pytest.raises(HttpError) as refusal:
        pages.handle(Request({"REQUEST_METHOD": "GET", "PATH_INFO": "/recon/diskusage"}))
    assert refusal.value.status == 404
