"""Which device holds which replica of which partition: the first layout, and how a new one follows from an old one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from objstore.ring.board import Board
from objstore.ring.rebalance import Rebalance
from objstore.ring.settings import RingSettings
from objstore.ring.spacing import IdMatrix, PriceList, make_spacing, make_structure
from objstore.ring.targets import Share, quotas, shares
from objstore.ring.tiers import Bools, Floats, Ids, Ints, Tiers

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


PORTIONS: Final = 256  # after each, which device is the fullest is looked at anew
PORTION_MAX: Final = 1 << 16  # bounds the memory
GONE: Final = 1000.0  # above any price


class Shrinking:
    """Takes replicas away from partitions that have more than wanted."""

    def __init__(
        self,
        settings: RingSettings,
        prices: tuple[PriceList, ...],
        ideal: Floats,
        gone: Bools,
        random: np.random.Generator,
    ) -> None:
        """`prices` all count. By device: `ideal`, how many replicas it should hold afterwards, and if it is `gone`."""
        self._prices: Final = prices
        self._ideal: Final = np.append(ideal, 0.0)
        self._gone: Final = np.append(gone, False)
        self._random: Final = random
        self._nobody: Final = len(ideal)
        self._rows: Final = settings.row_count
        self._long_count: Final = settings.long_count
        self._wanted: Final = np.repeat(
            [replicas for _, replicas in settings.replica_counts], [count for count, _ in settings.replica_counts]
        )

    def run(self, ids: IdMatrix) -> IdMatrix:
        """The matrix with as many rows as wanted; empty places are the last ones of a partition. Changes `ids`."""
        held = np.bincount(ids.ravel(), minlength=self._nobody + 1)
        while len(surplus := np.flatnonzero(np.count_nonzero(ids != self._nobody, axis=0) > self._wanted)):
            portions = max(min(PORTIONS, len(surplus)), -(-len(surplus) // PORTION_MAX))
            for portion in np.array_split(self._random.permutation(surplus), portions):
                self._take_one(ids, held, portion)
            order = np.argsort(ids[:, surplus] == self._nobody, axis=0, kind="stable")
            ids[:, surplus] = np.take_along_axis(ids[:, surplus], order, axis=0)
        return ids[: self._rows]

    def _take_one(self, ids: IdMatrix, held: Ints, partitions: Ints) -> None:
        """Take one replica of each of these partitions away, and from `held`."""
        columns = ids[:, partitions]
        fullness = ((held - self._ideal) / np.maximum(self._ideal, 1.0)).clip(-0.45, 0.45)
        kind = (partitions >= self._long_count).astype(np.int64) if self._long_count else np.zeros_like(partitions)
        score = fullness[columns] + GONE * self._gone[columns] + self._random.random(columns.shape) / 1e6
        for row, devices in enumerate(columns.astype(np.int64)):
            others = columns.copy()
            others[row] = self._nobody
            for prices in self._prices:
                score[row] += prices.relief(others, devices, kind)
        score[columns == self._nobody] = -np.inf
        rows = score.argmax(axis=0)
        held -= np.bincount(ids[rows, partitions], minlength=len(held))
        ids[rows, partitions] = self._nobody


NARROW_ID_MAX: Final = 0xFFFE  # above it, ids take four bytes each


@dataclass(frozen=True, eq=False)
class Layout:
    """`ids[replica, partition]` is a device id, or `nobody` where there is no replica.

    With a fractional replica count, the first `settings.long_count` partitions have a replica more than the others.
    """

    settings: RingSettings
    ids: Ids

    @property
    def nobody(self) -> int:
        return int(np.iinfo(self.ids.dtype).max)

    def rows(self) -> Iterator[Ids]:
        """The rows as a ring has them, the last one cut to its length."""
        *whole, last = self.ids
        yield from whole
        yield last[: self.settings.replica_counts[0][0]]

    def held(self, size: int) -> Ints:
        """How many replicas each device holds, by id below `size`."""
        return np.bincount(self.ids[self.ids != self.nobody], minlength=size)

    def held_by_shorts(self, settings: RingSettings, size: int) -> Floats:
        """What partitions that `settings` give no replica more hold on average, by device id below `size`."""
        ids = self.ids[:, settings.long_count :]
        held: Floats = np.bincount(ids[ids != self.nobody], minlength=size) / ids.shape[1]
        return held


def first_layout(settings: RingSettings, tiers: Tiers, random: np.random.Generator) -> Layout:
    """Place every partition anew. Raises BuilderError when no device has weight."""
    ids = _empty(tiers, settings)
    nothing = np.zeros(len(tiers.weights), np.int64)
    used, begin = nothing, 0
    for share in shares(settings, tiers):
        # What was rounded up for the first share may have used up a limit: then others have to make up for it.
        spare = int(bool(begin) and tiers.limited)
        quota = quotas(dataclasses.replace(tiers, limits=tiers.limits - used), [share], nothing, spare)
        used = used + quota
        end = begin + share.partitions
        ids[: share.replicas, begin:end] = spread(tiers, quota, share.replicas, share.partitions, random)
        begin = end
    return Layout(settings, ids)


def next_layouts(
    old: Layout, settings: RingSettings, tiers: Tiers, gone: Bools, locked: Bools, random: np.random.Generator
) -> Iterator[Layout]:
    """Move what has to be moved and no more. Raises BuilderError when no device has weight.

    `gone` marks device ids whose replicas must leave at once; partitions that are `locked` keep all others where they
    are. Of the others one replica may move. The part power stays.

    With a fractional replica count there are two ways: partitions with a replica more and the others may share what a
    place has to hold by weight, or as near as may be to how they do now. None is better in every cluster.
    """
    yield _next_layout(old, settings, tiers, gone, locked, random, shares(settings, tiers))
    if len(settings.replica_counts) > 1:
        kept = shares(settings, tiers, old.held_by_shorts(settings, len(tiers.weights)))
        yield _next_layout(old, settings, tiers, gone, locked, random, kept)


def _next_layout(
    old: Layout,
    settings: RingSettings,
    tiers: Tiers,
    gone: Bools,
    locked: Bools,
    random: np.random.Generator,
    wanted: list[Share],
) -> Layout:
    nobody = len(tiers.weights)
    rows = max(settings.row_count, len(old.ids))
    prices, structure = (
        PriceList(spacing, rows) for spacing in (make_spacing(tiers, wanted), make_structure(settings, tiers))
    )
    ids = np.full((rows, settings.partition_count), nobody, np.int32)
    ids[: len(old.ids)] = np.where(old.ids == old.nobody, nobody, old.ids)
    ideal = np.sum([share.partitions * share.target for share in wanted], axis=0)
    ids = Shrinking(settings, (prices, structure), ideal, gone, random).run(ids)
    held = np.bincount(ids.ravel(), minlength=nobody + 1)[:-1]
    quota = quotas(tiers, wanted, np.where(gone, 0, held))
    board = Board(ids, prices, structure, quota, tiers.limits, locked.copy(), settings.long_count)
    Rebalance(board, tiers, random).run(np.append(gone, True))
    result = _empty(tiers, settings)
    placed = board.ids != nobody
    result[placed] = board.ids[placed]
    return Layout(settings, result)


def _empty(tiers: Tiers, settings: RingSettings) -> Ids:
    dtype = np.uint16 if len(tiers.weights) - 1 <= NARROW_ID_MAX else np.uint32
    return np.full((settings.row_count, settings.partition_count), np.iinfo(dtype).max, dtype)
