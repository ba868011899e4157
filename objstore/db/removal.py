"""Removing databases, and dropping the tombstones of rows, without losing what others write or still have to learn.

A database is marked as removed before its folder is moved. Other processes may have the file open, and would go on
writing to it after it was unlinked. The mark is the deletion of its row in `resource`, in a transaction, which takes
the write lock: every write comes before, and is then seen here and stops the removal, or after, finds the mark, and
looks for the database anew. The mark is durable before the folder moves; after a crash in between, the next pass
finishes the removal.

A replica that has promised to keep the rows of another is not removed in the same pass. Otherwise two replicas that are
removed at the same time, each relying on the other (their rings may differ), would lose both.

A tombstone is dropped when it is old by every primary's clock and no primary holds an older live row. A replica accepts
an old tombstone only if it deletes a row it holds; otherwise forgotten tombstones would circulate forever. So a replica
may have merged everything of another and still lack an old tombstone, and get the deleted row from a third one later:
before tombstones are dropped, they are sent once more to every primary whose live rows differ.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Final, Generic

from objstore.db.connection import DatabaseRemoved
from objstore.db.database import Database
from objstore.db.info import read_status
from objstore.db.location import DatabaseLocation
from objstore.db.rows import CHANGE
from objstore.db.schema import Row, TableSchema, row_digest
from objstore.db.store import TEMPORARY_FOLDER, AnyStore
from objstore.db.summary import Summary, summary_of
from objstore.runtime import Runtime
from objstore.system import files, locks
from objstore.timestamps import Timestamp

REMOVED_PREFIX: Final = "removed-"
ABANDONED_SECONDS: Final = 86_400.0  # nobody takes so long to receive a database
LOCK_NAME: Final = "removal.lock"
# Rows change when they are merged, metadata too: all that a summary says but its sync points, which lose nothing.
Unchanged = Callable[[Summary], bool]


def same_as(before: Summary) -> Unchanged:
    """Whether nothing was written, promised or learnt since."""

    def check(now: Summary) -> bool:
        return (
            now.id == before.id
            and now.sequence == before.sequence
            and now.promises == before.promises
            and now.same_state(before)
        )

    return check


class Remover:
    def __init__(self, store: AnyStore, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime

    def remove(self, location: DatabaseLocation, allowed: Unchanged) -> bool:
        """Remove it if that is still allowed when nobody can write to it. Raises as Database.write, LockTimeout."""

        def mark(connection: sqlite3.Connection) -> bool:
            if not allowed(summary_of(connection)):
                return False
            connection.execute("DELETE FROM resource")
            return True

        with locks.locked(self._lock(location)):
            try:
                with self._store.opened(location) as database:
                    if not database.write(mark):
                        return False
            except DatabaseRemoved:
                pass  # the mark of a pass that was broken off
            self._move_away(location)
        return True

    def finish(self, location: DatabaseLocation) -> None:
        self.remove(location, lambda _: False)

    def clean(self, root: str, now: float) -> None:
        """Remove from a device what crashes left: removed databases, copies that were never installed. Blocks."""
        folder = f"{root}/{TEMPORARY_FOLDER}"
        for name in files.list_directory(folder):
            path = f"{folder}/{name}"
            if name.startswith(REMOVED_PREFIX):
                shutil.rmtree(path, ignore_errors=True)
            elif ".db." in name and _written(path) < now - ABANDONED_SECONDS:
                files.unlink_quietly(path)

    def _lock(self, location: DatabaseLocation) -> str:
        """One lock a device: otherwise a process could move away a new database in the place of a marked one."""
        folder = f"{location.root}/{TEMPORARY_FOLDER}"
        files.make_directories(folder)
        return f"{folder}/{LOCK_NAME}"

    def _move_away(self, location: DatabaseLocation) -> None:
        target = f"{location.root}/{TEMPORARY_FOLDER}/{REMOVED_PREFIX}{location.hash}"
        self._store.threads_of(location).call(_move_away, location.directory, target)
        self._runtime.log.info("database removed", file=location.file)


def _written(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return inf  # just installed


def _move_away(directory: str, target: str) -> None:
    moved = files.move_aside(directory, target)
    for name in files.list_directory(moved):
        files.unlink_quietly(f"{moved}/{name}")
    files.remove_empty_directory(moved)
    # The folders of the suffix and the partition, if nothing else is in them.
    with suppress(OSError):
        os.rmdir(os.path.dirname(directory))
        os.rmdir(os.path.dirname(os.path.dirname(directory)))


ROWS_PER_TRANSACTION_MAX: Final = 200


class Reclaimer(Generic[Row]):
    def __init__(self, schema: TableSchema[Row], reclaim_age_seconds: float) -> None:
        self._schema = schema
        self._reclaim_age_seconds = reclaim_age_seconds
        columns = ", ".join(("name", *schema.columns))
        newest = f"max({', '.join(schema.moments)})"
        self._find = f"SELECT {columns} FROM row WHERE deleted = 1 AND {newest} < ? AND sequence <= ? LIMIT ?"
        self._find_since = f"SELECT 1 FROM row WHERE {newest} >= ? LIMIT 1"
        one = " AND ".join(f"{column} = ?" for column in ("name", *schema.key))
        self._read_one = f"SELECT {columns} FROM row WHERE deleted = 1 AND {one}"
        self._drop_one = f"DELETE FROM row WHERE deleted = 1 AND {one}"

    def is_used_since(self, moment: str, connection: sqlite3.Connection) -> bool:
        """Whether anything has been written into a database since a moment, in the internal form."""
        status = read_status(connection)
        if max(status.put_timestamp, status.delete_timestamp) >= moment:
            return True
        return connection.execute(self._find_since, (moment,)).fetchone() is not None

    def limit(self, now: float) -> str:
        """The moment before which tombstones are old; in the internal form."""
        return Timestamp.from_seconds(max(now - self._reclaim_age_seconds, 0.0)).internal

    def run(self, database: Database, agreed_sequence: int, limit: str, resend: Callable[[Sequence[Row]], None]) -> int:
        """Drop those from before `limit` of the sequences on which the primaries agreed; how many.

        `resend` sends them to other replicas before. Raises as `resend` does, and as Database.write.
        """
        dropped = 0
        while count := self._part(database, agreed_sequence, limit, resend):
            dropped += count
        return dropped

    def _part(
        self, database: Database, agreed_sequence: int, limit: str, resend: Callable[[Sequence[Row]], None]
    ) -> int:
        def find(connection: sqlite3.Connection) -> list[Row]:
            found = connection.execute(self._find, (limit, agreed_sequence, ROWS_PER_TRANSACTION_MAX)).fetchall()
            return [self._schema.row(name, True, values) for name, *values in found]

        rows = database.read(find, long=True)
        if not rows:
            return 0
        resend(rows)
        return database.write(partial(self._drop_rows, rows))

    def _drop_rows(self, rows: list[Row], connection: sqlite3.Connection) -> int:
        """Drop these rows, except those that have changed since they were read."""
        read_status(connection)
        digest, dropped = 0, 0
        for row in rows:
            key = self._schema.key_of(row)
            found = connection.execute(self._read_one, key).fetchone()
            if found is not None and self._schema.row(found[0], True, found[1:]) == row:
                connection.execute(self._drop_one, key)
                digest ^= row_digest(row)
                dropped += 1
        connection.execute(CHANGE, (0, 0, digest)).fetchone()
        return dropped
