"""Each report of `objstore recon`: what the servers answered, made into numbers, lines, tables and JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, structs

from objstore.tools.recon.asking import ReconAnswer

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


# What an object replicator counts of fragments in its last pass; those that are missing cannot be rebuilt any more.
OF_FRAGMENTS: Final = ("rebuilt", "settled", "fragments_missing")
Figures = Mapping[str, float | None]
Extract = Callable[[str, Mapping[str, Any]], Figures]


def async_pending(kind: str, value: Mapping[str, Any]) -> Figures:
    return {"async_pending": value.get("async_pending")}


def load(kind: str, value: Mapping[str, Any]) -> Figures:
    return {f"{name}_load_avg": value.get(name) for name in ("1m", "5m", "15m")}


def replication(kind: str, value: Mapping[str, Any]) -> Figures:
    seconds = value.get("replication_time")
    if kind == "object" and seconds is not None:
        seconds *= SECONDS_PER_MINUTE
    counts = value.get("replication_stats") or {}
    fragments = {f"replication_{name}": counts[name] for name in OF_FRAGMENTS if name in counts}
    return {"replication_seconds": seconds} | fragments


def quarantined(kind: str, value: Mapping[str, Any]) -> Figures:
    figures = {f"quarantined_{name}": value.get(name) for name in ("accounts", "containers", "objects")}
    for index, counts in value.get("policies", {}).items():
        figures[f"quarantined_objects_{index}"] = counts.get("objects")
    return figures


def auditor(kind: str, value: Mapping[str, Any]) -> Figures:
    return _numbers("auditor", value.get("report", {})) or {"auditor_pass_seconds": None}


def updater(kind: str, value: Mapping[str, Any]) -> Figures:
    return {f"{kind}_updater_sweep": value.get(f"{kind}_updater_sweep")}


def expirer(kind: str, value: Mapping[str, Any]) -> Figures:
    return {name: value.get(name) for name in ("object_expiration_pass", "expired_last_pass")}


def relinker(kind: str, value: Mapping[str, Any]) -> Figures:
    """Devices that have still to be relinked, or cleaned up, by policy."""
    return {name: value.get(name) for name in ("devices_to_relink", "devices_to_cleanup")}


def sockets(kind: str, value: Mapping[str, Any]) -> Figures:
    return {name: number for name, number in value.items() if isinstance(number, int | float)}


def drive_audit(kind: str, value: Mapping[str, Any]) -> Figures:
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


# Servers whose clocks differ by more than this decide wrongly which of two writes is the newer.
JITTER_SECONDS: Final = 0.0
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Table(Struct, frozen=True):
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class ReconReport(Struct, frozen=True):
    """What one question came to. `wrong` are lines about what an operator should look at."""

    name: str
    table: Table
    data: dict[str, Any]
    wrong: list[str]


def numbers(name: str, numbers: Numbers, answers: Sequence[ReconAnswer]) -> ReconReport:
    """Statistics of each figure."""
    values: dict[str, list[float | None]] = defaultdict(list)
    for answer in answers:
        if not answer.failure:
            for figure, value in numbers.extract(answer.server.kind, answer.value).items():
                values[figure].append(value)
    failed = sum(bool(answer.failure) for answer in answers)
    found = {figure: statistics(known, failed) for figure, known in values.items()}
    headings = ("<figure", "low", "high", "average", "total", "reported", "no result", "failed")
    rows = [_row(figure, each) for figure, each in found.items()]
    data = {figure: structs.asdict(each) for figure, each in found.items()}
    return ReconReport(name, Table(headings, rows), _data(answers, data), _failures(answers))


def unmounted(answers: Sequence[ReconAnswer]) -> ReconReport:
    found = [(answer.server.name, disk["device"]) for answer in answers for disk in answer.value or []]
    wrong = [f"{server}: {device} is not mounted, or out of service" for server, device in found]
    return ReconReport("unmounted", Table(("<server", "<device"), found), _data(answers), wrong + _failures(answers))


class DiskUsage(Struct, frozen=True, order=True):
    """How full a device is, in percent."""

    percent: float
    server: str
    device: str
    size: int
    used: int


def disk_usage(answers: Sequence[ReconAnswer], top: int, lowest: int, human_readable: bool) -> ReconReport:
    """How full devices are: all together, the fullest, the emptiest."""
    machines = {answer.server.host: answer for answer in answers if not answer.failure}
    disks = sorted(
        (
            DiskUsage(
                100.0 * disk["used"] / disk["size"], answer.server.host, disk["device"], disk["size"], disk["used"]
            )
            for answer in machines.values()
            for disk in answer.value
            if disk["mounted"] and disk["size"]
        ),
        reverse=True,
    )
    shown = readable_bytes if human_readable else str
    chosen = [("fullest", disk) for disk in disks[:top]]
    chosen += [("emptiest", disk) for disk in disks[-lowest:] if lowest] if lowest else []
    rows = [(what, d.server, d.device, shown(d.used), shown(d.size), f"{d.percent:.2f}") for what, d in chosen]
    used, size = sum(disk.used for disk in disks), sum(disk.size for disk in disks)
    rows.append(
        ("all", f"{len(machines)} servers", f"{len(disks)} devices", shown(used), shown(size), _share(used, size))
    )
    spread = statistics([disk.percent for disk in disks], 0)
    rows.append(("lowest, highest", "", "", "", "", f"{spread.low:.2f}, {spread.high:.2f}"))
    data = {"percent": structs.asdict(spread), "used": used, "size": size, "histogram": histogram(disks)}
    headings = ("<", "<server", "<device", "used", "size", "percent")
    return ReconReport("diskusage", Table(headings, rows), _data(answers, data), _failures(answers))


def histogram(disks: Sequence[DiskUsage]) -> dict[str, int]:
    """How many disks are filled to each tenth."""
    counts: dict[str, int] = defaultdict(int)
    for disk in disks:
        start = min(int(disk.percent // 10) * 10, 90)
        counts[f"{start}-{start + 10}%"] += 1
    return dict(sorted(counts.items()))


def digests(name: str, answers: Sequence[ReconAnswer], expected: Mapping[str, str]) -> ReconReport:
    """Files of servers that are not those of this machine, `expected` by the file's name without folder."""
    rows, wrong = [], []
    for answer in answers:
        if answer.failure:
            continue
        there = {path.rpartition("/")[2]: digest for path, digest in answer.value.items()}
        for file, digest in expected.items():
            found = there.get(file, "")
            rows.append((answer.server.name, file, found or "missing", "same" if found == digest else "differs"))
            if found != digest:
                wrong.append(f"{answer.server.name}: {file} {'differs' if found else 'is missing'}")
    return ReconReport(name, Table(("<server", "<file", "<md5", "<"), rows), _data(answers), wrong + _failures(answers))


