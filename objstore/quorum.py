"""How many replicas must agree, and what their answers amount to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

# The classes of answers that may win. Those of 500 and above say nothing about the resource: they never vote.
VOTING_CLASSES: Final = (1, 2, 3, 4)


def quorum_size(replicas: int) -> int:
    """Half of the replicas, rounded up: 2 of 3, 2 of 4, 3 of 5.

    Half is enough for an even count because reads ask further replicas and the newest write wins.
    """
    return (replicas + 1) // 2


def has_quorum(statuses: Iterable[int], needed: int) -> bool:
    """Whether `needed` answers are of one class (2xx, 3xx, 4xx; 100-continue counts as 1xx)."""
    classes = [status // 100 for status in statuses]
    return any(classes.count(each) >= needed for each in VOTING_CLASSES)


def best_status(statuses: Sequence[int], needed: int, overrides: Mapping[int, int] | None = None) -> int:
    """The status on which `needed` replicas agree by class, the most frequent of it; 503 if there is none.

    `overrides` is used only when no class wins by itself: statuses are replaced and counted again. A
    DELETE passes {404: 204}, so that a mix of both counts as deleted.
    """
    best = _winner(statuses, needed)
    if best is None and overrides:
        best = _winner([overrides.get(status, status) for status in statuses], needed)
    return 503 if best is None else best


def _winner(statuses: Sequence[int], needed: int) -> int | None:
    for each in VOTING_CLASSES[1:]:
        members = [status for status in statuses if status // 100 == each]
        if members and len(members) >= needed:
            return max(members, key=members.count)
    return None
