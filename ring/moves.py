"""What a rebalance moves: from which devices, to which, and which partition is off worst before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from objstore.ring.layout import Layout
from objstore.ring.targets import structural_caps
from objstore.ring.tiers import DEVICE_LEVEL, LEVEL_NAMES, Bools, Ids, Ints, Tiers

CHUNK: Final = 1 << 20  # partitions looked at in one go: bounds the memory


@dataclass(frozen=True, eq=False)
class Moves:
    """How many replicas leave and how many arrive, by device id; what only changes its row does neither.

    `partitions` is how many partitions are touched. A replica that the new layout has no place for leaves and does
    not arrive; one that it has in addition arrives and has left nowhere.
    """

    tiers: Tiers
    departures: Ints
    arrivals: Ints
    partitions: int

    @property
    def count(self) -> int:
        """Replicas that a device has to be given by others: what has to be copied."""
        return int(self.arrivals.sum())

    def departures_by(self, level: int) -> Ints:
        """By node of a level, how many replicas leave its devices, be it for another device of the same node."""
        return self._by(level, self.departures)

    def arrivals_by(self, level: int) -> Ints:
        """By node of a level, how many replicas arrive at its devices."""
        return self._by(level, self.arrivals)

    def _by(self, level: int, by_device: Ints) -> Ints:
        return self.tiers.sums(level, by_device.astype(np.float64)).astype(np.int64)


def moves_between(old: Layout | None, new: Layout, tiers: Tiers) -> Moves:
    """Compare two layouts of as many partitions; `tiers` has the devices of both. Without an old one all arrives."""
    size = len(tiers.weights)
    arriving = arrivals(old, new)
    touched = arriving.any(axis=0)
    departures = np.zeros(size, np.int64)
    if old is not None:
        leaving = arrivals(new, old)
        touched |= leaving.any(axis=0)
        departures = np.bincount(old.ids[leaving], minlength=size)
    return Moves(tiers, departures, np.bincount(new.ids[arriving], minlength=size), int(np.count_nonzero(touched)))


def arrivals(old: Layout | None, new: Layout) -> Bools:
    """By replica and partition of the new layout: whether its device gets the partition, in whatever row it was."""
    arriving: Bools = new.ids != new.nobody
    if old is not None:
        for chunk in _chunks(new.ids.shape[1]):
            before, after = _signed(old, chunk), _signed(new, chunk)
            kept = min(len(before), len(after))
            changed = np.flatnonzero((before[:kept] != after[:kept]).any(axis=0) | (after[kept:] >= 0).any(axis=0))
            part = arriving[:, chunk]
            part[:kept, :] = False
            part[:, changed] = _newcomers(before[:, changed], after[:, changed])
    return arriving


def _newcomers(before: Ints, after: Ints) -> Bools:
    """Marks the replicas of `after` that find no equal in `before`; each of those is found once."""
    left = before.copy()
    marks: Bools = after >= 0
    for row in range(len(after)):
        for earlier in range(len(left)):
            same = marks[row] & (left[earlier] == after[row])
            left[earlier, same] = -1
            marks[row, same] = False
    return marks


def _signed(layout: Layout, chunk: slice) -> Ints:
    """A part of the ids, with -1 for nobody."""
    ids = layout.ids[:, chunk].astype(np.int64)
    ids[ids == layout.nobody] = -1
    return ids


@dataclass(frozen=True)
class WorstPartition:
    """`sharing` replicas of a partition are in one node of a level, where an even spread would put `allowed`.

    `device_ids` are all devices of the partition, by row; `node` is the number of the node within its level.
    """

    partition: int
    level: int
    node: int
    sharing: int
    allowed: int
    device_ids: tuple[int, ...]

    @property
    def beyond(self) -> int:
        """How many replicas too many there are."""
        return self.sharing - self.allowed

    @property
    def level_name(self) -> str:
        """region, zone, server or device."""
        return LEVEL_NAMES[self.level]


def worst_partition(layout: Layout, tiers: Tiers) -> WorstPartition | None:
    """The partition with the most replicas beyond what its tiers force in one place; None if there is no such.

    Of equals it is one on the narrowest level, since what fails together there holds it alone, and then the first.
    """
    found = None
    begin = 0
    for count, replicas in layout.settings.replica_counts:
        caps = structural_caps(tiers, replicas)
        for level in range(DEVICE_LEVEL + 1):
            for chunk in _chunks(count):
                start, end = begin + chunk.start, begin + chunk.stop
                here = _worst_of(layout.ids[:replicas, start:end], start, level, tiers.nodes[level], caps[level])
                if here.beyond > 0 and (found is None or (here.beyond, level) > (found.beyond, found.level)):
                    found = here
        begin += count
    return found


def _worst_of(ids: Ids, first: int, level: int, node_of: Ints, caps: Ints) -> WorstPartition:
    """The worst partition of some on one level; `first` is the number of the first of them."""
    nodes = node_of[ids]
    sharing = np.array([np.count_nonzero(nodes == row, axis=0) for row in nodes])
    allowed = np.maximum(caps, 1)[nodes]
    row, column = np.unravel_index(int((sharing - allowed).argmax()), nodes.shape)
    node, together, forced = (int(values[row, column]) for values in (nodes, sharing, allowed))
    return WorstPartition(first + int(column), level, node, together, forced, tuple(ids[:, column].tolist()))


def _chunks(length: int) -> Iterator[slice]:
    for begin in range(0, length, CHUNK):
        yield slice(begin, min(begin + CHUNK, length))
