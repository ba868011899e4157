"""Listings of all versions of a container's objects: by name, then the newest first, delete markers among them.

Rows that are listed and rows that newer ones hide lie apart in the table, each class in the order of names. Both are
read along, name by name, so a page costs as many rows as it covers; what a delimiter rolls up is skipped by a seek.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from objstore.container.rows import ContainerSchema, split_listed_size
from objstore.db.listing import Query, range_of
from objstore.db.schema import HIDDEN, LISTED
from objstore.rows import ObjectRow, newest_of, split_etag
from objstore.timestamps import Timestamp

NULL: Final = "null"  # how a row of the plain line is called
# So many rows of a class are read at a time.
ROWS_AT_ONCE: Final = 512
BEHIND: Final = b"\xff"  # no UTF-8 text holds it: it sorts behind whatever begins with what precedes it


class VersionListing:
    def __init__(self, schema: ContainerSchema) -> None:
        self._row = schema.row
        self._select = (
            f"SELECT {', '.join(('name', *schema.columns))} FROM row WHERE deleted = :class AND policy_index = :policy"
            " AND name >= CAST(:low AS TEXT) AND name < CAST(:high AS TEXT) ORDER BY name, version LIMIT :limit"
        )

    def read(self, connection: sqlite3.Connection, query: Query, version_marker: str, policy_index: int) -> bytes:
        """A page as a JSON array, in ascending order.

        `version_marker`: behind this version of the name that the query's marker gives.
        """
        entries: list[dict[str, Any]] = []
        names = range_of(replace(query, reverse=False))
        low, high = names.low.encode(), names.high.encode()
        if names.above.startswith(">="):
            pass
        elif names.above.endswith(":low"):
            low += b"" if version_marker else b"\0"
        else:
            low += BEHIND
        if names.below != "< :high":
            high += BEHIND
        while len(entries) < query.limit:
            skipped = self._page(connection, query, version_marker, policy_index, low, high, entries)
            if skipped is None:
                break
            low = skipped
        return msgspec.json.encode(entries)

    def _page(
        self,
        connection: sqlite3.Connection,
        query: Query,
        version_marker: str,
        policy_index: int,
        low: bytes,
        high: bytes,
        entries: list[dict[str, Any]],
    ) -> bytes | None:
        """Append entries until a name is rolled up: where to go on behind it; None when all is listed."""
        for name, rows in groupby(self._both(connection, policy_index, low, high), key=lambda row: row.name):
            cut = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
            if cut >= 0:
                subdir: str = name[: cut + len(query.delimiter)]
                if not query.flat:
                    entries.append({"subdir": subdir})
                return subdir.encode() + BEHIND
            behind = version_marker if name == query.marker else ""
            for entry in _entries(rows):
                if behind:
                    behind = "" if entry["version_id"] == behind else behind
                    continue
                entries.append(entry)
                if len(entries) >= query.limit:
                    return None
        return None

    def _both(self, connection: sqlite3.Connection, policy_index: int, low: bytes, high: bytes) -> Iterator[ObjectRow]:
        """The rows of both classes, by name."""
        listed = self._class(connection, LISTED, policy_index, low, high)
        hidden = self._class(connection, HIDDEN, policy_index, low, high)
        one, other = next(listed, None), next(hidden, None)
        while one is not None or other is not None:
            if other is None or (one is not None and one.name.encode() <= other.name.encode()):
                assert one is not None
                yield one
                one = next(listed, None)
            else:
                yield other
                other = next(hidden, None)

    def _class(
        self, connection: sqlite3.Connection, class_: int, policy_index: int, low: bytes, high: bytes
    ) -> Iterator[ObjectRow]:
        parameters = {"class": class_, "policy": policy_index, "low": low, "high": high, "limit": -1}
        cursor = connection.execute(self._select, parameters)
        cursor.arraysize = ROWS_AT_ONCE
        while found := cursor.fetchmany():
            for name, *values in found:
                yield self._row(name, False, values)


def _entries(rows: Iterator[ObjectRow]) -> Iterator[dict[str, Any]]:
    """The versions of one name, the newest first."""
    in_order = sorted(rows, key=lambda row: (row.timestamp, row.version), reverse=True)
    for place, row in enumerate(in_order):
        content_type, listed_size = split_listed_size(row.content_type)
        etag, fields = split_etag(row.etag)
        yield {
            "name": row.name,
            "version_id": row.version or NULL,
            "is_latest": place == 0,
            "marker": row.marker,
            "hash": etag,
            "bytes": row.size if listed_size is None else listed_size,
            "content_type": content_type,
            "last_modified": Timestamp.parse(newest_of(row)).isoformat,
            **fields,
        }
