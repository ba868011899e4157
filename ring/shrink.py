"""Fewer replicas than before: which of a partition's replicas go.

Nothing has to be moved for that, and what goes can be chosen: first what is on devices that are gone, then what is
closest to others, and of equals what is on the fullest device, so that quotas are met without moves as far as possible.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from objstore.ring.settings import Settings
from objstore.ring.spacing import IdMatrix, PriceList
from objstore.ring.tiers import Bools, Floats, Ints

PORTIONS: Final = 256  # after each, which device is the fullest is looked at anew
PORTION_MAX: Final = 1 << 16  # bounds the memory
GONE: Final = 1000.0  # above any price


class Shrinking:
    """Takes replicas away from partitions that have more than wanted."""

    def __init__(
        self, settings: Settings, prices: tuple[PriceList, ...], ideal: Floats, gone: Bools, random: np.random.Generator
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
