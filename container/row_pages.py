"""Pages of rows in their stored form: what a proxy asks several replicas for, to list what all of them know.

A page holds the live rows of a range of names. Where replicas differ, the proxy asks for all rows of those names,
tombstones among them: a page that held these too could be full of what was deleted long ago.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from objstore.container.versions import with_marker
from objstore.db.listing import BEHIND, Query, Range, range_of
from objstore.db.schema import HIDDEN, LISTED, TOMBSTONE, TableSchema
from objstore.http.errors import HttpError
from objstore.rows import ObjectRow

ROWS_MAX: Final = 10_000  # of a page; the rows of its last name are on it all
NAMES_MAX: Final = 1_000  # of which all rows are asked for at a time


class PageQuery(Struct, frozen=True):
    """How to page through what a listing's query asks for.

    rows: about how many; the rows of one name are not parted. group: of names that roll up into one entry not more
    than so many. resume: go on behind this name. versions: all live rows, and not only what is current. at_marker:
    those of the marker's own name too, as some lie behind a version marker.
    """

    rows: int
    group: int
    resume: str = ""
    versions: bool = False
    at_marker: bool = False

    @property
    def parameters(self) -> dict[str, str]:
        """As they stand in the query string of a request."""
        found = {"rows": str(self.rows), "group": str(self.group), "resume": self.resume}
        return found | {name: "true" for name in ("versions", "at_marker") if getattr(self, name)}

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """The inverse of `parameters`. Raises HttpError 400."""
        numbers = parameters["rows"], parameters.get("group", "1")
        if not all(text.isascii() and text.isdigit() and 0 < int(text[:9]) <= ROWS_MAX for text in numbers):
            raise HttpError(400, "Bad number of rows")
        rows, group = map(int, numbers)
        return cls(rows, group, parameters.get("resume", ""), "versions" in parameters, "at_marker" in parameters)


class RowPage(Struct, frozen=True):
    """Live rows by name, in the order of the listing. end: the last name that is covered; "" if all are."""

    rows: list[ObjectRow]
    end: str = ""


def subdir_of(name: str, query: Query) -> str:
    """What a name rolls up into, "" if it does not."""
    cut = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
    return name[: cut + len(query.delimiter)] if cut >= 0 else ""


class RowPages:
    """Reads pages of rows, and all rows of given names, from one container's database."""

    def __init__(self, schema: TableSchema[ObjectRow]) -> None:
        self._row = schema.row
        columns = ", ".join(("name", "deleted", *schema.columns))
        self._page = (
            f"SELECT {columns} FROM row"
            " WHERE deleted = :class AND policy_index = :policy AND name {above} AND name {below} ORDER BY name {order}"
        )
        classes = f"{LISTED}, {TOMBSTONE}, {HIDDEN}"
        self._all = (
            f"SELECT {columns} FROM row WHERE deleted IN ({classes}) AND name IN ({{marks}}) AND policy_index = ?"
        )

    def read(self, connection: sqlite3.Connection, query: Query, page: PageQuery, policy_index: int) -> RowPage:
        """All of one moment: a row that changes its class meanwhile would be on it twice, or not at all."""
        rows: list[ObjectRow] = []
        names: Range | None = _first(query, page)
        end = ""
        connection.execute("BEGIN")
        try:
            while names is not None:
                names, end = self._part(connection, query, page, policy_index, names, rows)
        finally:
            connection.execute("ROLLBACK")
        return RowPage(rows, end)

    def of_names(self, connection: sqlite3.Connection, names: Sequence[str], policy_index: int) -> list[ObjectRow]:
        """All their rows, tombstones among them."""
        statement = self._all.format(marks=", ".join("?" * len(names)))
        found = connection.execute(statement, (*names, policy_index)).fetchall()
        return [self._row(name, class_ == TOMBSTONE, values) for name, class_, *values in found]

    def _part(
        self,
        connection: sqlite3.Connection,
        query: Query,
        page: PageQuery,
        policy_index: int,
        names: Range,
        rows: list[ObjectRow],
    ) -> tuple[Range | None, str]:
        """Append rows until there are enough of one group: the names behind it. Without any, where the page ends."""
        group, count = "", 0
        # One level of a pseudo directory lists what is named like a directory in it, so no name is passed over.
        rolls_up = query.delimiter and not query.flat
        for name, of_name in groupby(self._live(connection, page, policy_index, names, query.reverse), _name):
            if len(rows) >= page.rows:
                return None, rows[-1].name
            rows += of_name
            if rolls_up and (subdir := subdir_of(name, query)):
                group, count = subdir, count + 1 if subdir == group else 1
                if count >= page.group:
                    return _behind(names, group, query.reverse), ""
        return None, ""

    def _live(
        self, connection: sqlite3.Connection, page: PageQuery, policy_index: int, names: Range, reverse: bool
    ) -> Iterator[ObjectRow]:
        classes = (LISTED, HIDDEN) if page.versions else (LISTED,)
        order = "DESC" if reverse else "ASC"
        statement = self._page.format(above=names.above, below=names.below, order=order)
        parameters: dict[str, int | str] = {"policy": policy_index, "low": names.low, "high": names.high}
        found = [self._class(connection, statement, parameters | {"class": class_}) for class_ in classes]
        return merge(*found, key=_name, reverse=reverse)

    def _class(
        self, connection: sqlite3.Connection, statement: str, parameters: Mapping[str, int | str]
    ) -> Iterator[ObjectRow]:
        for name, class_, *values in connection.execute(statement, parameters):
            yield self._row(name, class_ == TOMBSTONE, values)


def _name(row: ObjectRow) -> str:
    return row.name


def _first(query: Query, page: PageQuery) -> Range:
    names = range_of(query)
    if not page.resume:
        return with_marker(names, query) if page.at_marker else names
    if query.reverse:
        return replace(names, high=page.resume, below="< :high")
    return replace(names, low=page.resume, above="> :low")


def _behind(names: Range, group: str, reverse: bool) -> Range:
    if reverse:
        return replace(names, high=group, below="< :high")
    return replace(names, low=group, above=f"> :low || {BEHIND}")
