"""What an operator may choose: the settings of a ring, and devices."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass
from typing import Final

from objstore.devices import Device
from objstore.ring.errors import require

PART_POWER_MAX: Final = 24
REPLICAS_MAX: Final = 256


@dataclass(frozen=True)
class RingSettings:
    """`replicas` may be fractional; `overload` is a share: 0.1 lets devices take 10% more than their weight's part.

    Raises BuilderError for numbers out of range.
    """

    part_power: int
    replicas: float
    min_part_hours: float = 0.0
    overload: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.part_power <= PART_POWER_MAX, f"the part power must be 0 to {PART_POWER_MAX}")
        require(1 <= self.replicas <= REPLICAS_MAX, f"the replica count must be 1 to {REPLICAS_MAX}")
        require(0 <= self.overload < math.inf, "the overload must be 0 or more")
        require(0 <= self.min_part_hours < math.inf, "min_part_hours must be 0 or more")

    @property
    def partition_count(self) -> int:
        return 1 << self.part_power

    @property
    def long_count(self) -> int:
        """How many partitions have one replica more than the others, rounded; these come first."""
        return round((self.replicas - math.floor(self.replicas)) * self.partition_count)

    @property
    def replica_counts(self) -> list[tuple[int, int]]:
        """(number of partitions, replicas of each) for those with more and for those with fewer, if there are any."""
        whole = math.floor(self.replicas)
        pairs = ((self.long_count, whole + 1), (self.partition_count - self.long_count, whole))
        return [(partitions, replicas) for partitions, replicas in pairs if partitions]

    @property
    def exact_replicas(self) -> float:
        """The replica count that can be had: partitions are not divisible."""
        return math.floor(self.replicas) + self.long_count / self.partition_count

    @property
    def row_count(self) -> int:
        """The most replicas any partition has."""
        return self.replica_counts[0][1]


DEVICE_ID_MAX: Final = 999_999
WEIGHT_MIN: Final = 1e-6
WEIGHT_MAX: Final = 1e18  # more than the bytes of any disk
HOST_NAME: Final = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z][A-Za-z0-9-]{0,62}"
)
DEVICE_NAME: Final = re.compile(r"[^/\x00-\x20]{1,255}")


def check_weight(weight: float) -> None:
    """Raises BuilderError for a weight that is neither 0 nor a number within reason: sums of others mean nothing."""
    require(math.isfinite(weight) and weight >= 0, f"a weight must be a number of 0 or more, not {weight}")
    reasonable = weight == 0 or WEIGHT_MIN <= weight <= WEIGHT_MAX
    require(reasonable, f"a weight must be 0 or {WEIGHT_MIN:g} to {WEIGHT_MAX:g}, not {weight}")


def check_device(device: Device) -> None:
    """Raises BuilderError for a device with an impossible value."""
    check_weight(device.weight)
    require(0 <= device.id <= DEVICE_ID_MAX, f"a device id must be 0 to {DEVICE_ID_MAX}, not {device.id}")
    require(device.region >= 0, f"a region must be 0 or more, not {device.region}")
    require(device.zone >= 0, f"a zone must be 0 or more, not {device.zone}")
    for address in (device.ip, device.replication_ip):
        require(_is_address(address), f"{address!r} is neither an IP address nor a host name")
    for port in (device.port, device.replication_port):
        require(0 < port < 65536, f"a port must be 1 to 65535, not {port}")
    named = DEVICE_NAME.fullmatch(device.device) and device.device not in (".", "..")
    require(bool(named), f"{device.device!r} is no name for a device")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return HOST_NAME.fullmatch(text) is not None
    return True
