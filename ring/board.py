"""The layout in the hands of a rebalance: replacements are priced, made, and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from objstore.ring.spacing import IdMatrix, PriceList
from objstore.ring.tiers import Bools, Ints

CHUNK: Final = 1 << 19  # elements priced at a time: bounds the memory of intermediate arrays


class Board:
    """Device ids of all replicas, how many each device holds and should hold, and what may still be moved.

    A slot is the place of one replica: replica * partition_count + partition, below slot_count. A partition is
    `locked` when one of its replicas has lost its device, or was moved, now or not long enough ago.
    """

    def __init__(
        self,
        ids: IdMatrix,
        prices: PriceList,
        structure: PriceList,
        quota: Ints,
        limits: Ints,
        locked: Bools,
        long_count: int,
    ) -> None:
        """Takes over `ids` and `locked`. `long_count` partitions are of kind 0, the others of the last kind.

        `prices` say what is wrong by the targets, `structure` what is wrong by an even spread over the domains.
        `quota` and `limits` are by device id.
        """
        self.ids: Final = ids
        self.quota: Final = np.append(quota, 0)
        self._limits: Final = limits
        self.locked: Final = locked
        self.partition_count: Final = ids.shape[1]
        self.nobody: Final = prices.nobody
        self.moved: Final = np.zeros(ids.size, np.bool_)
        self._flat: Final = ids.reshape(-1)
        self.prices: Final = prices
        self.structure: Final = structure
        whole_rows = len(ids) - (0 < long_count < self.partition_count)
        self._long_count: Final = long_count if whole_rows < len(ids) else self.partition_count
        self.slot_count: Final = whole_rows * self.partition_count + (long_count if whole_rows < len(ids) else 0)
        self.held: Final = np.bincount(self._flat, minlength=self.nobody + 1)

    def devices(self, slots: Ints) -> Ints:
        """The device in each slot."""
        return self._flat[slots].astype(np.int64)

    def kind(self, partitions: Ints) -> Ints:
        """0 for partitions with a replica more than the others, if there are such; see Spacing."""
        return (partitions >= self._long_count).astype(np.int64)

    def slots_on(self, marked: Bools) -> Ints:
        """All slots whose device is marked; by device id, and nobody at the end."""
        return np.flatnonzero(marked[self._flat[: self.slot_count]])

    def change(self, slots: Ints, new: Ints, prices: PriceList | None = None) -> Ints:
        """The price of each replacement by itself, negative when replicas come farther apart."""
        used = prices or self.prices

        def part(begin: int, end: int) -> Ints:
            others, old, kind = self._context(slots[begin:end])
            return used.change(others, old, new[begin:end], kind)

        return _in_chunks(len(slots), part)

    def crowding(self, slots: Ints, prices: PriceList) -> Ints:
        """How much is wrong because the replica in each slot is too close to others."""

        def part(begin: int, end: int) -> Ints:
            return prices.crowding(*self._context(slots[begin:end]))

        return _in_chunks(len(slots), part)

    def _context(self, slots: Ints) -> tuple[IdMatrix, Ints, Ints]:
        """The other devices of each slot's partition, the device in it, and the partition's kind."""
        partitions = slots % self.partition_count
        others = self.ids[:, partitions]
        rows, columns = slots // self.partition_count, np.arange(len(partitions))
        devices = others[rows, columns].astype(np.int64)
        others[rows, columns] = self.nobody
        return others, devices, self.kind(partitions)

    def best_addition(self, slots: Ints) -> Ints:
        """The lowest price anyone can have in each of these empty slots."""

        def part(begin: int, end: int) -> Ints:
            partitions = slots[begin:end] % self.partition_count
            return self.prices.best_addition(self.ids[:, partitions], self.kind(partitions))

        return _in_chunks(len(slots), part)

    def faults(self, partitions: Ints, prices: PriceList) -> Ints:
        """What is wrong with each partition, 0 if nothing."""

        def part(begin: int, end: int) -> Ints:
            chosen = partitions[begin:end]
            return prices.total(self.ids[:, chosen], self.kind(chosen))

        return _in_chunks(len(partitions), part)

    def clear(self, slots: Ints) -> None:
        """Empty these slots, and lock their partitions: what has to fill them is all that may move."""
        self.held[:] -= np.bincount(self._flat[slots], minlength=len(self.held))
        self.held[self.nobody] += len(slots)
        self._flat[slots] = self.nobody
        self.locked[slots % self.partition_count] = True

    def replace(self, slots: Ints, new: Ints) -> None:
        """Put other devices into slots of different partitions, and lock these."""
        self.held[:] -= np.bincount(self._flat[slots], minlength=len(self.held))
        self.held[:] += np.bincount(new, minlength=len(self.held))
        self._flat[slots] = new
        self.moved[slots] = True
        self.locked[slots % self.partition_count] = True

    def excess(self) -> Ints:
        """By device id, how many replicas it holds beyond its quota; negative where some are missing."""
        beyond: Ints = self.held - self.quota
        return beyond[: self.nobody]

    def room(self) -> Ints:
        """By device id, how many replicas more it may hold at most."""
        beyond: Ints = self._limits - self.held[: self.nobody]
        return np.maximum(beyond, 0)


def _in_chunks(length: int, part: Callable[[int, int], Ints]) -> Ints:
    parts = [part(begin, min(begin + CHUNK, length)) for begin in range(0, length, CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
