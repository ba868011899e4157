"""What an operator chooses for a ring."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from objstore.ring.errors import require

PART_POWER_MAX: Final = 24
REPLICAS_MAX: Final = 256


@dataclass(frozen=True)
class Settings:
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
