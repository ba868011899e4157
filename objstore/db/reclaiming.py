"""Tombstones of rows are dropped when they are old by every primary's clock, and none has an older live row.

None takes an old tombstone from another unless it has something for it to delete: who has forgotten it would get it
again from who has not, and it would go round for ever. So that each has merged all that the others hold is not enough:
who left a tombstone out may have got the row after that, from a replica to which it passed its sync point on. Whose
live rows are not the same is therefore told once more of what is to be dropped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Generic

from objstore.db.database import Database
from objstore.db.description import Description, Row
from objstore.db.digests import row_digest
from objstore.db.info import read_status
from objstore.db.rows import CHANGE
from objstore.timestamps import Timestamp

ROWS_PER_TRANSACTION_MAX: Final = 200


class Reclaimer(Generic[Row]):
    """Drops old tombstones of one kind of database."""

    def __init__(self, description: Description[Row], reclaim_age_seconds: float) -> None:
        self._description = description
        self._reclaim_age_seconds = reclaim_age_seconds
        columns = ", ".join(("name", *description.columns))
        newest = f"max({', '.join(description.moments)})"
        self._find = f"SELECT {columns} FROM row WHERE deleted = 1 AND {newest} < ? AND sequence <= ? LIMIT ?"
        self._find_since = f"SELECT 1 FROM row WHERE {newest} >= ? LIMIT 1"
        one = " AND ".join(f"{column} = ?" for column in ("name", *description.key))
        self._read_one = f"SELECT {columns} FROM row WHERE deleted = 1 AND {one}"
        self._drop_one = f"DELETE FROM row WHERE deleted = 1 AND {one}"

    def is_used_since(self, moment: str, connection: sqlite3.Connection) -> bool:
        """Whether anything has been written into a database since a moment, in the internal form."""
        status = read_status(connection)
        if max(status.put_timestamp, status.delete_timestamp) >= moment:
            return True
        return connection.execute(self._find_since, (moment,)).fetchone() is not None

    def limit(self, now: float) -> str:
        """What was written before this moment is old; in the internal form."""
        return Timestamp.from_seconds(max(now - self._reclaim_age_seconds, 0.0)).internal

    def run(self, database: Database, agreed_sequence: int, limit: str, remind: Callable[[Sequence[Row]], None]) -> int:
        """Drop those from before `limit` of the sequences on which the primaries agreed; how many.

        `remind` tells others of them before. Raises as it does, and as Database.write.
        """
        dropped = 0
        while count := self._part(database, agreed_sequence, limit, remind):
            dropped += count
        return dropped

    def _part(
        self, database: Database, agreed_sequence: int, limit: str, remind: Callable[[Sequence[Row]], None]
    ) -> int:
        def find(connection: sqlite3.Connection) -> list[Row]:
            found = connection.execute(self._find, (limit, agreed_sequence, ROWS_PER_TRANSACTION_MAX)).fetchall()
            return [self._description.row(name, True, values) for name, *values in found]

        rows = database.read(find, long=True)
        if not rows:
            return 0
        remind(rows)
        return database.write(partial(self._drop_rows, rows))

    def _drop_rows(self, rows: list[Row], connection: sqlite3.Connection) -> int:
        """What has changed since it was read is left alone."""
        read_status(connection)
        digest, dropped = 0, 0
        key_of, with_number = self._description.key_of, bool(self._description.key)
        for row in rows:
            name, number = key_of(row)
            key = (name, number) if with_number else (name,)
            found = connection.execute(self._read_one, key).fetchone()
            if found is not None and self._description.row(name, True, found[1:]) == row:
                connection.execute(self._drop_one, key)
                digest ^= row_digest(row)
                dropped += 1
        connection.execute(CHANGE, (0, 0, digest)).fetchone()
        return dropped
