"""Scatter width: how many other devices a device shares partitions with.

When a device is lost, so many others rebuild it: the more, the faster. But the more there are, the likelier some
partition is lost when several devices fail at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np

from objstore.ring.layout import Layout
from objstore.ring.tiers import Ints

PAIRS_MAX: Final = 1 << 24  # pairs of neighbours sorted in one go: bounds the memory


@dataclass(frozen=True)
class Scatter:
    """The scatter width of the device with the fewest peers, on average, and of the one with the most."""

    least: int
    mean: float
    most: int


def scatter_of(layout: Layout, size: int) -> Scatter:
    """Over the devices, with ids below `size`, that hold anything."""
    widths = scatter_widths(layout, size)[layout.held(size) > 0]
    return Scatter(int(widths.min()), float(widths.mean()), int(widths.max()))


def scatter_widths(layout: Layout, size: int) -> Ints:
    """By device id below `size`, the number of other devices that have a partition in common with it."""
    ids, nobody = layout.ids, layout.nobody
    widths = np.zeros(size, np.int64)
    parts = -(-ids.size * (len(ids) - 1) // PAIRS_MAX) or 1
    for part in range(parts):
        begin, end = size * part // parts, size * (part + 1) // parts
        keys = []
        for one, other in permutations(ids, 2):
            chosen = (one >= begin) & (one < end) & (other != nobody) & (one != other)
            keys.append(one[chosen].astype(np.int64) * size + other[chosen])
        distinct = np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
        widths += np.bincount(distinct // size, minlength=size)
    return widths
