"""What lies on the devices of a server. All of it blocks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final

from objstore.mounts import DeviceRoot, DeviceUnavailable
from objstore.policies import Policies, Policy
from objstore.system import files

QUARANTINED: Final = "quarantined"
READ_BYTES: Final = 1024 * 1024
# A device with more pending updates than this has a problem that a larger number would not show better.
COUNTED_MAX: Final = 1_000_000


def device_names(devices: DeviceRoot) -> list[str]:
    """The folders of the devices, mounted or not, sorted; hidden ones are none."""
    names = files.list_directory(devices.root)
    return sorted(name for name in names if name[0] != "." and os.path.isdir(f"{devices.root}/{name}"))


def unmounted(devices: DeviceRoot) -> list[dict[str, Any]]:
    """The devices that the server refuses to use: nothing is mounted there, or they were taken out of service."""
    return [{"device": name, "mounted": False} for name in device_names(devices) if not _is_usable(devices, name)]


def disk_usage(devices: DeviceRoot) -> list[dict[str, Any]]:
    """Size, used and available bytes of each device; empty text for one that is not usable."""
    found = []
    for name in device_names(devices):
        usage: dict[str, Any] = {"device": name, "mounted": False, "size": "", "used": "", "avail": ""}
        if _is_usable(devices, name):
            figures = os.statvfs(f"{devices.root}/{name}")
            available, size = figures.f_bavail * figures.f_frsize, figures.f_blocks * figures.f_frsize
            used = size - figures.f_bfree * figures.f_frsize
            usage |= {"mounted": True, "size": size, "used": used, "avail": available}
        found.append(usage)
    return found


def quarantined(devices: DeviceRoot, policies: Policies) -> dict[str, Any]:
    """How many items lie in quarantine, by kind, and objects by policy."""
    places = [place for name in _usable_names(devices) for place in [f"{devices.root}/{name}/{QUARANTINED}"]]
    by_policy = {policy: sum(_entries(f"{place}/{policy.data_dir}") for place in places) for policy in policies}
    return {
        "accounts": sum(_entries(f"{place}/accounts") for place in places),
        "containers": sum(_entries(f"{place}/containers") for place in places),
        "objects": sum(by_policy.values()),
        "policies": {str(policy.index): {"objects": count} for policy, count in by_policy.items()},
    }


def pending_updates(devices: DeviceRoot, policies: Iterable[Policy]) -> int:
    """How many container updates wait on all devices, at most COUNTED_MAX."""
    count = 0
    for name in _usable_names(devices):
        for policy in policies:
            for _ in _pending(f"{devices.root}/{name}/{policy.async_dir}"):
                count += 1
                if count == COUNTED_MAX:
                    return count
    return count


def file_digest(path: str) -> str:
    """MD5 of a file in hex, by which operators compare it between servers. Raises OSError."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def ring_digests(ring_dir: str) -> dict[str, str]:
    """The MD5 of each ring of a folder, by path."""
    names = sorted(name for name in files.list_directory(ring_dir) if name.endswith(".ring.gz"))
    return {path: file_digest(path) for path in (os.path.join(ring_dir, name) for name in names)}


def _pending(directory: str) -> Iterator[str]:
    for suffix in files.list_directory(directory):
        try:
            names = files.list_directory(f"{directory}/{suffix}")
        except NotADirectoryError:
            continue
        yield from (name for name in names if not name.endswith(files.TEMPORARY_SUFFIX))


def _entries(directory: str) -> int:
    return len(files.list_directory(directory))


def _usable_names(devices: DeviceRoot) -> list[str]:
    return [name for name in device_names(devices) if _is_usable(devices, name)]


def _is_usable(devices: DeviceRoot, name: str) -> bool:
    try:
        devices.path(name)
    except DeviceUnavailable:
        return False
    return True
