"""A resource besides its rows: its status, its totals, its metadata."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple

from objstore.db.connection import DatabaseRemoved
from objstore.db.status import Status

_STATUS: Final = "SELECT created_at, put_timestamp, delete_timestamp, status_changed_at, policy_index FROM resource"
_STATUS_AND_DIGEST: Final = _STATUS.replace(" FROM", ", live_digest FROM")
# A value replaces an older one; of two with the same timestamp the greater, so that the order of arrival is nothing.
_MERGE_ITEM: Final = """
INSERT INTO metadata (name, value, timestamp) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp
WHERE excluded.timestamp > timestamp OR (excluded.timestamp = timestamp AND excluded.value > value)
"""
# Removals are remembered so that a late value does not come back; beyond this the oldest are forgotten.
REMOVED_ITEMS_MAX: Final = 500
_FORGET_REMOVALS: Final = """
DELETE FROM metadata WHERE value = '' AND name NOT IN
(SELECT name FROM metadata WHERE value = '' ORDER BY timestamp DESC, name LIMIT ?)
"""


class Item(Struct, frozen=True, gc=False, array_like=True):
    """A value of metadata with its timestamp; an empty one is a removal."""

    name: str
    value: str
    timestamp: str


class Info(Struct, frozen=True, gc=False):
    """A resource as HEAD answers for it; `totals` of each policy are in the order of the schema's.

    `modified` is when it was put, or its metadata was changed, for the last time; its rows do not count. Replicas with
    equal live rows have the same `live_digest`.
    """

    status: Status
    totals: dict[int, tuple[int, ...]]
    metadata: dict[str, str]
    modified: str
    live_digest: int

    def total(self, position: int) -> int:
        """One of the totals, over all policies."""
        return sum(figures[position] for figures in self.totals.values())

    @property
    def row_count(self) -> int:
        return self.total(0)


def read_status(connection: sqlite3.Connection) -> Status:
    """Read the status. Every operation begins with it: raises DatabaseRemoved if the database is being removed."""
    found = connection.execute(_STATUS).fetchone()
    if found is None:
        raise DatabaseRemoved
    return Status(*found)


def read_totals(connection: sqlite3.Connection) -> dict[int, tuple[int, ...]]:
    return {policy: tuple(figures) for policy, *figures in connection.execute("SELECT * FROM policy_stat")}


def read_metadata(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, value FROM metadata WHERE value != ''").fetchall())


def read_info(connection: sqlite3.Connection) -> Info:
    found = connection.execute(_STATUS_AND_DIGEST).fetchone()
    if found is None:
        raise DatabaseRemoved
    *life, live_digest = found
    status = Status(*life)
    items = connection.execute("SELECT name, value, timestamp FROM metadata").fetchall()
    modified = max((timestamp for _, _, timestamp in items), default="")
    metadata = {name: value for name, value, _ in items if value}
    return Info(status, read_totals(connection), metadata, max(status.put_timestamp, modified), live_digest)


def read_items(connection: sqlite3.Connection) -> list[Item]:
    """Read the metadata with removals, in the order of the names."""
    return [Item(*each) for each in connection.execute("SELECT name, value, timestamp FROM metadata ORDER BY name")]


def write_status(connection: sqlite3.Connection, status: Status) -> None:
    """Store timestamps and policy. In another incarnation other rows may be misplaced: all are looked at again."""
    connection.execute(
        "UPDATE resource SET created_at = ?1, put_timestamp = ?2, delete_timestamp = ?3, status_changed_at = ?4,"
        " queued = CASE WHEN delete_timestamp = ?3 AND status_changed_at = ?4 AND policy_index = ?5"
        " THEN queued ELSE 0 END, policy_index = ?5",
        astuple(status),
    )


def items_at(metadata: Mapping[str, str], timestamp: str) -> list[Item]:
    return [Item(name, value, timestamp) for name, value in metadata.items()]


def merge_metadata(connection: sqlite3.Connection, items: Iterable[Item]) -> None:
    """Set items as of their moments; an empty value removes one."""
    connection.executemany(_MERGE_ITEM, [(item.name, item.value, item.timestamp) for item in items])
    connection.execute(_FORGET_REMOVALS, (REMOVED_ITEMS_MAX,))


def clear_metadata(connection: sqlite3.Connection, timestamp: str) -> None:
    """Remove every item that is older than a moment."""
    connection.execute("UPDATE metadata SET value = '', timestamp = ?1 WHERE timestamp < ?1", (timestamp,))
