"""What every kind of hypervisor does for the agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from objstore.compute.protocol import ImageSource, MachineAction, MachineAddress, MachineSpec, PowerState
from objstore.errors import StoreError

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

Progress = Callable[[int], None]  # is told percents


@dataclass(eq=False)
class MachineError(StoreError):
    """A machine could not be brought to where it shall be. The reason is for the machine's owner."""

    message: ClassVar[str] = "{reason}"

    reason: str


@dataclass(eq=False)
class NotSupported(MachineError):
    """The driver cannot do this: it is the request that was wrong."""


@dataclass(frozen=True)
class DiskContent:
    """The content of a machine's root disk at one moment, as a file of a known format and length.

    Its pieces are read once.
    """

    disk_format: str
    length: int
    virtual_size: int
    pieces: Iterator[bytes]


class Driver(Protocol):
    """Machines of one hypervisor on this host.

    Every method may be called again after it was interrupted anywhere, and then leaves what it leaves when it runs
    once. All of them block, and raise MachineError. A machine is known by the id of its server. The caller sees to it
    that one machine has one method running at a time.
    """

    name: str
    accelerator: str
    version: int  # as 7002000 for 7.2.0
    features: frozenset[MachineAction]

    def machines(self) -> list[str]:
        """Every machine of which this host has anything, also half of one."""
        ...

    def power(self, server_id: str) -> PowerState:
        """NONE: the host has not all of it, or nothing."""
        ...

    def addresses(self, server_id: str) -> list[MachineAddress]: ...

    def build(self, machine: MachineSpec, progress: Progress) -> None:
        """Fresh disks, of `machine.image` the first, and a running machine."""
        ...

    def update(self, machine: MachineSpec) -> None:
        """The machine's metadata or keys changed."""
        ...

    def start(self, server_id: str) -> None:
        """Start it, or let it go on: from its saved memory if it was suspended, from its pause if it was paused."""
        ...

    def stop(self, server_id: str, timeout_seconds: float) -> None:
        """Ask the guest to power off, and pull the plug after so long."""
        ...

    def reboot(self, server_id: str, *, hard: bool) -> None: ...

    def pause(self, server_id: str) -> None: ...

    def suspend(self, server_id: str) -> None:
        """Its memory goes to the disk, and its process ends."""
        ...

    def destroy(self, server_id: str) -> None:
        """Leave nothing of it; there may be nothing."""
        ...

    def resize(self, machine: MachineSpec) -> None:
        """Take a new flavor, and keep the old one."""
        ...

    def confirm_resize(self, server_id: str) -> None: ...

    def revert_resize(self, machine: MachineSpec) -> None: ...

    def rescue(self, server_id: str, image: ImageSource | None) -> None:
        """Boot `image`, or the machine's own one anew, with the root disk as the second disk."""
        ...

    def unrescue(self, server_id: str) -> None: ...

    def snapshot(self, server_id: str) -> AbstractContextManager[DiskContent]:
        """The root disk as it is now, while the machine goes on."""
        ...

    def console(self, server_id: str, most: int) -> str:
        """The last `most` bytes that the guest wrote to its console."""
        ...

    def diagnostics(self, server_id: str) -> dict[str, int]: ...

    def degraded(self, server_id: str) -> str:
        """Why the machine may fail soon; "" when all is well."""
        ...

    def tend(self, server_id: str) -> None:
        """What is done for a machine from time to time, in the background."""
        ...

    def sweep(self) -> None:
        """Remove what no machine needs any more."""
        ...

    def close(self) -> None:
        """The agent ends; the machines go on."""
        ...
