"""The layout in the hands of a rebalance: replacements are priced, made and counted; who gives and who takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from objstore.ring.spacing import IdMatrix, PriceList
from objstore.ring.tiers import Bools, Ints, Tiers

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


class Candidates:
    """Goes through the unlocked slots of some devices, each device's in random order, round and round."""

    def __init__(self, board: Board, marked: Bools, random: np.random.Generator) -> None:
        """`marked` by device id."""
        self._board: Final = board
        slots = random.permutation(board.slots_on(np.append(marked, False)))
        self._slots = slots[np.argsort(board.devices(slots), kind="stable")]
        self._drop_locked()

    def next(self, counts: Ints) -> Ints:
        """The next `counts[device]` slots of each device, fewer if it has not so many; none are locked."""
        slots = self._advance(counts)
        free = slots[~self._locked(slots)]
        if len(free) * 2 < len(slots):
            self._drop_locked()
            return free if len(free) else self._advance(counts)
        return free

    def most_for_one(self) -> int:
        """How many slots the device with the most has."""
        return int(self._lengths.max(initial=0))

    def _advance(self, counts: Ints) -> Ints:
        counts = np.minimum(counts, self._lengths)
        devices = np.repeat(np.arange(len(counts)), counts)
        rank = np.arange(len(devices)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = (self._taken[devices] + rank) % self._lengths[devices]
        self._taken += counts
        return self._slots[self._starts[devices] + place]

    def _locked(self, slots: Ints) -> Bools:
        locked: Bools = self._board.locked[slots % self._board.partition_count]
        return locked

    def _drop_locked(self) -> None:
        self._slots = self._slots[~self._locked(self._slots)]
        self._lengths = np.bincount(self._board.devices(self._slots), minlength=self._board.nobody)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._taken = np.zeros(self._board.nobody, np.int64)


class Matcher:
    """Pairs devices that have something to give with devices that can take it.

    Devices are given as arrays of ids in which each stands as often as it has to give or can take. The answers are
    positions in both arrays, of the same length. `nobody`, one more than the largest id, may be among the givers.
    """

    def __init__(self, tiers: Tiers, random: np.random.Generator) -> None:
        self._random: Final = random
        self._levels: Final = [np.append(nodes, -1) for nodes in tiers.nodes[2::-1]]

    def near(self, givers: Ints, takers: Ints) -> tuple[Ints, Ints]:
        """Pair as many as possible within servers, then within zones, regions, and anywhere; random among equals.

        Near pairs are best: they leave the larger domains as they are, and their data stay on near wires.
        """
        left, right = self._random.permutation(len(givers)), self._random.permutation(len(takers))
        pairs_left, pairs_right = [], []
        for nodes in self._levels:
            left, right, matched_left, matched_right = _match(nodes[givers[left]], nodes[takers[right]], left, right)
            pairs_left.append(matched_left)
            pairs_right.append(matched_right)
        rest_left, rest_right = self.anyhow(left, right)
        pairs_left.append(left[rest_left])
        pairs_right.append(right[rest_right])
        return np.concatenate(pairs_left), np.concatenate(pairs_right)

    def anyhow(self, givers: Ints, takers: Ints) -> tuple[Ints, Ints]:
        count = min(len(givers), len(takers))
        return self._random.permutation(len(givers))[:count], self._random.permutation(len(takers))[:count]


def _match(left_nodes: Ints, right_nodes: Ints, left: Ints, right: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Pair entries of equal nodes; returns (left over, right over, matched left, matched right)."""
    left_order = np.argsort(left_nodes, kind="stable")
    right_order = np.argsort(right_nodes, kind="stable")
    left_sorted, right_sorted = left_nodes[left_order], right_nodes[right_order]
    left_in = _ranks(left_sorted) < _counts(right_sorted, left_sorted)
    right_in = _ranks(right_sorted) < _counts(left_sorted, right_sorted)
    left, right = left[left_order], right[right_order]
    return left[~left_in], right[~right_in], left[left_in], right[right_in]


def _ranks(ordered: Ints) -> Ints:
    return np.arange(len(ordered)) - np.searchsorted(ordered, ordered)


def _counts(ordered: Ints, wanted: Ints) -> Ints:
    """How often each wanted number stands in an ordered array."""
    return np.searchsorted(ordered, wanted, side="right") - np.searchsorted(ordered, wanted)


def first_of_each(values: Ints) -> Ints:
    """Positions of the first element of each value, ascending."""
    return np.sort(np.unique(values, return_index=True)[1])


def within_limits(values: Ints, limits: Ints) -> Bools:
    """Marks the first `limits[value]` elements of each value."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    marked = np.zeros(len(values), np.bool_)
    marked[order] = _ranks(ordered) < limits[ordered]
    return marked
