"""Merging rows into a database: the stored rows are read, merged with the new ones and written back in one transaction.

Rows that arrive while a transaction is under way go into the next one together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, Generic

from objstore.batching import Batcher, BatcherFull
from objstore.db.connection import DatabaseAbsent
from objstore.db.info import read_status, read_totals
from objstore.db.location import ResourceLocation
from objstore.db.schema import Key, Row, TableSchema, row_digest
from objstore.db.store import DatabaseStore

# Names looked up at a time; a batch is padded to a power of two, so that few statements are prepared.
LOOKUP_NAMES_MAX: Final = 64
# SQLite has no exclusive or: the bits of either less those of both.
CHANGE: Final = """
UPDATE resource SET sequence = sequence + ?1,
live_digest = (live_digest | ?2) - (live_digest & ?2),
tombstone_digest = (tombstone_digest | ?3) - (tombstone_digest & ?3)
RETURNING sequence
"""


class RowTable(Generic[Row]):
    """The tables `row` and `policy_stat` of one kind of database. Its methods run inside a transaction."""

    def __init__(self, schema: TableSchema[Row]) -> None:
        self._schema = schema
        columns = list(schema.columns)
        key = ("deleted", "name", *schema.key)
        marks = ", ".join("?" * (len(columns) + 3))
        self._columns = ", ".join(("name", "deleted", *columns))
        self._insert = f"INSERT OR REPLACE INTO row (name, deleted, sequence, {', '.join(columns)}) VALUES ({marks})"
        self._delete = f"DELETE FROM row WHERE {' AND '.join(f'{column} = ?' for column in key)}"
        sums = ", ".join(f"{total} = {total} + excluded.{total}" for total in schema.totals)
        marks = ", ".join("?" * (len(schema.totals) + 1))
        self._count = (
            f"INSERT INTO policy_stat (policy_index, {', '.join(schema.totals)}) VALUES ({marks})"
            f" ON CONFLICT (policy_index) DO UPDATE SET {sums}"
        )

    def merge(self, connection: sqlite3.Connection, rows: Iterable[Row], forgotten_before: str = "") -> bool:
        """Merge rows into what is stored; says whether any total changed. RowBatch explains `forgotten_before`."""
        schema = self._schema
        incoming: dict[Key, Row] = {}
        for row in rows:
            key = schema.key_of(row)
            earlier = incoming.get(key)
            incoming[key] = row if earlier is None else schema.merge(earlier, row)
        stored = self.find(connection, list({name for name, _ in incoming}))
        changed = []
        for key, row in incoming.items():
            old = stored.get(key)
            if forgotten_before and old is None and schema.is_old_tombstone(row, forgotten_before):
                continue
            new = row if old is None else schema.merge(old, row)
            if new != old:
                changed.append((old, new))
        if not changed:
            return False
        self._write(connection, changed)
        return self._recount(connection, changed)

    def find(self, connection: sqlite3.Connection, names: Sequence[str]) -> dict[Key, Row]:
        """Find all rows of these names, in all policies, tombstones too."""
        found: dict[Key, Row] = {}
        make, key_of = self._schema.row, self._schema.key_of
        for start in range(0, len(names), LOOKUP_NAMES_MAX):
            part = list(names[start : start + LOOKUP_NAMES_MAX])
            size = 1 << (len(part) - 1).bit_length()
            part += part[:1] * (size - len(part))
            statement = f"SELECT {self._columns} FROM row WHERE deleted IN (0, 1) AND name IN ({', '.join('?' * size)})"
            for name, deleted, *values in connection.execute(statement, part):
                row = make(name, bool(deleted), values)
                found[key_of(row)] = row
        return found

    def _write(self, connection: sqlite3.Connection, changed: Sequence[tuple[Row | None, Row]]) -> None:
        schema = self._schema
        is_deleted, values, key_of = schema.is_deleted, schema.values, schema.key_of
        (last,) = connection.execute(CHANGE, (len(changed), *self._digests(changed))).fetchone()
        sequence: int = last - len(changed)
        inserts: list[tuple[Any, ...]] = []
        deletes: list[tuple[Any, ...]] = []
        for old, new in changed:
            sequence += 1
            name, number = key_of(new)
            deleted = is_deleted(new)
            inserts.append((name, deleted, sequence, *values(new)))
            # Live rows and tombstones lie apart: one that changes sides leaves its old place.
            if old is not None and (was_deleted := is_deleted(old)) != deleted:
                deletes.append((was_deleted, name, number) if schema.key else (was_deleted, name))
        if deletes:
            connection.executemany(self._delete, deletes)
        connection.executemany(self._insert, inserts)

    def _digests(self, changed: Sequence[tuple[Row | None, Row]]) -> tuple[int, int]:
        """The changes of the digests of live rows and of tombstones: the exclusive or of all old and new rows."""
        digests = [0, 0]
        for pair in changed:
            for row in pair:
                if row is not None:
                    digests[self._schema.is_deleted(row)] ^= row_digest(row)
        return digests[0], digests[1]

    def _recount(self, connection: sqlite3.Connection, changed: Sequence[tuple[Row | None, Row]]) -> bool:
        schema = self._schema
        deltas: dict[int, list[int]] = {}
        for old, new in changed:
            for row, sign in ((old, -1), (new, 1)):
                if row is None:
                    continue
                # A policy with nothing but tombstones has zeros: the container replicator thus sees that it has rows.
                delta = deltas.setdefault(schema.policy_of(row), [0] * len(schema.totals))
                if not schema.is_deleted(row):
                    for position, amount in enumerate(schema.amounts(row)):
                        delta[position] += sign * amount
        connection.executemany(self._count, [(policy, *delta) for policy, delta in deltas.items()])
        return any(any(delta) for delta in deltas.values())


# Rows of one database that may wait: beyond this it is behind; stop accepting.
QUEUED_UPDATES_MAX: Final = 20_000
REQUESTS_PER_BATCH_MAX: Final = 256
# A transaction of this many rows holds the write lock, and the hub, for about a millisecond.
ROWS_PER_TRANSACTION_MAX: Final = 64


class _RowQueue(Generic[Row]):
    __slots__ = ("batcher", "rows_waiting")

    def __init__(self, batcher: Batcher[Sequence[Row], bool]) -> None:
        self.batcher = batcher
        self.rows_waiting = 0


class RowUpdates(Generic[Row]):
    """Merges rows into databases, group by group."""

    def __init__(self, schema: TableSchema[Row], store: DatabaseStore[Row]) -> None:
        self._schema = schema
        self._store = store
        self._table = RowTable(schema)
        self._lanes: dict[str, _RowQueue[Row]] = {}

    def merge(self, location: ResourceLocation, rows: Sequence[Row]) -> bool:
        """Merge rows; durable on return. Says whether any total changed, by these rows or those of their batch.

        Raises DatabaseAbsent if the resource is not there or deleted, and BatcherFull.
        """
        lane = self._lanes.get(location.file)
        if lane is None:
            batcher: Batcher[Sequence[Row], bool] = Batcher(partial(self._run, location), REQUESTS_PER_BATCH_MAX)
            lane = self._lanes[location.file] = _RowQueue(batcher)
        if lane.rows_waiting + len(rows) > QUEUED_UPDATES_MAX:
            raise BatcherFull(lane.rows_waiting)
        lane.rows_waiting += len(rows)
        try:
            return lane.batcher.submit(rows)
        finally:
            lane.rows_waiting -= len(rows)
            if lane.batcher.idle:
                self._lanes.pop(location.file, None)

    def _run(self, location: ResourceLocation, batch: list[Sequence[Row]]) -> list[bool | Exception]:
        rows = [row for part in batch for row in part]
        changed = False
        with self._store.opened(location) as database:
            # Without rows too: whether the resource is there is found out inside a transaction.
            for start in range(0, max(len(rows), 1), ROWS_PER_TRANSACTION_MAX):
                part = rows[start : start + ROWS_PER_TRANSACTION_MAX]
                changed |= database.commit(partial(self._merge, location, part))
            database.flush()
        return [changed] * len(batch)

    def _merge(self, location: ResourceLocation, rows: Sequence[Row], connection: sqlite3.Connection) -> bool:
        status = read_status(connection)
        # The totals are needed for a deleted one only.
        if status.deleted:
            row_count = sum(figures[0] for figures in read_totals(connection).values())
            # One that is deleted still learns of deletions: that empties an account which is being reaped.
            if self._schema.is_gone(status, row_count) and not all(map(self._schema.is_deleted, rows)):
                raise DatabaseAbsent(location.file)
        return self._table.merge(connection, rows)
