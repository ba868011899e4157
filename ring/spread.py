"""Placing partitions for the first time, exactly: every quota met, no replicas closer than targets force.

Devices lie on a line in the order of the tree, so that every region, zone and server is one stretch, and each is as
long as its quota. The line has the length `replicas * partitions`. A partition that takes the devices at the points
x, x + partitions, x + 2 * partitions ... has, in any stretch, its target number of replicas rounded up or down, and
never anything else; and all x together use up the line exactly. (Statisticians call this systematic sampling.)

With one order of the line a device would share partitions with few others, and its loss would be rebuilt from and to
those few only. So the partitions are placed in batches, and the children of every node are shuffled for each batch.
A batch uses a part of all x, evenly spaced; the line of the next one is made of what is left of the quotas, for which
the same holds.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from objstore.ring.tiers import Ids, Ints, Tiers

BATCHES_MAX: Final = 1024
SLOTS_PER_BATCH: Final = 4  # how often a device of average size comes up in a batch
LINE_WORK_MAX: Final = 1 << 23  # devices times batches: shuffling the line costs time for each device on it


def spread(tiers: Tiers, quota: Ints, replicas: int, partitions: int, random: np.random.Generator) -> Ids:
    """Device ids, shape (replicas, partitions). `quota` by device id adds up to replicas * partitions."""
    result = np.zeros((replicas, partitions), np.uint32)
    left = quota.copy()
    places = random.permutation(partitions)
    batch_count = _batch_count(tiers.usable_count, replicas * partitions)
    for batch in range(batch_count):
        begin, end = (partitions * step // batch_count for step in (batch, batch + 1))
        points = _points(partitions - begin, end - begin, replicas, random)
        line = _shuffled_line(tiers, random)
        ends = np.cumsum(left[line])
        chosen = line[np.searchsorted(ends, points, side="right")]
        left -= np.bincount(chosen.ravel(), minlength=len(left))
        result[:, places[begin:end]] = _rotated(chosen, random)
    return result


def _batch_count(devices: int, slots: int) -> int:
    wanted = slots // (devices * SLOTS_PER_BATCH)
    return max(1, min(BATCHES_MAX, wanted, LINE_WORK_MAX // devices))


def _points(length: int, count: int, replicas: int, random: np.random.Generator) -> Ints:
    """`count` distinct numbers below `length`, one from each stretch of equal length; a row for each replica."""
    edges = np.arange(count + 1) * length // count
    first = edges[:-1] + random.integers(0, np.diff(edges))
    return np.arange(replicas)[:, None] * length + first


def _shuffled_line(tiers: Tiers, random: np.random.Generator) -> Ints:
    """All device ids, with the children of every node of the tree in random order."""
    keys = [random.permutation(tiers.node_count(level))[node] for level, node in enumerate(tiers.nodes)]
    return np.lexsort(keys[::-1])


def _rotated(chosen: Ints, random: np.random.Generator) -> Ints:
    """Begin with a random replica in each column, so that all devices are equally often the first."""
    replicas, partitions = chosen.shape
    turns = random.integers(0, replicas, partitions)
    return np.take_along_axis(chosen, (np.arange(replicas)[:, None] + turns) % replicas, axis=0)
