"""Sync points: of which other replicas, and up to which of their sequences, all rows are merged here.

They are passed on. Who has merged all that another replica holds has merged what that one had merged, too: so a row
that reached three replicas by different ways is not sent around in a circle.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

# Replicas come and go with their devices. Beyond this the points that were moved longest ago are forgotten, which
# costs no more than sending those rows again.
POINTS_MAX: Final = 64
_ADVANCE: Final = """
INSERT INTO sync_point (id, sequence, at) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, at = excluded.at WHERE excluded.sequence > sequence
"""
_FORGET: Final = "DELETE FROM sync_point WHERE id NOT IN (SELECT id FROM sync_point ORDER BY at DESC, id LIMIT ?)"


def read_points(connection: sqlite3.Connection) -> dict[str, int]:
    """By the replicas' ids."""
    return dict(connection.execute("SELECT id, sequence FROM sync_point").fetchall())


def read_point(connection: sqlite3.Connection, database_id: str) -> int:
    """That of one replica, 0 if there is none."""
    found = connection.execute("SELECT sequence FROM sync_point WHERE id = ?", (database_id,)).fetchone()
    return 0 if found is None else int(found[0])


def advance(connection: sqlite3.Connection, points: Mapping[str, int], at: str) -> None:
    """Move points forward, never back, inside a transaction; `at` is the time, in the internal form."""
    connection.executemany(_ADVANCE, [(name, sequence, at) for name, sequence in points.items()])
    if len(points) > 1 or len(read_points(connection)) > POINTS_MAX:
        connection.execute(_FORGET, (POINTS_MAX,))


def missing(known: Mapping[str, int], offered: Mapping[str, int]) -> dict[str, int]:
    """Those offered that are farther than the known ones."""
    return {name: sequence for name, sequence in offered.items() if known.get(name, 0) < sequence}
