"""How close the replicas of a partition may be: the price of a replica more in a region, zone, server or device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from objstore.ring.settings import RingSettings
from objstore.ring.targets import ROUNDING, Share, structural_caps
from objstore.ring.tiers import DEVICE_LEVEL, Ints, Tiers

Prices = npt.NDArray[np.int16]
IdMatrix = npt.NDArray[np.int32]

# What it costs to have one replica too many, or one too few, by level. Two copies on one disk are lost together,
# which is worse than anything above it; else the larger domain matters more.
LEVEL_PRICES: Final = (4, 3, 2, 8)


@dataclass(frozen=True, eq=False)
class Spacing:
    """For every node of the tree, the number of replicas of one partition it should have: `floors` to `caps`.

    Lists by level of arrays with shape (kinds, nodes). Partitions of kind 0 have a replica more than those of kind 1
    when the replica count is fractional; else there is one kind.
    """

    tiers: Tiers
    floors: tuple[Ints, ...]
    caps: tuple[Ints, ...]


def make_spacing(tiers: Tiers, shares: list[Share]) -> Spacing:
    """The targets rounded down and up; a share for each kind.

    When each partition keeps within these bounds, replicas are as far apart as targets allow.
    """
    floors, caps = [], []
    for level in range(DEVICE_LEVEL + 1):
        sums = np.array([tiers.sums(level, share.target) for share in shares])
        slack = np.array([[ROUNDING / share.partitions] for share in shares])
        floors.append(np.floor(sums + slack).astype(np.int64))
        caps.append(np.ceil(sums - slack).astype(np.int64))
    return Spacing(tiers, tuple(floors), tuple(caps))


def make_structure(settings: RingSettings, tiers: Tiers) -> Spacing:
    """An even spread over the failure domains, whatever the weights: what dispersion is measured by."""
    by_kind = [structural_caps(tiers, replicas) for _, replicas in settings.replica_counts]
    caps = tuple(np.array([kind[level] for kind in by_kind]) for level in range(DEVICE_LEVEL + 1))
    return Spacing(tiers, tuple(np.zeros_like(each) for each in caps), caps)


class PriceList:
    """The price of every single replacement, looked up in tables.

    The id of `nobody` is one more than the largest device id; it belongs to no node and costs nothing.
    """

    def __init__(self, spacing: Spacing, replicas_max: int) -> None:
        self.nobody: Final = len(spacing.tiers.weights)
        self._counts: Final = replicas_max + 1
        self._nodes: Final = [
            np.append(nodes, count).astype(np.int32)
            for nodes, count in zip(spacing.tiers.nodes, map(len, spacing.tiers.parents), strict=True)
        ]
        self._tables: Final = [
            _price_table(floors, caps, self._counts, price)
            for floors, caps, price in zip(spacing.floors, spacing.caps, LEVEL_PRICES, strict=True)
        ]

    def change(self, others: IdMatrix, old: Ints, new: Ints, kind: Ints) -> Ints:
        """What it costs (gains, if negative) to replace device `old` by `new`, by element of the arrays.

        `others` has shape (replicas, elements): the devices of the partition, `nobody` in the place of `old`.
        """
        total = np.zeros(len(old), np.int64)
        for nodes, table in zip(self._nodes, self._tables, strict=True):
            node_count = int(nodes[-1]) + 1
            places, old_place, new_place = nodes[others], nodes[old], nodes[new]
            adding = _look_up(table, kind * node_count + new_place, places == new_place, self._counts)
            removing = _look_up(table, kind * node_count + old_place, places == old_place, self._counts)
            total += np.where(old_place == new_place, 0, adding - removing)
        return total

    def crowding(self, others: IdMatrix, device: Ints, kind: Ints) -> Ints:
        """What is wrong only because `device` is where it is, beside `others`: the sum over levels too full."""
        total = np.zeros(len(device), np.int64)
        for nodes, table in zip(self._nodes, self._tables, strict=True):
            places, place = nodes[others], nodes[device]
            here = _look_up(table, kind * (int(nodes[-1]) + 1) + place, places == place, self._counts)
            total += np.maximum(here, 0)
        return total

    def relief(self, others: IdMatrix, device: Ints, kind: Ints) -> Ints:
        """What is gained by taking `device` away from beside `others`; negative where something is lacking then."""
        total = np.zeros(len(device), np.int64)
        for nodes, table in zip(self._nodes, self._tables, strict=True):
            places, place = nodes[others], nodes[device]
            total += _look_up(table, kind * (int(nodes[-1]) + 1) + place, places == place, self._counts)
        return total

    def total(self, ids: IdMatrix, kind: Ints) -> Ints:
        """What the places of whole partitions cost, 0 if all is well. Shape of ids: (replicas, partitions)."""
        total = np.zeros(ids.shape[1], np.int64)
        for level in range(len(LEVEL_PRICES)):
            total += self._shortage(level, kind)
            for price in self._steps(level, ids, kind):
                total += price
        return total

    def best_addition(self, ids: IdMatrix, kind: Ints) -> Ints:
        """The lowest price a further replica can have: what it gains where one is lacking on every level."""
        best = np.zeros(ids.shape[1], np.int64)
        for level, level_price in enumerate(LEVEL_PRICES):
            short = self._shortage(level, kind)
            for price in self._steps(level, ids, kind):
                short += np.minimum(price, 0)
            best -= np.where(short > 0, level_price, 0)
        return best

    def _shortage(self, level: int, kind: Ints) -> Ints:
        """By partition, the price of having no replica at all: every node below its floor."""
        node_count = int(self._nodes[level][-1]) + 1
        shaped = self._tables[level].reshape(-1, node_count, self._counts)
        by_kind: Ints = -np.minimum(shaped, 0).sum(axis=(1, 2), dtype=np.int64)
        return np.take(by_kind, kind)

    def _steps(self, level: int, ids: IdMatrix, kind: Ints) -> Iterator[Prices]:
        """By partition, the price of each replica when they are added one after the other."""
        nodes, table = self._nodes[level], self._tables[level]
        node_count = int(nodes[-1]) + 1
        places = nodes[ids]
        for replica in range(len(ids)):
            earlier = places[:replica] == places[replica]
            yield _look_up(table, kind * node_count + places[replica], earlier, self._counts)


def _price_table(floors: Ints, caps: Ints, counts: int, price: int) -> Prices:
    """Flat table by (kind, node, count): the price of one replica more where there are `count`."""
    kinds, nodes = floors.shape
    table = np.zeros((kinds, nodes + 1, counts), np.int16)
    count = np.arange(counts)
    # A single replica is never too close, not even where there should be none: else leaving a place that is given up
    # would pay for closeness elsewhere.
    table[:, :nodes] += price * (count >= np.maximum(caps, 1)[:, :, None])
    table[:, :nodes] -= price * (count < floors[:, :, None])
    return table.ravel()


def _look_up(table: Prices, place: Ints, same: npt.NDArray[np.bool_], counts: int) -> Prices:
    prices: Prices = table[place * counts + np.count_nonzero(same, axis=0)]
    return prices
