"""What the kernel and disks report, and which mounted devices are bad. Pure: texts and times are passed in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from os.path import basename, realpath
from typing import Final

import msgspec
from msgspec import Struct

from objstore.config.drive_audit import DriveAuditConfig
from objstore.operators.machine import Mount

_SYSLOG: Final = re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d:\d\d:\d\d) (.*)")
_PARTITION: Final = re.compile(r"((?:nvme\d+n\d+|mmcblk\d+))p\d+|((?:s|v|h|xv)d[a-z]+)\d+")


class LogLine(Struct, frozen=True):
    """A line of the kernel's log and when it was written, in Unix seconds."""

    seconds: float
    text: str


def parse_kmsg(text: str, boot_seconds: float) -> list[LogLine]:
    """/dev/kmsg: "priority,sequence,microseconds since boot,flags;message"; lines that begin with a blank go on."""
    found = []
    for line in text.splitlines():
        head, semicolon, message = line.partition(";")
        fields = head.split(",")
        if semicolon and len(fields) >= 3 and fields[2].isdecimal():
            found.append(LogLine(boot_seconds + int(fields[2]) / 1e6, message))
    return found


class JournalEntry(Struct):
    """An entry of `journalctl --output json`; a message that is not UTF-8 comes as a list of bytes."""

    microseconds: str = msgspec.field(name="__REALTIME_TIMESTAMP")
    message: str | list[int] | None = msgspec.field(name="MESSAGE", default=None)


def parse_journal(text: str) -> list[LogLine]:
    """The lines of `journalctl --dmesg --output json`; what is none of them is passed over."""
    found = []
    for line in text.splitlines():
        try:
            entry = msgspec.json.decode(line, type=JournalEntry)
            seconds = int(entry.microseconds) / 1e6
        except (msgspec.DecodeError, ValueError):
            continue
        message = bytes(entry.message).decode("utf-8", "replace") if isinstance(entry.message, list) else entry.message
        found.append(LogLine(seconds, message or ""))
    return found


def parse_syslog(text: str, now: datetime) -> list[LogLine]:
    """A file of syslog: lines begin with RFC 3339 or "Nov 21 06:53:59", which has no year."""
    found = []
    for line in text.splitlines():
        moment = _moment_of(line, now)
        if moment is not None:
            found.append(LogLine(moment.timestamp(), line))
    return found


def _moment_of(line: str, now: datetime) -> datetime | None:
    first, _, _ = line.partition(" ")
    try:
        moment = datetime.fromisoformat(first)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=now.tzinfo)
    except ValueError:
        pass
    match = _SYSLOG.match(line)
    if match is None:
        return None
    try:
        moment = datetime.strptime(f"{now.year} {match[1]} {match[2]} {match[3]}", "%Y %b %d %H:%M:%S")
    except ValueError:
        return None
    moment = moment.replace(tzinfo=now.tzinfo)
    # A December line read in January is of the year before.
    return moment if moment <= now + timedelta(days=1) else moment.replace(year=now.year - 1)


def kernel_errors(lines: Iterable[LogLine], patterns: Sequence[str], since_seconds: float) -> Counter[str]:
    """How many lines since then are errors, by the device they name ("sdb1", "dm-0")."""
    compiled = [re.compile(pattern) for pattern in patterns]
    found: Counter[str] = Counter()
    # Of several sources that are copies of one another a line counts once.
    for text in {(round(line.seconds), line.text) for line in lines if line.seconds >= since_seconds}:
        match = next((match for pattern in compiled if (match := pattern.search(text[1]))), None)
        if match is not None and match[1]:
            found[match[1]] += 1
    return found


def disk_of(device: str) -> str:
    """The whole disk of a partition: "sdb1" -> "sdb", "nvme0n1p2" -> "nvme0n1"; others are disks themselves."""
    match = _PARTITION.fullmatch(device)
    return device if match is None else match[1] or match[2]


class SmartStatus(Struct):
    """Whether the disk believes that it will last."""

    passed: bool = True


class SmartReport(Struct):
    """What is needed of `smartctl --json --health`."""

    smart_status: SmartStatus | None = None


def smart_fails(text: str) -> bool:
    """Whether a disk says that it fails; one that says nothing, or is not understood, does not."""
    try:
        report = msgspec.json.decode(text, type=SmartReport)
    except msgspec.DecodeError:
        return False
    return report.smart_status is not None and not report.smart_status.passed


class DiskFigures(Struct, frozen=True):
    """Requests a disk has completed since boot, and the milliseconds they took in all."""

    requests: int
    milliseconds: int


def parse_diskstats(text: str) -> dict[str, DiskFigures]:
    """/proc/diskstats (the kernel's Documentation/admin-guide/iostats.rst): fields 4 and 8 complete, 7 and 11 time."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 14:
            found[fields[2]] = DiskFigures(int(fields[3]) + int(fields[7]), int(fields[6]) + int(fields[10]))
    return found


def mean_waits(before: dict[str, DiskFigures], after: dict[str, DiskFigures], requests_min: int) -> dict[str, float]:
    """Seconds that a request took between two looks, of each disk that had at least so many."""
    found = {}
    for name, now in after.items():
        requests = now.requests - before.get(name, now).requests
        if requests >= requests_min:
            found[name] = (now.milliseconds - before[name].milliseconds) / requests / 1000
    return found


class Evidence(Struct, frozen=True):
    """What was found, by kernel names of devices ("sdb1") and disks ("sdb")."""

    kernel_errors: Mapping[str, int]
    smart_failures: Collection[str]
    waits_seconds: Mapping[str, float]


class DriveVerdict(Struct, frozen=True):
    """A device that is bad; `remove` says whether it goes out of service or is only reported."""

    name: str
    mount: Mount
    reasons: tuple[str, ...]
    remove: bool


def judge(name: str, mount: Mount, config: DriveAuditConfig, evidence: Evidence) -> DriveVerdict | None:
    """None if there is nothing against the device that is mounted there."""
    device = kernel_name(mount.device)
    reasons, remove = [], False
    errors = sum(count for named, count in evidence.kernel_errors.items() if named in (device, disk_of(device)))
    if errors >= config.kernel.error_limit:
        reasons.append(f"{errors} errors in the kernel's log")
        remove = True
    if disk_of(device) in evidence.smart_failures:
        reasons.append("the disk says that it fails (SMART)")
        remove = True
    seconds = max(evidence.waits_seconds.get(device, 0.0), evidence.waits_seconds.get(disk_of(device), 0.0))
    if config.slow.await_limit and seconds > config.slow.await_limit:
        reasons.append(f"requests take {seconds:.2f} s")
        remove = remove or config.slow.remove
    return DriveVerdict(name, mount, tuple(reasons), remove) if reasons else None


def kernel_name(path: str) -> str:
    """The kernel's name of a block device: links such as /dev/mapper/x and /dev/disk/by-id/y lead to it."""
    return basename(realpath(path))
