"""Merging what another replica sent: rows, status, metadata, sync points."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Generic

from msgspec import Struct
from msgspec.structs import astuple, replace

from objstore.db.connection import DatabaseRemoved
from objstore.db.database import Database
from objstore.db.info import Item, merge_metadata, read_items, read_status, write_status
from objstore.db.messages import MergeResult, RowBatch
from objstore.db.rows import ROWS_PER_TRANSACTION_MAX, RowTable
from objstore.db.schema import TOMBSTONE, Row, TableSchema, checked_timestamp
from objstore.db.status import Status, merge_status
from objstore.db.summary import Summary, advance, newer_points, read_point, read_points, summary_of
from objstore.runtime import Runtime


class MergeChanges(Struct, frozen=True, gc=False):
    merged: MergeResult
    totals_changed: bool


class Merger(Generic[Row]):
    """Merges batches into open databases. Whoever writes rows meanwhile is not held up, and loses nothing."""

    def __init__(self, schema: TableSchema[Row], runtime: Runtime) -> None:
        self._schema = schema
        self._table = RowTable(schema, runtime.clock)
        self._clock = runtime.clock

    def checked(self, batch: RowBatch[Row]) -> RowBatch[Row]:
        """A batch as it arrived, with rows in stored form. Raises HttpError 400."""
        if batch.forgotten_before:
            checked_timestamp(batch.forgotten_before)
        *moments, _policy_index = astuple(batch.status)
        for moment in (*moments, *(item.timestamp for item in batch.items)):
            checked_timestamp(moment)
        return replace(batch, rows=[self._schema.checked(row) for row in batch.rows])

    def merge(self, database: Database, batch: RowBatch[Row]) -> MergeChanges:
        """Merge all of it; durable on return. Raises as Database.write."""
        changed = self.merge_rows(database, batch.rows, batch.forgotten_before)
        merged, status_changed = database.write(partial(self._settle, batch))
        return MergeChanges(merged, changed or status_changed)

    def merge_rows(self, database: Database, rows: Iterable[Row], forgotten_before: str = "") -> bool:
        """Merge rows, not durable yet; says whether any total changed. RowBatch explains `forgotten_before`."""
        changed = False
        source = iter(rows)
        while part := list(islice(source, ROWS_PER_TRANSACTION_MAX)):
            changed |= database.commit(partial(self._merge_part, part, forgotten_before))
        return changed

    def merge_state(self, database: Database, status: Status, items: Sequence[Item]) -> bool:
        """Merge what another replica knows besides its rows; durable on return."""
        return database.write(lambda connection: self._merge_state(connection, status, items))

    def fill(self, batch: RowBatch[Row], connection: sqlite3.Connection) -> None:
        """Put a batch into a database that nobody has seen yet."""
        self._table.merge(connection, batch.rows, batch.forgotten_before)
        if batch.after == 0:
            advance(connection, {**batch.points, batch.sender: batch.upto}, self._clock.timestamp().internal)

    def agree(self, database: Database, other: Summary) -> Summary:
        """The rows of both were found equal: if they still are, all the other has merged is merged here."""
        now = self._clock.timestamp().internal

        def run(connection: sqlite3.Connection) -> Summary:
            mine = summary_of(connection)
            if mine.same_rows(other):
                offered = {**other.points, other.id: other.sequence}
                offered.pop(mine.id, None)
                advance(connection, newer_points(mine.points, offered), now)
            return summary_of(connection)

        return database.write(run)

    def _merge_part(self, rows: Sequence[Row], forgotten_before: str, connection: sqlite3.Connection) -> bool:
        read_status(connection)
        return self._table.merge(connection, rows, forgotten_before)

    def _settle(self, batch: RowBatch[Row], connection: sqlite3.Connection) -> tuple[MergeResult, bool]:
        changed = self._merge_state(connection, batch.status, batch.items)
        # A batch that begins beyond what is known of the sender leaves a gap: its rows are good, its end says nothing.
        if batch.after <= read_point(connection, batch.sender):
            offered = {**batch.points, batch.sender: batch.upto}
            (mine,) = connection.execute("SELECT id FROM resource").fetchone()
            offered.pop(mine, None)
            advance(connection, newer_points(read_points(connection), offered), self._clock.timestamp().internal)
        held = read_point(connection, batch.sender) >= batch.upto
        if batch.leaving and held:
            # A promise: the sender is about to be removed and relies on this replica (`removal`).
            connection.execute("UPDATE resource SET promises = promises + 1")
        return MergeResult(summary_of(connection), read_items(connection), held), changed

    def _merge_state(self, connection: sqlite3.Connection, status: Status, items: Sequence[Item]) -> bool:
        mine = read_status(connection)
        merged = merge_status(mine, status)
        if merged != mine:
            write_status(connection, merged)
        merge_metadata(connection, items)
        return merged != mine


class BatchReader(Generic[Row]):
    def __init__(self, schema: TableSchema[Row]) -> None:
        self._schema = schema
        self._columns = ", ".join(("name", "deleted", "sequence", *schema.columns))

    def read(self, database: Database, after: int, limit: int) -> RowBatch[Row]:
        """All rows are of one moment, and durable: a crash could otherwise give their sequences to other rows.

        Raises as Database.read, DatabaseRemoved, OSError.
        """
        batch = database.read(partial(self._read, after, limit), long=True)
        database.flush()
        return batch

    def _read(self, after: int, limit: int, connection: sqlite3.Connection) -> RowBatch[Row]:
        connection.execute("BEGIN")
        try:
            return self._read_inside(connection, after, limit)
        finally:
            connection.execute("ROLLBACK")

    def _read_inside(self, connection: sqlite3.Connection, after: int, limit: int) -> RowBatch[Row]:
        found = connection.execute("SELECT id, sequence FROM resource").fetchone()
        if found is None:
            raise DatabaseRemoved
        database_id, sequence = found
        rows = connection.execute(
            f"SELECT {self._columns} FROM row WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
        ).fetchall()
        upto = rows[-1][2] if len(rows) >= limit else sequence
        return RowBatch(
            sender=database_id,
            after=after,
            upto=upto,
            sequence=sequence,
            points=read_points(connection) if upto >= sequence else {},
            status=read_status(connection),
            items=read_items(connection),
            rows=[self._schema.row(name, deleted == TOMBSTONE, values) for name, deleted, _, *values in rows],
        )
