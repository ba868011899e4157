"""Which device holds which replica of which partition, and how a new layout follows from an old one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from objstore.ring.board import Board
from objstore.ring.quotas import quotas
from objstore.ring.rebalance import Rebalance
from objstore.ring.settings import Settings
from objstore.ring.shrink import Shrinking
from objstore.ring.spacing import PriceList, make_spacing, make_structure
from objstore.ring.spread import spread
from objstore.ring.targets import Share, shares
from objstore.ring.tiers import Bools, Floats, Ids, Ints, Tiers

NARROW_ID_MAX: Final = 0xFFFE  # above it, ids take four bytes each


@dataclass(frozen=True, eq=False)
class Layout:
    """`ids[replica, partition]` is a device id, or `nobody` where there is no replica.

    With a fractional replica count, the first `settings.long_count` partitions have a replica more than the others.
    """

    settings: Settings
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

    def held_by_shorts(self, settings: Settings, size: int) -> Floats:
        """What partitions that `settings` give no replica more hold on average, by device id below `size`."""
        ids = self.ids[:, settings.long_count :]
        held: Floats = np.bincount(ids[ids != self.nobody], minlength=size) / ids.shape[1]
        return held


def first_layout(settings: Settings, tiers: Tiers, random: np.random.Generator) -> Layout:
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
    old: Layout, settings: Settings, tiers: Tiers, gone: Bools, locked: Bools, random: np.random.Generator
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
    settings: Settings,
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


def _empty(tiers: Tiers, settings: Settings) -> Ids:
    dtype = np.uint16 if len(tiers.weights) - 1 <= NARROW_ID_MAX else np.uint32
    return np.full((settings.row_count, settings.partition_count), np.iinfo(dtype).max, dtype)
