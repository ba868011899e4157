"""What is true of every sound database, checked."""

from __future__ import annotations

import sqlite3
from typing import Final, Generic

from objstore.cluster import Cluster
from objstore.db.connection import DatabaseCorrupt
from objstore.db.database import Database
from objstore.db.description import Description, Row
from objstore.db.digests import rows_digest
from objstore.db.info import read_status, read_totals
from objstore.db.location import Place
from objstore.db.migration import stored_rows
from objstore.db.summary import summary_of
from objstore.paths import ResourcePath

SOUND: Final = "ok"


class Audit(Generic[Row]):
    """Checks databases of one kind."""

    def __init__(self, description: Description[Row], cluster: Cluster) -> None:
        self._description = description
        self._hasher = cluster.hasher
        sums = ", ".join(("policy_index", *description.sums))
        self._sums = f"SELECT {sums} FROM row WHERE deleted = 0 GROUP BY policy_index"
        marks = ", ".join("?" * (len(description.totals) + 1))
        self._insert = f"INSERT OR REPLACE INTO policy_stat (policy_index, {', '.join(description.totals)})"
        self._insert += f" VALUES ({marks})"

    def check(self, place: Place, connection: sqlite3.Connection) -> bool:
        """Look at all of it, at one moment; whether its totals are right. Not inside a transaction; takes long.

        Totals follow from the rows, and can be made right (`recount`). Anything else that is wrong cannot: raises
        DatabaseCorrupt. Raises DatabaseRemoved.
        """
        connection.execute("BEGIN")
        try:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != SOUND:
                raise DatabaseCorrupt(place.file, verdict)
            self._check_rows(place, connection)
            return self._true_totals(connection) == _nonzero(read_totals(connection))
        finally:
            connection.execute("ROLLBACK")

    def recount(self, database: Database) -> None:
        """Make the totals those of the rows. Raises as Database.write."""
        database.write(self._recount)

    def _check_rows(self, place: Place, connection: sqlite3.Connection) -> None:
        summary = summary_of(connection)
        if self._hasher.hexdigest(ResourcePath(summary.account, summary.container)) != place.hash:
            raise DatabaseCorrupt(place.file, "it is the database of another resource")
        (last,) = connection.execute("SELECT max(sequence) FROM row").fetchone()
        if last is not None and last > summary.sequence:
            raise DatabaseCorrupt(place.file, f"a row has the sequence {last}, beyond {summary.sequence}")
        for deleted, digest in ((False, summary.live_digest), (True, summary.tombstone_digest)):
            if rows_digest(stored_rows(connection, self._description, deleted)) != digest:
                raise DatabaseCorrupt(place.file, "the rows do not match their digest")

    def _true_totals(self, connection: sqlite3.Connection) -> dict[int, tuple[int, ...]]:
        return _nonzero({policy: tuple(figures) for policy, *figures in connection.execute(self._sums)})

    def _recount(self, connection: sqlite3.Connection) -> None:
        read_status(connection)
        zeros = (0,) * len(self._description.totals)
        policies = dict.fromkeys(read_totals(connection), zeros) | self._true_totals(connection)
        connection.executemany(self._insert, [(policy, *figures) for policy, figures in policies.items()])


def _nonzero(totals: dict[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    return {policy: figures for policy, figures in totals.items() if any(figures)}
