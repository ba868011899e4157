"""Listings of all versions of a container's objects: by name, then the newest first, delete markers among them.

Rows that are listed and rows that newer ones hide lie apart in the table, each class in the order of names. Both are
read along, name by name, so a page costs as many rows as it covers; what a delimiter rolls up is skipped by a seek.
All statements of a page see one moment: a row that changes its class between them would be listed twice, or left out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from objstore.container.rows import split_listed_size
from objstore.db.listing import BEHIND, Query, Range, range_of
from objstore.db.schema import HIDDEN, LISTED, TableSchema
from objstore.rows import ObjectRow, newest_of, precedence, split_etag
from objstore.timestamps import Timestamp

NULL: Final = "null"  # how a row of the plain line is called


class VersionListing:
    def __init__(self, schema: TableSchema[ObjectRow]) -> None:
        self._row = schema.row
        self._select = (
            f"SELECT {', '.join(('name', *schema.columns))} FROM row"
            " WHERE deleted = :class AND policy_index = :policy AND name {above} AND name {below} ORDER BY name"
        )

    def read(self, connection: sqlite3.Connection, query: Query, version_marker: str, policy_index: int) -> bytes:
        """A page as a JSON array, in ascending order.

        `version_marker`: behind this version of the name that the query's marker gives; it may be gone meanwhile.
        """
        entries: list[dict[str, Any]] = []
        names: Range | None = range_of(replace(query, reverse=False))
        if version_marker and names is not None:
            names = with_marker(names, query)
        connection.execute("BEGIN")
        try:
            while names is not None and len(entries) < query.limit:
                names = self._page(connection, query, version_marker, policy_index, names, entries)
        finally:
            connection.execute("ROLLBACK")
        return msgspec.json.encode(entries)

    def _page(
        self,
        connection: sqlite3.Connection,
        query: Query,
        version_marker: str,
        policy_index: int,
        names: Range,
        entries: list[dict[str, Any]],
    ) -> Range | None:
        """Append entries until a name is rolled up: the names behind it; None when all is listed."""
        for name, rows in groupby(self._both(connection, policy_index, names), key=lambda row: row.name):
            cut = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
            subdir: str = name[: cut + len(query.delimiter)]
            # One level of a pseudo directory lists what is named like a directory in it, and none of what it covers.
            if cut >= 0 and not (query.flat and name == subdir):
                if not query.flat:
                    entries.append({"subdir": subdir})
                return replace(names, low=subdir, above=f"> :low || {BEHIND}")
            entries += _entries(list(rows), version_marker if name == query.marker else "")
            if len(entries) >= query.limit:
                del entries[query.limit :]
                return None
        return None

    def _both(self, connection: sqlite3.Connection, policy_index: int, names: Range) -> Iterator[ObjectRow]:
        """The rows of both classes, by name."""
        listed, hidden = (self._class(connection, each, policy_index, names) for each in (LISTED, HIDDEN))
        return merge(listed, hidden, key=lambda row: row.name.encode())

    def _class(
        self, connection: sqlite3.Connection, class_: int, policy_index: int, names: Range
    ) -> Iterator[ObjectRow]:
        statement = self._select.format(above=names.above, below=names.below)
        parameters = {"class": class_, "policy": policy_index, "low": names.low, "high": names.high}
        for name, *values in connection.execute(statement, parameters):
            yield self._row(name, False, values)


def with_marker(names: Range, query: Query) -> Range:
    """The same names and that of the marker, of which some versions may lie behind a version marker."""
    if query.marker and names.low == query.marker and names.above == "> :low":
        return replace(names, above=">= :low")
    return names


def _entries(rows: list[ObjectRow], version_marker: str) -> Iterator[dict[str, Any]]:
    """The versions of one name behind a marker, "" for none; the newest first."""
    rows.sort(key=precedence, reverse=True)
    for place in range(_behind(rows, version_marker), len(rows)):
        row = rows[place]
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


def _behind(rows: list[ObjectRow], version_marker: str) -> int:
    """The place behind a version in rows that are sorted.

    A version that is gone leaves its place, since its id is a timestamp: those who delete what each page lists get all.
    Where the plain line was cannot be told any more: the name is listed from its newest version, so none is left out.
    """
    for place, row in enumerate(rows):
        if (row.version or NULL) == version_marker:
            return place + 1
    if version_marker in ("", NULL):
        return 0
    return sum(row.timestamp >= version_marker for row in rows)
