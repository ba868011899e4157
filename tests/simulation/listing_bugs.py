"""Bugs to be planted in the listings of strong containers."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from objstore.proxy.core import strong, strong_listing
from objstore.proxy.core.backend import rows
from tests.simulation.planting import Mutant, nothing, replace


def one_replica_is_listed() -> None:
    """A listing is that of one replica, whatever others have."""
    real = strong_listing.strict_placement
    replace("strict_placement", lambda placement: msgspec.structs.replace(real(placement), quorum=1), strong_listing)


def one_row_is_enough() -> None:
    """A write is acknowledged whether the container's servers have its row or not: it is queued."""
    replace("require_listed", nothing, strong)


def deletions_are_not_merged() -> None:
    """Of rows that differ the live ones are merged, and no tombstones."""
    real = rows.rows_of

    def rows_of(response: Any) -> Any:
        return [row for row in real(response) if not row.deleted]

    replace("rows_of", rows_of, rows)


LISTING_BUGS: Final = (
    Mutant(one_replica_is_listed, 8),
    Mutant(one_row_is_enough, 8),
    Mutant(deletions_are_not_merged, 8),
)
