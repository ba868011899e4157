"""Whole numbers of partitions for each device, from its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from objstore.ring.tiers import DEVICE_LEVEL, Floats, Ints, Tiers

ROUNDING: Final = 1e-5  # of a partition: far above the error of sums of floats, far below a partition


@dataclass(frozen=True, eq=False)
class Share:
    """So many partitions are spread by these targets (by device id); see targets."""

    partitions: int
    target: Floats


def quotas(tiers: Tiers, shares: list[Share], held: Ints) -> Ints:
    """How many replicas each device should hold, by device id. With a fractional replica count there are two shares.

    Every node of the tree gets its exact share rounded up or down; of the ways to round, the one nearest to what
    devices hold now (`held`, by device id).
    """
    goal = np.array([round(sum(share.partitions * float(share.target.sum()) for share in shares))])
    for level in range(DEVICE_LEVEL + 1):
        exact = [share.partitions * tiers.sums(level, share.target) for share in shares]
        lowest = sum((np.floor(part + ROUNDING) for part in exact), np.zeros(1)).astype(np.int64)
        highest = sum((np.ceil(part - ROUNDING) for part in exact), np.zeros(1)).astype(np.int64)
        held_here = tiers.sums(level, held.astype(np.float64)).astype(np.int64)
        start = np.clip(held_here, lowest, highest)
        total = sum(exact, np.zeros(1))
        goal = _meet(goal, start, lowest, highest, total, tiers.parents[level])
    return goal


def _meet(goals: Ints, start: Ints, lowest: Ints, highest: Ints, exact: Floats, groups: Ints) -> Ints:
    """Raise and lower members within their bounds until each group's sum is its goal; the most wrong ones first."""
    result = start.copy()
    while True:
        missing = goals - np.bincount(groups, result, len(goals)).astype(np.int64)
        sign = np.sign(missing)[groups]
        able = np.where(sign > 0, result < highest, result > lowest) & (sign != 0)
        if not able.any():
            return result
        members = np.flatnonzero(able)
        error = (exact - result)[members] * sign[members]
        order = members[np.lexsort((members, -error, groups[members]))]
        rank = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
        chosen = order[rank < np.abs(missing)[groups[order]]]
        result[chosen] += sign[chosen]
