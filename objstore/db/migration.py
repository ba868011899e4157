"""Databases of an older format are brought to the present one when they are first opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from objstore.db.connection import FORMAT_VERSION
from objstore.db.description import Description, Row
from objstore.db.digests import rows_digest
from objstore.db.schema import SYNC_POINT_TABLE

Upgrade = Callable[[sqlite3.Connection], None]

_COLUMNS_OF_2 = (
    "id TEXT NOT NULL DEFAULT ''",
    "live_digest INTEGER NOT NULL DEFAULT 0",
    "tombstone_digest INTEGER NOT NULL DEFAULT 0",
    "promises INTEGER NOT NULL DEFAULT 0",
    "queued INTEGER NOT NULL DEFAULT 0",
)


def upgrade(description: Description[Row], new_id: Callable[[], str]) -> Upgrade:
    """What `open_connection` takes. Format 1 had no ids, digests and sync points: it could not be replicated."""

    def run(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been faster.
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < FORMAT_VERSION:
                _from_1_to_2(connection, description, new_id())
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    return run


def _from_1_to_2(connection: sqlite3.Connection, description: Description[Row], database_id: str) -> None:
    for column in _COLUMNS_OF_2:
        connection.execute(f"ALTER TABLE resource ADD COLUMN {column}")
    connection.execute(SYNC_POINT_TABLE)
    live, tombstones = (rows_digest(stored_rows(connection, description, deleted)) for deleted in (False, True))
    connection.execute(
        "UPDATE resource SET id = ?, live_digest = ?, tombstone_digest = ?", (database_id, live, tombstones)
    )
    totals = ", ".join(("policy_index", *description.totals))
    zeros = ", ".join("0" for _ in description.totals)
    connection.execute(
        f"INSERT OR IGNORE INTO policy_stat ({totals}) SELECT DISTINCT policy_index, {zeros} FROM row WHERE deleted = 1"
    )
    connection.execute("PRAGMA user_version = 2")


def stored_rows(connection: sqlite3.Connection, description: Description[Row], deleted: bool) -> Iterator[Row]:
    """All live rows, or all tombstones, one at a time."""
    columns = ", ".join(("name", *description.columns))
    for name, *values in connection.execute(f"SELECT {columns} FROM row WHERE deleted = ?", (deleted,)):
        yield description.row(name, deleted, values)
