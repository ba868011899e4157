"""GET /recon/...: what a server answers to operators and their programs, as JSON.

Paths and names are those of Swift's recon middleware (its administrator's guide, "Cluster Telemetry and Monitoring"),
with a few more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import msgspec

import objstore
from objstore.cluster import Cluster
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response
from objstore.mounts import DeviceRoot
from objstore.operators import disks, machine
from objstore.recon import ReconFolder
from objstore.runtime import Runtime

ROUTE: Final = "recon"
METHODS: Final = "GET, HEAD"
# What a later release will have: saying so is better than figures that mean nothing.
NOT_HERE: Final = {
    "sharding": "containers are not sharded by this release",
    "reconstruction": "this release has no erasure-coded policies",
}
Answer = Callable[[], Any]


class RingInUse(Protocol):
    """What is told of a ring: see the RingUse of the rings."""

    @property
    def md5(self) -> str: ...


@dataclass(frozen=True)
class Subject:
    """What is asked about: a server of the kind "account", "container", "object" or "proxy", which has no devices.

    `rings` blocks.
    """

    server: str
    rings: Callable[[], Mapping[str, RingInUse]]
    cluster_file: str
    devices: DeviceRoot | None


class ReconPages:
    """Answers for /recon/ on one server."""

    def __init__(self, subject: Subject, cluster: Cluster, reports: ReconFolder, runtime: Runtime) -> None:
        self._subject = subject
        self._cluster = cluster
        self._reports = reports
        self._runtime = runtime
        self._pages = self._pages_of_all()
        if subject.devices is not None:
            self._pages |= self._pages_of_storage(subject.devices)

    def handle(self, request: Request) -> Response:
        """One request. Raises HttpError."""
        if request.method not in ("GET", "HEAD"):
            raise HttpError(405, headers={"Allow": METHODS})
        page = request.path.removeprefix(f"/{ROUTE}/").rstrip("/")
        if page.partition("/")[0] in NOT_HERE:
            raise HttpError(404, f"Not found: {NOT_HERE[page.partition('/')[0]]}")
        answer = self._pages.get(page)
        if answer is None:
            raise HttpError(404, f"Not found; there are {', '.join(sorted(self._pages))}")
        # A disk that hangs may keep a thread, but not the server.
        value = self._runtime.threads.call(answer)
        body = msgspec.json.encode(value)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        return Response(200, headers, b"" if request.method == "HEAD" else body)

    def _pages_of_all(self) -> dict[str, Answer]:
        subject = self._subject
        return {
            "configmd5": lambda: {subject.cluster_file: disks.file_digest(subject.cluster_file)},
            "load": lambda: machine.parse_load(_read("/proc/loadavg")),
            "mem": lambda: machine.parse_memory(_read("/proc/meminfo")),
            "mounted": lambda: [
                {"device": mount.device, "path": mount.path} for mount in machine.parse_mounts(_read("/proc/mounts"))
            ],
            "ringmd5": lambda: {path: ring.md5 for path, ring in subject.rings().items() if ring.md5},
            "rings": subject.rings,
            "sockstat": lambda: machine.parse_sockets(_read("/proc/net/sockstat"), _read("/proc/net/sockstat6")),
            # The name that programs know.
            "swiftconfmd5": lambda: {subject.cluster_file: disks.file_digest(subject.cluster_file)},
            "time": self._runtime.clock.now,
            "version": lambda: {"version": objstore.__version__, "server": subject.server},
        }

    def _pages_of_storage(self, devices: DeviceRoot) -> dict[str, Answer]:
        pages: dict[str, Answer] = {
            "async": lambda: self._pending(devices),
            "devices": lambda: {devices.root: disks.device_names(devices)},
            "diskusage": lambda: disks.disk_usage(devices),
            "driveaudit": self._drive_audit,
            "quarantined": lambda: disks.quarantined(devices, self._cluster.policies),
            "relinker": lambda: self._reports.read("object-relinker"),
            "replication": lambda: self._daemon("replication", "object"),
            "unmounted": lambda: disks.unmounted(devices),
        }
        return pages | {f"{kind}/{server}": partial(self._daemon, kind, server) for kind, server in DAEMONS}

    def _daemon(self, kind: str, server: str) -> dict[str, Any]:
        name, shown = DAEMONS[kind, server]
        return shown(server, self._reports.read(name))

    def _pending(self, devices: DeviceRoot) -> dict[str, Any]:
        count = disks.pending_updates(devices, self._cluster.policies)
        return {"async_pending": count, "async_pending_last": self._runtime.clock.now()}

    def _drive_audit(self) -> dict[str, Any]:
        report = self._reports.read("drive-audit")
        return {"drive_audit_errors": report.get("errors"), "report": report}


def _read(path: str) -> str:
    """A file of /proc; empty where the kernel has none, as without IPv6."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


SECONDS_PER_MINUTE: Final = 60.0
Report = dict[str, Any]


def replication(server: str, report: Report) -> Report:
    """The last pass of a replicator; that of objects also by the older names of Swift's, in minutes."""
    shown: Report = {
        "replication_last": report.get("ended"),
        "replication_time": report.get("pass_seconds"),
        "replication_stats": report.get("counts", report) or None,
    }
    if server == "object":
        minutes = None if (seconds := report.get("pass_seconds")) is None else seconds / SECONDS_PER_MINUTE
        shown |= {"replication_time": minutes, "object_replication_time": minutes}
        shown["object_replication_last"] = report.get("ended")
    return shown | {"report": report}


def auditor(server: str, report: Report) -> Report:
    """The last pass of an auditor."""
    if server == "object":
        return {"object_auditor_stats_ALL": report or None, "report": report}
    counts = report.get("counts", {})
    return {
        f"{server}_auditor_pass_completed": report.get("pass_seconds"),
        f"{server}_audits_since": report.get("started"),
        f"{server}_audits_passed": counts.get("passed"),
        f"{server}_audits_failed": counts.get("failed", counts.get("quarantined")),
        "report": report,
    }


def updater(server: str, report: Report) -> Report:
    """The last sweep of an updater, in seconds."""
    return {f"{server}_updater_sweep": report.get("pass_seconds"), "report": report}


def expirer(server: str, report: Report) -> Report:
    # A pass that expired nothing counts nothing; before the first pass there is no report.
    expired = report.get("counts", {}).get("deleted", 0) if "pass_seconds" in report else None
    return {"object_expiration_pass": report.get("pass_seconds"), "expired_last_pass": expired, "report": report}


def plain(server: str, report: Report) -> Report:
    return {"report": report}


# /recon/KIND/SERVER, by KIND and SERVER: the daemon asked about.
DAEMONS: Final[dict[tuple[str, str], tuple[str, Callable[[str, Report], Report]]]] = {
    **{("replication", server): (f"{server}-replicator", replication) for server in ("account", "container", "object")},
    **{("auditor", server): (f"{server}-auditor", auditor) for server in ("account", "container", "object")},
    **{("updater", server): (f"{server}-updater", updater) for server in ("container", "object")},
    ("expirer", "object"): ("object-expirer", expirer),
    ("reconciler", "container"): ("container-reconciler", plain),
    ("notifier", "container"): ("event-notifier", plain),
    ("lifecycle", "proxy"): ("lifecycle", plain),
    ("reclaimer", "container"): ("part-reclaimer", plain),
    ("reaper", "account"): ("account-reaper", plain),
}
