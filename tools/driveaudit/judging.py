"""Which mounted devices are bad, and why. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from os.path import basename, realpath

from msgspec import Struct

from objstore.config.drive_audit import DriveAuditConfig
from objstore.operators.machine import Mount
from objstore.tools.driveaudit.parsing import disk_of


class Evidence(Struct, frozen=True):
    """What was found, by kernel names of devices ("sdb1") and disks ("sdb")."""

    kernel_errors: Mapping[str, int]
    smart_failures: Collection[str]
    waits_seconds: Mapping[str, float]


class Verdict(Struct, frozen=True):
    """A device that is bad; `remove` says whether it goes out of service or is only reported."""

    name: str
    mount: Mount
    reasons: tuple[str, ...]
    remove: bool


def judge(name: str, mount: Mount, config: DriveAuditConfig, evidence: Evidence) -> Verdict | None:
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
    return Verdict(name, mount, tuple(reasons), remove) if reasons else None


def kernel_name(path: str) -> str:
    """The kernel's name of a block device: links such as /dev/mapper/x and /dev/disk/by-id/y lead to it."""
    return basename(realpath(path))
