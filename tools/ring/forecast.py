"""What rebalances would do: computed on a builder that is then thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from objstore.ring.builder import SECONDS_PER_HOUR, RingBuilder
from objstore.ring.moves import Moves, WorstPartition, moves_between, worst_partition
from objstore.ring.quality import Quality
from objstore.ring.tiers import Ints

ROUNDS_MAX: Final = 24


@dataclass(frozen=True, eq=False)
class Forecast:
    """`moves` are those of the first rebalance, `moves_later` counts the replicas that the following ones move.

    `moves_later` ends with the last rebalance that moves anything. `after` is the quality after the first one,
    `final` after the last. `locked` is how many partitions min_part_hours keeps where they are now. Arrays are by
    device id.
    """

    builder: RingBuilder
    held_before: Ints
    held_after: Ints
    moves: Moves
    moves_later: list[int]
    locked: int
    before: Quality | None
    after: Quality
    final: Quality
    worst_before: WorstPartition | None
    worst_after: WorstPartition | None

    def seconds(self, bytes_per_partition: float, bytes_per_second: float) -> float:
        """How long the copying of the first rebalance takes when every device takes in so much a second."""
        most = int(self.moves.arrivals.max(initial=0))
        return most * bytes_per_partition / bytes_per_second


def forecast(builder: RingBuilder, seed: int, now_seconds: float) -> Forecast:
    """Rebalance the builder until nothing moves any more, min_part_hours apart. Changes the builder.

    Raises BuilderError when it cannot be rebalanced.
    """
    old, tiers = builder.layout, builder.tiers
    size = len(tiers.weights)
    locked = int(np.count_nonzero(builder.locked(now_seconds)))
    first = builder.plan(seed, now_seconds)
    moves = moves_between(old, first.layout, tiers)
    worst_before = None if old is None else worst_partition(old, tiers)
    worst_after = worst_partition(first.layout, tiers)
    builder.adopt(first, now_seconds)
    later, final = _later(builder, seed, now_seconds)
    return Forecast(
        builder=builder,
        held_before=np.zeros(size, np.int64) if old is None else old.held(size),
        held_after=first.layout.held(size),
        moves=moves,
        moves_later=later,
        locked=locked,
        before=first.before,
        after=first.after,
        final=final or first.after,
        worst_before=worst_before,
        worst_after=worst_after,
    )


def _later(builder: RingBuilder, seed: int, now_seconds: float) -> tuple[list[int], Quality | None]:
    later: list[int] = []
    final = None
    for _ in range(ROUNDS_MAX):
        now_seconds += builder.settings.min_part_hours * SECONDS_PER_HOUR + 1
        plan = builder.plan(seed, now_seconds)
        if not plan.moved_count:
            break
        builder.adopt(plan, now_seconds)
        later.append(plan.moved_count)
        final = plan.after
    return later, final
