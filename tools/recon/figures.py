"""The numbers of a report over all servers: lowest, highest, average, total. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

SECONDS_PER_MINUTE: Final = 60.0


class Statistics(Struct, frozen=True):
    """Of one figure; `missing` servers have answered without it, `failed` ones have not answered."""

    low: float
    high: float
    average: float
    total: float
    reported: int
    missing: int
    failed: int


def statistics(values: Iterable[float | None], failed: int) -> Statistics:
    """None is a figure that a server does not have yet."""
    values = list(values)
    known = [value for value in values if value is not None]
    missing = len(values) - len(known)
    if not known:
        return Statistics(0.0, 0.0, 0.0, 0.0, 0, missing, failed)
    total = sum(known)
    return Statistics(min(known), max(known), total / len(known), total, len(known), missing, failed)


Figures = Mapping[str, float | None]
Extract = Callable[[str, Mapping[str, Any]], Figures]


def async_pending(kind: str, value: Mapping[str, Any]) -> Figures:
    """Container updates that wait."""
    return {"async_pending": value.get("async_pending")}


def load(kind: str, value: Mapping[str, Any]) -> Figures:
    """Of the machine."""
    return {f"{name}_load_avg": value.get(name) for name in ("1m", "5m", "15m")}


def replication(kind: str, value: Mapping[str, Any]) -> Figures:
    """Seconds of the last pass."""
    seconds = value.get("replication_time")
    if kind == "object" and seconds is not None:
        seconds *= SECONDS_PER_MINUTE
    return {"replication_seconds": seconds}


def quarantined(kind: str, value: Mapping[str, Any]) -> Figures:
    """Items by kind, objects also by policy."""
    figures = {f"quarantined_{name}": value.get(name) for name in ("accounts", "containers", "objects")}
    for index, counts in value.get("policies", {}).items():
        figures[f"quarantined_objects_{index}"] = counts.get("objects")
    return figures


def auditor(kind: str, value: Mapping[str, Any]) -> Figures:
    """Every number of the auditor's last report."""
    return _numbers("auditor", value.get("report", {})) or {"auditor_pass_seconds": None}


def updater(kind: str, value: Mapping[str, Any]) -> Figures:
    """Seconds of the last sweep."""
    return {f"{kind}_updater_sweep": value.get(f"{kind}_updater_sweep")}


def expirer(kind: str, value: Mapping[str, Any]) -> Figures:
    """Of the last pass."""
    return {name: value.get(name) for name in ("object_expiration_pass", "expired_last_pass")}


def relinker(kind: str, value: Mapping[str, Any]) -> Figures:
    """Devices that have still to be relinked, or cleaned up, by policy."""
    return {name: value.get(name) for name in ("devices_to_relink", "devices_to_cleanup")}


def sockets(kind: str, value: Mapping[str, Any]) -> Figures:
    """As the server has them."""
    return {name: number for name, number in value.items() if isinstance(number, int | float)}


def drive_audit(kind: str, value: Mapping[str, Any]) -> Figures:
    """Devices taken out of service."""
    return {"drive_audit_errors": value.get("drive_audit_errors")}


def _numbers(prefix: str, report: Mapping[str, Any]) -> Figures:
    found: dict[str, float | None] = {}
    for name, value in report.items():
        if isinstance(value, dict):
            found |= _numbers(f"{prefix}_{name}", value)
        elif isinstance(value, int | float) and name not in ("started", "ended", "pass_started"):
            found[f"{prefix}_{name}"] = value
    return found


class Numbers(Struct, frozen=True):
    """A report of numbers: /recon/PAGE, where KIND stands for the kind of server, which kinds have it, and how."""

    page: str
    kinds: tuple[str, ...]
    extract: Extract

    def path(self, kind: str) -> str:
        """The page to ask a server of that kind for."""
        return self.page.replace("KIND", kind)


STORAGE: Final = ("account", "container", "object")
ALL: Final = (*STORAGE, "proxy")
REPORTS: Final[dict[str, Numbers]] = {
    "async": Numbers("async", ("object",), async_pending),
    "replication": Numbers("replication/KIND", STORAGE, replication),
    "loadstats": Numbers("load", ALL, load),
    "quarantined": Numbers("quarantined", STORAGE, quarantined),
    "auditor": Numbers("auditor/KIND", STORAGE, auditor),
    "updater": Numbers("updater/KIND", ("container", "object"), updater),
    "expirer": Numbers("expirer/KIND", ("object",), expirer),
    "relinker": Numbers("relinker", ("object",), relinker),
    "sockstat": Numbers("sockstat", ALL, sockets),
    "driveaudit": Numbers("driveaudit", STORAGE, drive_audit),
}
