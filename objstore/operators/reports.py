"""What daemons have reported, under the names that operators' programs know (Swift's administrator's guide, Recon)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

SECONDS_PER_MINUTE: Final = 60.0
Report = dict[str, Any]


def replication(server: str, report: Report) -> Report:
    """The last pass of a replicator. Of objects also under names of their own, in minutes as ever."""
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
    """The last pass of the expirer."""
    # A pass that expired nothing counts nothing; before the first pass there is no report.
    expired = report.get("counts", {}).get("deleted", 0) if "pass_seconds" in report else None
    return {"object_expiration_pass": report.get("pass_seconds"), "expired_last_pass": expired, "report": report}


def plain(server: str, report: Report) -> Report:
    """As the daemon has it."""
    return {"report": report}


# /recon/KIND/SERVER, by KIND and SERVER: the daemon asked about.
DAEMONS: Final[dict[tuple[str, str], tuple[str, Callable[[str, Report], Report]]]] = {
    **{("replication", server): (f"{server}-replicator", replication) for server in ("account", "container", "object")},
    **{("auditor", server): (f"{server}-auditor", auditor) for server in ("account", "container", "object")},
    **{("updater", server): (f"{server}-updater", updater) for server in ("container", "object")},
    ("expirer", "object"): ("object-expirer", expirer),
    ("reconciler", "container"): ("container-reconciler", plain),
    ("reaper", "account"): ("account-reaper", plain),
}
