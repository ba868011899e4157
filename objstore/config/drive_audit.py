"""drive-audit.toml: what makes a device bad, and what is done about it."""

import re
from typing import Final

from msgspec import Struct

from objstore.config.sections import LogConfig, ReconConfig
from objstore.config.units import Positive, Seconds

# The first group is the device. Messages of the kernel's block layer, of SCSI and ATA disks, XFS, ext4 and Btrfs.
KERNEL_ERRORS: Final = (
    r"(?:I/O|critical medium|critical target|critical nexus|protection|timeout) error.*\bdev (?:/dev/)?([\w-]+)",
    r"Buffer I/O error on dev(?:ice)? (?:/dev/)?([\w-]+)",
    r"XFS \(([\w-]+)\):.*(?:error|corrupt|Shutdown|shut down)",
    r"EXT4-fs error \(device ([\w-]+)\)",
    r"EXT4-fs \(([\w-]+)\).*[Rr]emounting filesystem read-only",
    r"BTRFS (?:error|critical) \(device ([\w-]+)[^)]*\)",
    r"\[([\w-]+)\].*(?:Unrecovered read error|Medium Error|Hardware Error|device offlined)",
)


class DevicesAuditConfig(Struct, frozen=True):
    """[devices]: the disks looked at, those mounted below `root`."""

    root: str = "/srv/node"
    unmount_failed_device: bool = True


class KernelConfig(Struct, frozen=True):
    """[kernel]: errors the kernel has logged.

    `sources` are read in turn: "kmsg", "journal", or a file of lines as syslog writes them.
    """

    sources: tuple[str, ...] = ("journal", "kmsg")
    window: Seconds = 3600.0
    error_limit: Positive = 1
    patterns: tuple[str, ...] = KERNEL_ERRORS

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"pattern {pattern!r}: {error}") from None
            if groups < 1:
                raise ValueError(f"pattern {pattern!r} has no group for the device")


class SmartConfig(Struct, frozen=True):
    """[smart]: whether disks say that they fail, where smartctl is installed."""

    enabled: bool = True
    timeout: Seconds = 30.0


class SlowConfig(Struct, frozen=True):
    """[slow]: disks whose requests take long; `await_limit` 0 looks at none.

    A slow disk is reported; it is taken out of service only with `remove`.
    """

    await_limit: Seconds = 2.0
    sample: Seconds = 5.0
    requests_min: Positive = 20
    remove: bool = False


class DriveAuditConfig(Struct, frozen=True):
    devices: DevicesAuditConfig = DevicesAuditConfig()
    kernel: KernelConfig = KernelConfig()
    smart: SmartConfig = SmartConfig()
    slow: SlowConfig = SlowConfig()
    recon: ReconConfig = ReconConfig()
    log: LogConfig = LogConfig()
