"""The disks of a storage server: where they are mounted, and whether they have room."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec
from msgspec import Struct

from objstore.config.units import Reserve
from objstore.errors import StoreError
from objstore.system import concurrency, files

# What the system says when there is no room.
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
# How long an answer of the system is believed. A disk that fills up or drops out is noticed this much later.
BELIEVED_SECONDS: Final = 1.0


@dataclass(eq=False)
class DeviceUnavailable(StoreError):
    """No such device here, nothing is mounted on it, or it is out of service: the proxy goes on to a handoff."""

    message: ClassVar[str] = "Device {device} is not available"

    device: str


@dataclass(eq=False)
class DeviceFull(StoreError):
    """There is no room for what is asked for: the proxy goes on to a handoff.

    Unlike a device that is gone, this one has what it has, and may have room for something smaller.
    """

    message: ClassVar[str] = "Device {device} is full"

    device: str


@dataclass(slots=True)
class _Space:
    """What is free above the reserve, in bytes, and until when that is believed."""

    free: int
    until: float


class DeviceRoot:
    """The folder whose entries are the devices.

    `monotonic` gives seconds that never go back.
    """

    def __init__(
        self, root: str, mount_check: bool, reserve: Reserve, monotonic: Callable[[], float] = concurrency.monotonic
    ) -> None:
        self.root = root
        self._mount_check = mount_check
        self._reserve = reserve
        self._monotonic = monotonic
        self._mounted_until: dict[str, float] = {}
        self._space: dict[str, _Space] = {}

    def path(self, device: str) -> str:
        """The device's folder. Raises DeviceUnavailable, also for a name that is not one of a folder."""
        path = f"{self.root}/{device}"
        now = self._monotonic()
        if self._mounted_until.get(device, 0.0) > now:
            return path
        if not device or device in (".", "..") or "/" in device or "\0" in device:
            raise DeviceUnavailable(device)
        if not self.is_present(device) or os.path.exists(out_of_service_file(self.root, device)):
            self._mounted_until.pop(device, None)
            raise DeviceUnavailable(device)
        self._mounted_until[device] = now + BELIEVED_SECONDS
        return path

    def is_present(self, device: str) -> bool:
        """Whether the device is mounted, in service or not."""
        path = f"{self.root}/{device}"
        return os.path.ismount(path) if self._mount_check else os.path.isdir(path)

    def check_space(self, device: str, size: int) -> None:
        """Raises DeviceFull if `size` bytes more would reach into the reserve, and DeviceUnavailable."""
        path = self.path(device)
        now = self._monotonic()
        space = self._space.get(device)
        if space is None or space.until <= now:
            space = self._space[device] = _Space(_free_bytes(path, self._reserve), now + BELIEVED_SECONDS)
        if space.free < size:
            raise DeviceFull(device)
        # Uploads granted since the last look are counted, or a second's worth of them could overfill it.
        space.free -= size


def out_of_service_file(root: str, device: str) -> str:
    """While this file exists the device is not used. It lies beside the device, which may take no more writes."""
    return f"{root}/.{device}.out-of-service"


class OutOfService(Struct, frozen=True):
    """What stands in that file: since when, in seconds since the epoch, why, and who found out."""

    since: float = 0.0
    reasons: tuple[str, ...] = ()
    by: str = ""


def take_out_of_service(root: str, device: str, mark: OutOfService) -> bool:
    """Leave the mark that servers look for; False if one stands there already. Blocks; raises OSError."""
    path = out_of_service_file(root, device)
    if os.path.exists(path):
        return False
    files.write_atomically(path, msgspec.json.encode(mark), files.READABLE_FILE_MODE)
    return True


def out_of_service(root: str, device: str) -> OutOfService | None:
    """Its mark, None while it is in service. Blocks; raises OSError."""
    try:
        with open(out_of_service_file(root, device), "rb") as file:
            return msgspec.json.decode(file.read(), type=OutOfService)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return OutOfService()


def _free_bytes(path: str, reserve: Reserve) -> int:
    try:
        figures = os.statvfs(path)
    except OSError:
        raise DeviceUnavailable(os.path.basename(path)) from None
    kept = reserve.bytes + figures.f_blocks * figures.f_frsize * reserve.percent / 100
    return int(figures.f_bavail * figures.f_frsize - kept)
