"""Whole numbers of partitions for each device, from its target."""

from __future__ import annotations

from typing import Final

import numpy as np

from objstore.ring.targets import Share, structural_caps
from objstore.ring.tiers import DEVICE_LEVEL, Floats, Ints, Tiers

ROUNDING: Final = 1e-5  # of a partition: far above the error of sums of floats, far below a partition
AVOIDED: Final = 1e9  # in the urgency of rounding it decides before everything else
KEPT: Final = 1e6  # in the same, it decides before the relative error


def quotas(tiers: Tiers, shares: list[Share], held: Ints) -> Ints:
    """How many replicas each device should hold, by device id. With a fractional replica count there are two shares.

    Every node of the tree gets its exact share rounded up or down. Places that hold too many replicas of a partition
    anyway are rounded down if possible. Else it is the way to round that is nearest to what devices hold now (`held`,
    by device id), and where that leaves a choice, the error is kept small in proportion to the share.
    """
    goal = np.array([round(sum(share.partitions * float(share.target.sum()) for share in shares))])
    caps = [structural_caps(tiers, share.replicas) for share in shares]
    for level in range(DEVICE_LEVEL + 1):
        exact = [share.partitions * tiers.sums(level, share.target) for share in shares]
        lowest = np.sum([np.floor(part + ROUNDING) for part in exact], axis=0).astype(np.int64)
        highest = np.sum([np.ceil(part - ROUNDING) for part in exact], axis=0).astype(np.int64)
        crowded = np.any(
            [part > share.partitions * cap[level] for part, share, cap in zip(exact, shares, caps, strict=True)], axis=0
        )
        held_here = tiers.sums(level, held.astype(np.float64)).astype(np.int64)
        start = np.clip(held_here, lowest, highest)
        if len(shares) == 1:
            # With two, each was rounded by itself at first, and the sum cannot always be had lower.
            start = np.where(crowded, lowest, start)
        reluctance = np.where(crowded, AVOIDED, 0.0) - np.where(held_here > start, KEPT, 0.0)
        goal = _meet(goal, start, (lowest, highest), np.sum(exact, axis=0), reluctance, tiers.parents[level])
    return goal


def _meet(goals: Ints, start: Ints, bounds: tuple[Ints, Ints], exact: Floats, reluctance: Floats, groups: Ints) -> Ints:
    """Raise and lower members within their bounds until each group's sum is its goal; the most wrong ones first."""
    result = start.copy()
    lowest, highest = bounds
    while True:
        missing = goals - np.bincount(groups, result, len(goals)).astype(np.int64)
        sign = np.sign(missing)[groups]
        able = np.where(sign > 0, result < highest, result > lowest) & (sign != 0)
        if not able.any():
            return result
        members = np.flatnonzero(able)
        signs = sign[members]
        error = (exact - result)[members] * signs
        # By how much a step makes the relative error smaller.
        urgency = (2 * error - 1) / np.maximum(exact[members], ROUNDING) - reluctance[members] * signs
        order = members[np.lexsort((members, -urgency, groups[members]))]
        rank = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
        chosen = order[rank < np.abs(missing)[groups[order]]]
        result[chosen] += sign[chosen]
