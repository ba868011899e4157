"""Updates of rows that arrive while others are committed go into the next transaction together."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Final, Generic

from objstore.batching import Batcher, BatcherFull
from objstore.db.connection import DatabaseAbsent
from objstore.db.description import Description, Row
from objstore.db.info import read_status, read_totals
from objstore.db.location import Location
from objstore.db.rows import RowTable
from objstore.db.store import DatabaseStore

# Rows of one database that may wait: beyond this it is behind; stop accepting.
QUEUED_UPDATES_MAX: Final = 20_000
REQUESTS_PER_BATCH_MAX: Final = 256
# A transaction of so many rows takes about a millisecond, for which it holds the hub and the lock.
ROWS_PER_TRANSACTION_MAX: Final = 64


class _Lane(Generic[Row]):
    """What waits for one database."""

    __slots__ = ("batcher", "rows_waiting")

    def __init__(self, batcher: Batcher[Sequence[Row], bool]) -> None:
        self.batcher = batcher
        self.rows_waiting = 0


class Updates(Generic[Row]):
    """Merges rows into databases, group by group."""

    def __init__(self, description: Description[Row], store: DatabaseStore[Row]) -> None:
        self._description = description
        self._store = store
        self._table = RowTable(description)
        self._lanes: dict[str, _Lane[Row]] = {}

    def merge(self, location: Location, rows: Sequence[Row]) -> bool:
        """Merge rows; durable on return. Says whether any total changed, by these rows or those of their batch.

        Raises DatabaseAbsent if the resource is not there or deleted, and BatcherFull.
        """
        lane = self._lanes.get(location.file)
        if lane is None:
            batcher: Batcher[Sequence[Row], bool] = Batcher(partial(self._run, location), REQUESTS_PER_BATCH_MAX)
            lane = self._lanes[location.file] = _Lane(batcher)
        if lane.rows_waiting + len(rows) > QUEUED_UPDATES_MAX:
            raise BatcherFull(lane.rows_waiting)
        lane.rows_waiting += len(rows)
        try:
            return lane.batcher.submit(rows)
        finally:
            lane.rows_waiting -= len(rows)
            if lane.batcher.idle:
                self._lanes.pop(location.file, None)

    def _run(self, location: Location, batch: list[Sequence[Row]]) -> list[bool | Exception]:
        rows = [row for part in batch for row in part]
        changed = False
        with self._store.opened(location) as database:
            # Without rows too: whether the resource is there is found out inside a transaction.
            for start in range(0, max(len(rows), 1), ROWS_PER_TRANSACTION_MAX):
                part = rows[start : start + ROWS_PER_TRANSACTION_MAX]
                changed |= database.commit(partial(self._merge, location, part))
            database.flush()
        return [changed] * len(batch)

    def _merge(self, location: Location, rows: Sequence[Row], connection: sqlite3.Connection) -> bool:
        status = read_status(connection)
        # The totals are needed for a deleted one only.
        if status.deleted:
            row_count = sum(figures[0] for figures in read_totals(connection).values())
            # One that is deleted still learns of deletions: that empties an account which is being reaped.
            if self._description.is_gone(status, row_count) and not all(map(self._description.is_deleted, rows)):
                raise DatabaseAbsent(location.file)
        return self._table.merge(connection, rows)
