"""What replicas compare: a summary of a few hundred bytes shows whether two replicas of a database differ.

A sync point says up to which sequence of another replica all rows are merged here. Replicas pass their sync points on:
a replica that has merged all rows of another has also merged all that the other had merged. Otherwise a row that
reached three replicas by different ways would be sent around in a circle.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar
from urllib.parse import quote

from msgspec import Struct

from objstore.db.connection import FORMAT_VERSION, DatabaseAbsent, DatabaseFailed, DatabaseRemoved
from objstore.db.location import DatabaseLocation
from objstore.db.schema import items_digest
from objstore.db.status import Status
from objstore.system import concurrency
from objstore.system.concurrency import Task, WaitTimeout
from objstore.system.threads import HUNG_SECONDS, ThreadGroup

T = TypeVar("T")

_RESOURCE: Final = (
    "SELECT id, sequence, live_digest, tombstone_digest, promises, queued, account, container,"
    " created_at, put_timestamp, delete_timestamp, status_changed_at, policy_index FROM resource"
)


class Summary(Struct, frozen=True, gc=False):
    """One replica of a database at one moment. Peers do not look at `queued` and `promises`."""

    id: str
    sequence: int
    live_digest: int
    tombstone_digest: int
    status: Status
    metadata_digest: str
    points: dict[str, int]
    row_count: int
    policies: tuple[int, ...]
    promises: int
    queued: int
    account: str
    container: str

    def same_rows(self, other: Summary) -> bool:
        """Whether both hold equal rows, tombstones among them."""
        return self.live_digest == other.live_digest and self.tombstone_digest == other.tombstone_digest

    def same_state(self, other: Summary) -> bool:
        """Whether they know the same of the resource besides its rows."""
        return self.status == other.status and self.metadata_digest == other.metadata_digest


def read_summary(connection: sqlite3.Connection) -> Summary:
    """Read a summary of one moment; not inside a transaction. Raises DatabaseRemoved."""
    connection.execute("BEGIN")
    try:
        return summary_of(connection)
    finally:
        connection.execute("ROLLBACK")


def summary_of(connection: sqlite3.Connection) -> Summary:
    """Read a summary inside a transaction. Raises DatabaseRemoved."""
    found = connection.execute(_RESOURCE).fetchone()
    if found is None:
        raise DatabaseRemoved
    database_id, sequence, live, tombstones, promises, queued, account, container, *life = found
    stats = connection.execute("SELECT * FROM policy_stat").fetchall()
    items = connection.execute("SELECT name, value, timestamp FROM metadata ORDER BY name").fetchall()
    return Summary(
        id=database_id,
        sequence=sequence,
        live_digest=live,
        tombstone_digest=tombstones,
        status=Status(*life),
        metadata_digest=items_digest(items),
        points=read_points(connection),
        row_count=sum(figures[1] for figures in stats),
        policies=tuple(figures[0] for figures in stats),
        promises=promises,
        queued=queued,
        account=account,
        container=container,
    )


def peek(file: str, operation: Callable[[sqlite3.Connection], T]) -> T | None:
    """Read a database that nobody has open; None if somebody has, or it is of an older format. Blocks.

    Opening a database with a log makes the log and its index, and removes them in the end: too much for a daemon
    that only wants to know that nothing has changed. While there is no log nobody has it open, and all that was ever
    committed is flushed in the file itself. If somebody opens it meanwhile, what was read is thrown away.

    Raises DatabaseAbsent, OSError, and what the operation does. For a corrupt file too the result is
    None: opening it properly finds the damage.
    """
    log = f"{file}-wal"
    try:
        before = os.stat(file)
    except FileNotFoundError:
        raise DatabaseAbsent(file) from None
    if os.path.exists(log):
        return None
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"file:{quote(file)}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
        )
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != FORMAT_VERSION:
            return None
        result = operation(connection)
    except sqlite3.Error:
        return None
    finally:
        if connection is not None:
            connection.close()
    try:
        after = os.stat(file)
    except FileNotFoundError:
        raise DatabaseAbsent(file) from None
    unchanged = (before.st_ino, before.st_mtime_ns, before.st_size) == (after.st_ino, after.st_mtime_ns, after.st_size)
    return result if unchanged and not os.path.exists(log) else None


def peek_all(names: Sequence[str]) -> list[Summary | Exception | None]:
    """The summaries of the databases that nobody has open; None for others, and what was wrong. Blocks."""
    found: list[Summary | Exception | None] = []
    for file in names:
        try:
            found.append(peek(file, read_summary))
        except (DatabaseAbsent, OSError) as error:
            found.append(error)
    return found


def peek_by_device(locations: Sequence[DatabaseLocation], threads: ThreadGroup) -> list[Summary | Exception | None]:
    """`peek_all` for databases of several devices, side by side; of a device that hangs DatabaseFailed."""
    found: dict[DatabaseLocation, Summary | Exception | None] = {}

    def look(root: str) -> None:
        there = [location for location in locations if location.root == root]
        try:
            summaries = threads.of(root).call_within(HUNG_SECONDS, peek_all, [each.file for each in there])
        except WaitTimeout:
            summaries = [DatabaseFailed(each.file, "the disk does not answer") for each in there]
        found.update(zip(there, summaries, strict=True))

    tasks: list[Task[None]] = [concurrency.spawn(look, root) for root in sorted({each.root for each in locations})]
    for task in tasks:
        task.wait()
    return [found[location] for location in locations]


# Replicas come and go with their devices. Beyond this the points that were moved longest ago are forgotten, which
# costs no more than sending those rows again.
POINTS_MAX: Final = 64
_ADVANCE: Final = """
INSERT INTO sync_point (id, sequence, at) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, at = excluded.at WHERE excluded.sequence > sequence
"""
_FORGET: Final = "DELETE FROM sync_point WHERE id NOT IN (SELECT id FROM sync_point ORDER BY at DESC, id LIMIT ?)"


def read_points(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT id, sequence FROM sync_point").fetchall())


def read_point(connection: sqlite3.Connection, database_id: str) -> int:
    """The sync point of one replica, 0 if there is none."""
    found = connection.execute("SELECT sequence FROM sync_point WHERE id = ?", (database_id,)).fetchone()
    return 0 if found is None else int(found[0])


def advance(connection: sqlite3.Connection, points: Mapping[str, int], at: str) -> None:
    """Move points forward, never back, inside a transaction; `at` is the time, in the internal form."""
    connection.executemany(_ADVANCE, [(name, sequence, at) for name, sequence in points.items()])
    if len(points) > 1 or len(read_points(connection)) > POINTS_MAX:
        connection.execute(_FORGET, (POINTS_MAX,))


def newer_points(known: Mapping[str, int], offered: Mapping[str, int]) -> dict[str, int]:
    """The offered sync points that are beyond the known ones."""
    return {name: sequence for name, sequence in offered.items() if known.get(name, 0) < sequence}