def rings(name: str, answers: Sequence[ReconAnswer], expected: Mapping[str, str]) -> ReconReport:
    """Rings that servers use and that are not those of this machine, and files of rings that they cannot use."""
    asked = [answer for answer in answers if not answer.failure]
    used = [structs.replace(answer, value={path: use["md5"] for path, use in answer.value.items()}) for answer in asked]
    found = digests(name, used, expected)
    bad = [
        f"{answer.server.name}: {path} is not the ring in use: {use['problem']}"
        for answer in asked
        for path, use in answer.value.items()
        if use["problem"]
    ]
    return ReconReport(name, found.table, _data(answers), found.wrong + bad + _failures(answers))


def validate(answers: Sequence[ReconAnswer]) -> ReconReport:
    """Whether each server is what the ring takes it for."""
    rows, wrong = [], []
    for answer in answers:
        if not answer.failure:
            kind = str(answer.value.get("server", "unknown"))
            rows.append((answer.server.name, kind))
            if kind != answer.server.kind:
                wrong.append(f"{answer.server.name}: it is a server of kind {kind}")
    return ReconReport("validate-servers", Table(("<server", "<is"), rows), _data(answers), wrong + _failures(answers))


def versions(answers: Sequence[ReconAnswer]) -> ReconReport:
    """Which release each server runs; that they differ is not wrong, as during an upgrade."""
    rows = [(answer.server.name, str(answer.value.get("version"))) for answer in answers if not answer.failure]
    data = {"versions": sorted({version for _, version in rows})}
    return ReconReport("versions", Table(("<server", "<version"), rows), _data(answers, data), _failures(answers))


def clocks(answers: Sequence[ReconAnswer], jitter_seconds: float = JITTER_SECONDS) -> ReconReport:
    """Servers whose clocks do not stand between the moments of this machine when it asked and was answered."""
    rows, wrong = [], []
    for answer in answers:
        if answer.failure:
            continue
        early, late = answer.asked - jitter_seconds - answer.value, answer.value - answer.answered - jitter_seconds
        rows.append((answer.server.name, f"{answer.value:.5f}", f"{answer.value - answer.answered:+.5f}"))
        if early > 0 or late > 0:
            wrong.append(
                f"{answer.server.name}: its clock is {max(early, late):.5f} s {'behind' if early > 0 else 'ahead'}"
            )
    headings = ("<server", "time", "difference")
    return ReconReport("time", Table(headings, rows), _data(answers), wrong + _failures(answers))


def readable_bytes(count: float) -> str:
    """As in "1.5 TiB"."""
    for unit in UNITS[:-1]:
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} {UNITS[-1]}"


def _row(figure: str, each: Statistics) -> tuple[str, ...]:
    values = (each.low, each.high, each.average, each.total)
    counts = (each.reported, each.missing, each.failed)
    return (figure, *(f"{value:.10g}" for value in values), *map(str, counts))


def _share(used: int, size: int) -> str:
    return f"{100.0 * used / size:.2f}" if size else ""


def _data(answers: Sequence[ReconAnswer], summary: Mapping[str, Any] | None = None) -> dict[str, Any]:
    servers = {answer.server.name: answer.shown for answer in answers}
    return {"servers": servers} if summary is None else {"summary": dict(summary), "servers": servers}


def _failures(answers: Sequence[ReconAnswer]) -> list[str]:
    return [f"{answer.server.name}: {answer.failure}" for answer in answers if answer.failure]
