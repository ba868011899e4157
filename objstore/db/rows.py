"""Merging rows into a database: the stored rows are read, merged with the new ones and written back in one transaction.

Rows that arrive while a transaction is under way go into the next one together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic

from msgspec import Struct

from objstore.batching import Batcher, BatcherFull
from objstore.db.connection import DatabaseAbsent
from objstore.db.info import read_status, read_totals
from objstore.db.location import ResourceLocation
from objstore.db.schema import HIDDEN, LISTED, TOMBSTONE, Key, Row, TableSchema, row_digest
from objstore.db.store import DatabaseStore
from objstore.rows import precedence
from objstore.system.clock import Clock

# Names looked up at a time; a batch is padded to a power of two, so that few statements are prepared.
LOOKUP_NAMES_MAX: Final = 64
# SQLite has no exclusive or: the bits of either less those of both.
CHANGE: Final = """
UPDATE resource SET sequence = sequence + ?1,
live_digest = (live_digest | ?2) - (live_digest & ?2),
tombstone_digest = (tombstone_digest | ?3) - (tombstone_digest & ?3)
RETURNING sequence
"""

# What gives way again gives its readers time again.
ORPHANED: Final = "INSERT OR REPLACE INTO orphan (upload, name, moment) VALUES (?, ?, ?)"


class StoredRow(Struct, Generic[Row], frozen=True, gc=False):
    """A row and its class."""

    row: Row
    class_: int


# Of a key: what is stored, if anything, the row to store, and its class.
Change = tuple[StoredRow[Row] | None, Row, int]


class RowTable(Generic[Row]):
    """The tables `row` and `policy_stat` of one kind of database. Its methods run inside a transaction.

    Of the live rows of a name and policy the newest is listed, unless it is a delete marker. Nearly all names have but
    one, of the plain line: these cost nothing more than one look whether the database has any hidden row.
    """

    def __init__(self, schema: TableSchema[Row], clock: Clock) -> None:
        self._schema = schema
        self._clock = clock
        columns = list(schema.columns)
        marks = ", ".join("?" * (len(columns) + 3))
        self._columns = ", ".join(("name", "deleted", *columns))
        self._insert = f"INSERT OR REPLACE INTO row (name, deleted, sequence, {', '.join(columns)}) VALUES ({marks})"
        one = " AND ".join(f"{column} = ?" for column in ("name", *schema.key))
        self._delete = f"DELETE FROM row WHERE deleted = ? AND {one}"
        self._move = f"UPDATE row SET deleted = ? WHERE deleted = ? AND {one}"
        self._find_hidden = f"SELECT {self._columns} FROM row WHERE deleted = {HIDDEN} AND {one}"
        self._find_shown = f"SELECT {self._columns} FROM row WHERE deleted IN ({LISTED}, {TOMBSTONE})"
        of_name = f"SELECT {self._columns} FROM row WHERE name = :name AND policy_index = :policy"
        self._newest = tuple(
            f"{of_name} AND {which}"
            for which in (
                f"deleted = {LISTED}",
                f"deleted = {HIDDEN} AND version = ''",
                f"deleted = {HIDDEN} ORDER BY version DESC LIMIT 1",
            )
        )
        self._newest_of_all = f"{of_name} AND deleted = {HIDDEN} AND version != '' ORDER BY timestamp DESC LIMIT 1"
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
        orphans: dict[str, str] = {}
        for row in rows:
            key = schema.key_of(row)
            earlier = incoming.get(key)
            incoming[key] = row if earlier is None else self._merged(earlier, row, orphans)
        stored = self._find(connection, list({key[0] for key in incoming}))
        versioned = self._versioned(connection, incoming, stored)
        changed: list[Change[Row]] = []
        for key, row in incoming.items():
            old = stored.get(key)
            if old is None and key[0] in versioned:
                old = self._stored(connection.execute(self._find_hidden, key).fetchone())
            if forgotten_before and old is None and schema.is_old_tombstone(row, forgotten_before):
                continue
            new = row if old is None else self._merged(old.row, row, orphans)
            if old is None or new != old.row:
                live = HIDDEN if key[0] in versioned else LISTED
                changed.append((old, new, TOMBSTONE if schema.is_deleted(new) else live))
        if orphans:
            now = self._clock.timestamp().internal
            connection.executemany(ORPHANED, [(upload, name, now) for upload, name in orphans.items()])
        if not changed:
            return False
        self._write(connection, changed)
        groups: dict[tuple[str, int], list[Change[Row]]] = {
            (key[0], schema.policy_of(row)): [] for key, row in incoming.items() if key[0] in versioned
        }
        for change in changed:
            group = schema.key_of(change[1])[0], schema.policy_of(change[1])
            if group in groups:
                groups[group].append(change)
        moved = [each for group in groups for each in self._list_newest(connection, *group, groups[group])]
        return self._recount(connection, changed, moved)

    def _merged(self, one: Row, other: Row, orphans: dict[str, str]) -> Row:
        """Two states of a row as one; the upload of one that gives way is noted, with the row's name."""
        merged = self._schema.merge(one, other)
        left = self._schema.upload_of(merged)
        for each in (one, other):
            if (upload := self._schema.upload_of(each)) and upload != left:
                orphans[upload] = self._schema.key_of(each)[0]
        return merged

    def _find(self, connection: sqlite3.Connection, names: Sequence[str]) -> dict[Key, StoredRow[Row]]:
        """Find all rows of these names that are not hidden, in all policies."""
        found: dict[Key, StoredRow[Row]] = {}
        make, key_of = self._schema.row, self._schema.key_of
        for start in range(0, len(names), LOOKUP_NAMES_MAX):
            part = list(names[start : start + LOOKUP_NAMES_MAX])
            size = 1 << (len(part) - 1).bit_length()
            part += part[:1] * (size - len(part))
            marks = ", ".join("?" * size)
            statement = f"{self._find_shown} AND name IN ({marks})"
            for name, class_, *values in connection.execute(statement, part):
                row = make(name, class_ == TOMBSTONE, values)
                found[key_of(row)] = StoredRow(row, class_)
        return found

    def _stored(self, found: tuple[Any, ...] | None) -> StoredRow[Row] | None:
        if found is None:
            return None
        name, class_, *values = found
        return StoredRow(self._schema.row(name, class_ == TOMBSTONE, values), class_)

    def _versioned(
        self, connection: sqlite3.Connection, incoming: Mapping[Key, Row], stored: Mapping[Key, StoredRow[Row]]
    ) -> set[str]:
        """The names that may have more than one live row."""
        is_kept = self._schema.is_kept
        names = {key[0] for key, row in incoming.items() if is_kept(row)}
        names |= {key[0] for key, each in stored.items() if is_kept(each.row)}
        if connection.execute(f"SELECT 1 FROM row WHERE deleted = {HIDDEN} LIMIT 1").fetchone() is not None:
            names |= {key[0] for key in incoming}
        return names

    def _write(self, connection: sqlite3.Connection, changed: Sequence[Change[Row]]) -> None:
        values, key_of = self._schema.values, self._schema.key_of
        (last,) = connection.execute(CHANGE, (len(changed), *self._digests(changed))).fetchone()
        sequence: int = last - len(changed)
        inserts: list[tuple[Any, ...]] = []
        deletes: list[tuple[Any, ...]] = []
        for old, new, class_ in changed:
            sequence += 1
            inserts.append((key_of(new)[0], class_, sequence, *values(new)))
            # The classes lie apart: a row that changes sides leaves its old place.
            if old is not None and old.class_ != class_:
                deletes.append((old.class_, *key_of(new)))
        if deletes:
            connection.executemany(self._delete, deletes)
        connection.executemany(self._insert, inserts)

    def _list_newest(
        self, connection: sqlite3.Connection, name: str, policy: int, changed: Sequence[Change[Row]]
    ) -> list[tuple[Row, int, int]]:
        """Have the newest live row of a name listed, and no other: the rows that move, from which class to which.

        What was the newest is listed, or a delete marker: that of the plain line, or the last version. Only if it is
        removed all of the name are looked through, since a version may be newer than later ones (ObjectRow.version).
        """
        asked = {"name": name, "policy": policy}
        lost = any(
            class_ == TOMBSTONE and old is not None and (old.class_ == LISTED or old.row.marker)  # type: ignore[attr-defined]
            for old, _, class_ in changed
        )
        statements = (*self._newest, self._newest_of_all) if lost else self._newest
        some = [self._stored(connection.execute(each, asked).fetchone()) for each in statements]
        some += [StoredRow(new, class_) for _, new, class_ in changed if class_ != TOMBSTONE]
        candidates = {self._schema.key_of(each.row): each for each in some if each is not None}
        newest = max(candidates, key=lambda key: precedence(candidates[key].row), default=None)  # type: ignore[arg-type]
        moved = []
        for key, each in candidates.items():
            is_listed = key == newest and not each.row.marker  # type: ignore[attr-defined]
            class_ = LISTED if is_listed else HIDDEN
            if class_ != each.class_:
                moved.append((each.row, each.class_, class_))
        # First out, then in: the key of a class and a name may be the same.
        for row, before, after in sorted(moved, key=lambda each: each[2], reverse=True):
            connection.execute(self._move, (after, before, *self._schema.key_of(row)))
        return moved

    def _digests(self, changed: Sequence[Change[Row]]) -> tuple[int, int]:
        """The changes of the digests of live rows and of tombstones: the exclusive or of all old and new rows."""
        digests = [0, 0]
        for old, new, class_ in changed:
            digests[class_ == TOMBSTONE] ^= row_digest(new)
            if old is not None:
                digests[old.class_ == TOMBSTONE] ^= row_digest(old.row)
        return digests[0], digests[1]

    def _recount(
        self,
        connection: sqlite3.Connection,
        changed: Sequence[Change[Row]],
        moved: Sequence[tuple[Row, int, int]],
    ) -> bool:
        schema = self._schema
        deltas: dict[int, list[int]] = {}

        def count(row: Row, class_: int, sign: int) -> None:
            # A policy with nothing but tombstones has zeros: the container replicator thus sees that it has rows.
            delta = deltas.setdefault(schema.policy_of(row), [0] * len(schema.totals))
            if class_ != TOMBSTONE:
                for position, amount in enumerate(schema.amounts(row, class_ == LISTED)):
                    delta[position] += sign * amount

        for old, new, class_ in changed:
            if old is not None:
                count(old.row, old.class_, -1)
            count(new, class_, 1)
        for row, before, after in moved:
            count(row, before, -1)
            count(row, after, 1)
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

    def __init__(self, schema: TableSchema[Row], store: DatabaseStore[Row], clock: Clock) -> None:
        self._schema = schema
        self._store = store
        self._table = RowTable(schema, clock)
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
