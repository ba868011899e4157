"""Which device holds which replica of which partition, while it is being worked on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from objstore.ring.quotas import quotas
from objstore.ring.spread import spread
from objstore.ring.targets import targets
from objstore.ring.tiers import Ids, Tiers

NARROW_ID_MAX: Final = 0xFFFE  # above it, ids take four bytes each


@dataclass(frozen=True, eq=False)
class Layout:
    """`ids[replica, partition]` is a device id, or `nobody` where there is no replica.

    With a fractional replica count, the first `long_count` partitions have a replica more than the others.
    """

    part_power: int
    replicas: float
    ids: Ids

    @property
    def nobody(self) -> int:
        return int(np.iinfo(self.ids.dtype).max)

    @property
    def partition_count(self) -> int:
        return 1 << self.part_power

    @property
    def long_count(self) -> int:
        """How many partitions have a replica in the last row; 0 if all have the same number."""
        return long_count(self.part_power, self.replicas)

    def rows(self) -> Iterator[Ids]:
        """The rows as a ring has them, the last one cut to its length."""
        for replica in range(len(self.ids)):
            whole = replica < math.floor(self.replicas)
            yield self.ids[replica] if whole else self.ids[replica, : self.long_count]


def long_count(part_power: int, replicas: float) -> int:
    """How many partitions have one replica more than floor(replicas)."""
    return round((replicas - math.floor(replicas)) * (1 << part_power))


def first_layout(
    tiers: Tiers, part_power: int, replicas: float, overload: float, random: np.random.Generator
) -> Layout:
    """Place every partition anew. Raises ValueError when no device has weight."""
    whole = math.floor(replicas)
    longs = long_count(part_power, replicas)
    partitions = 1 << part_power
    nothing = np.zeros(len(tiers.weights), np.int64)
    dtype = np.uint16 if len(tiers.weights) - 1 <= NARROW_ID_MAX else np.uint32
    ids = np.full((whole + (longs > 0), partitions), np.iinfo(dtype).max, dtype)
    for begin, end, count in ((0, longs, whole + 1), (longs, partitions, whole)):
        if begin < end and count:
            quota = quotas(tiers, [(end - begin, targets(tiers, count, overload))], nothing)
            ids[:count, begin:end] = spread(tiers, quota, count, end - begin, random)
    return Layout(part_power, replicas, ids)
