"""Listings of all versions of a container's objects: by name, then the newest first, delete markers among them.

In reverse all of that is the other way round: by name from the last one, then the oldest first.

Rows that are listed and rows that newer ones hide lie apart in the table, each class in the order of names. Both are
read along, name by name, so a page costs as many rows as it covers; what a delimiter rolls up is skipped by a seek.
All statements of a page see one moment: a row that changes its class between them would be listed twice, or left out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
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
            " WHERE deleted = :class AND policy_index = :policy AND name {above} AND name {below} ORDER BY name {order}"
        )

    def read(self, connection: sqlite3.Connection, query: Query, version_marker: str, policy_index: int) -> bytes:
        """A page as a JSON array.

        `version_marker`: behind this version of the name that the query's marker gives; it may be gone meanwhile.
        """
        entries: list[dict[str, Any]] = []
        names: Range | None = range_of(query)
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
        for name, rows in groupby(self._both(connection, query, policy_index, names), key=lambda row: row.name):
            cut = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
            subdir: str = name[: cut + len(query.delimiter)]
            # One level of a pseudo directory lists what is named like a directory in it, and none of what it covers.
            if cut >= 0 and not (query.flat and name == subdir):
                if not query.flat:
                    entries.append({"subdir": subdir})
                if query.reverse:
                    return replace(names, high=subdir, below="<= :high" if query.flat else "< :high")
                return replace(names, low=subdir, above=f"> :low || {BEHIND}")
            entries += _entries(list(rows), version_marker if name == query.marker else "", query.reverse)
            if len(entries) >= query.limit:
                del entries[query.limit :]
                return None
        return None

    def _both(
        self, connection: sqlite3.Connection, query: Query, policy_index: int, names: Range
    ) -> Iterator[ObjectRow]:
        """The rows of both classes, by name."""
        order = "DESC" if query.reverse else "ASC"
        statement = self._select.format(above=names.above, below=names.below, order=order)
        listed, hidden = (self._class(connection, statement, each, policy_index, names) for each in (LISTED, HIDDEN))
        return merge(listed, hidden, key=lambda row: row.name.encode(), reverse=query.reverse)

    def _class(
        self, connection: sqlite3.Connection, statement: str, class_: int, policy_index: int, names: Range
    ) -> Iterator[ObjectRow]:
        parameters = {"class": class_, "policy": policy_index, "low": names.low, "high": names.high}
        for name, *values in connection.execute(statement, parameters):
            yield self._row(name, False, values)


def with_marker(names: Range, query: Query) -> Range:
    """The same names and that of the marker, of which some versions may lie behind a version marker."""
    if query.reverse:
        return replace(names, below="<= :high") if query.marker and names.high == query.marker else names
    if query.marker and names.low == query.marker and names.above == "> :low":
        return replace(names, above=">= :low")
    return names


def _entries(rows: list[ObjectRow], version_marker: str, reverse: bool) -> Iterator[dict[str, Any]]:
    """The versions of one name behind a marker, "" for none; the newest first, or the oldest in reverse."""
    rows.sort(key=_place_of, reverse=True)
    latest = max(rows, key=precedence, default=None)
    for place in _places(rows, version_marker, reverse):
        row = rows[place]
        content_type, listed_size = split_listed_size(row.content_type)
        etag, fields = split_etag(row.etag)
        yield {
            "name": row.name,
            "version_id": row.version or NULL,
            "is_latest": row is latest,
            "marker": row.marker,
            "hash": etag,
            "bytes": row.size if listed_size is None else listed_size,
            "content_type": content_type,
            "last_modified": Timestamp.parse(newest_of(row)).isoformat,
            **fields,
        }


def _place_of(row: ObjectRow) -> tuple[str, bool, str]:
    """What orders the versions of one name: an older one that is current again stays where it was."""
    return row.version or row.timestamp, row.marker, row.version


def _places(rows: list[ObjectRow], version_marker: str, reverse: bool) -> Iterable[int]:
    """The places behind a version, in the order of the listing, in rows of which the newest is the first.

    A version that is gone leaves its place, since its id is a timestamp: those who delete what each page lists get all.
    Where the plain line was cannot be told any more: all of the name is listed, so that nothing is left out.
    """
    everything = range(len(rows))
    if version_marker == "":
        return reversed(everything) if reverse else everything
    place = next((place for place in everything if (rows[place].version or NULL) == version_marker), None)
    if place is not None:
        newer, older = everything[:place], everything[place + 1 :]
    elif version_marker == NULL:
        newer = older = everything
    else:
        behind = sum(_place_of(row)[0] >= version_marker for row in rows)
        newer, older = everything[:behind], everything[behind:]
    return reversed(newer) if reverse else older
