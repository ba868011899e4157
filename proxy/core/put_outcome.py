"""What the nodes' answers to a write amount to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from objstore.quorum import best_status

SUCCESS_MAX: Final = 299
DELETED: Final[Mapping[int, int]] = {404: 204}


def put_status(statuses: Sequence[int], quorum: int) -> int:
    """Of a PUT of an object: 201, 202 if newer data stands in its way, 412, 422 ..., 503 without a quorum."""
    stored = sum(status <= SUCCESS_MAX for status in statuses)
    if stored >= quorum:
        return 201
    if 412 in statuses:
        return 412
    newer = statuses.count(409)
    if newer and stored + newer >= quorum:
        return 202
    # Too few that know of newer data, or none: a conflict is nothing the client could mend, so it has no vote.
    return best_status([status for status in statuses if status != 409], quorum)


def delete_status(statuses: Sequence[int], quorum: int) -> int:
    """Of a DELETE of an object: a mix of 204 and 404 without a majority counts as deleted."""
    return best_status(statuses, quorum, DELETED)
