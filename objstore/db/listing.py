"""Listings: a page of names in the byte order of UTF-8, rendered by SQLite in one step, and the document made of it.

A page without a delimiter is a range of the table's key. With a delimiter, names that share their part before it roll
up into one entry: from each entry the next is sought through the key behind all names that roll up into it, so a page
costs one search an entry however many names it covers. Names are cut as BLOBs, since SQLite's text functions end at a
NUL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Generic

import msgspec
from msgspec import Struct

from objstore.db.schema import Row, TableSchema
from objstore.headers import is_true
from objstore.http.errors import HttpError
from objstore.limits import listing_limit
from objstore.xmltext import DECLARATION, escaped

# No UTF-8 text holds this byte, so a name with it appended sorts behind all names that begin so.
BEHIND: Final = "CAST(x'FF' AS TEXT)"
_JUST_BEHIND: Final = "CAST(x'00' AS TEXT)"
# Names that begin with NUL are reserved; this is the first that is not.
FIRST_CLIENT_NAME: Final = "\x01"
DELIMITER_LENGTH_MAX: Final = 1024  # that of the longest name: a longer one is in none


class Format(Enum):
    """How a listing is written; the values are those of the query's `format`."""

    PLAIN = "plain"
    JSON = "json"
    XML = "xml"


class Query(Struct, frozen=True):
    """What to list: at most `limit` names that begin with `prefix`, beyond `marker` and before `end_marker`.

    An empty marker is none. With a delimiter names roll up; `flat` leaves the rolled up ones out: what is listed is
    one level of a pseudo directory, and not the directory itself.
    """

    limit: int
    prefix: str = ""
    marker: str = ""
    end_marker: str = ""
    delimiter: str = ""
    reverse: bool = False
    flat: bool = False
    reserved: bool = False
    format: Format = Format.PLAIN


def parse_query(parameters: Mapping[str, str], limit_max: int, reserved: bool) -> Query:
    """The query of a request. An unknown format is plain. Raises HttpError 412."""
    prefix, delimiter = parameters.get("prefix", ""), parameters.get("delimiter", "")
    path = parameters.get("path")
    if path is not None:
        prefix, delimiter = f"{path.rstrip('/')}/" if path else "", "/"
    if len(delimiter) > DELIMITER_LENGTH_MAX:
        raise HttpError(412, "Bad delimiter")
    try:
        format_ = Format(parameters.get("format", "").lower())
    except ValueError:
        format_ = Format.PLAIN
    return Query(
        limit=listing_limit(parameters.get("limit"), limit_max),
        prefix=prefix,
        marker=parameters.get("marker", ""),
        end_marker=parameters.get("end_marker", ""),
        delimiter=delimiter,
        reverse=is_true(parameters.get("reverse")),
        flat=path is not None,
        reserved=reserved,
        format=format_,
    )


class Range(Struct, frozen=True):
    """The names between two bounds, as SQL conditions on the parameters :low and :high."""

    low: str
    high: str
    above: str  # what follows "name": an operator and an expression
    below: str


def range_of(query: Query) -> Range:
    low, high = query.marker, query.end_marker
    if query.reverse:
        low, high = high, low
    above = "> :low"
    if query.delimiter and not query.reverse and _is_entry(low, query):
        # The last entry of the page before stands for all names that begin so.
        above = f"> :low || {BEHIND}"
    if query.prefix > low or not low:
        # The pseudo directory itself is not inside it.
        low, above = query.prefix, "> :low" if query.flat and query.prefix else ">= :low"
    if not query.reserved and low < FIRST_CLIENT_NAME:
        low, above = FIRST_CLIENT_NAME, ">= :low"
    below = "< :high"
    if not high or (high > query.prefix and not high.startswith(query.prefix)):
        high, below = query.prefix, f"< :high || {BEHIND}"
    return Range(low, high, above, below)


def _is_entry(name: str, query: Query) -> bool:
    if not name.startswith(query.prefix):
        return False
    cut = name.find(query.delimiter, len(query.prefix))
    return cut >= 0 and cut + len(query.delimiter) == len(name)


class Listing(Generic[Row]):
    """Renders pages of one kind of database: JSON documents, or names one a line."""

    def __init__(self, schema: TableSchema[Row]) -> None:
        self._json_row = schema.json_row
        # Rows of another policy than the container's are misplaced: they are kept, and not listed.
        self._filter = "deleted = 0" + (" AND policy_index = :policy" if schema.key else "")

    def read(self, connection: sqlite3.Connection, query: Query, policy_index: int) -> bytes:
        """A page as UTF-8: names, each with a newline, if the format is plain, else an array in JSON."""
        text = self._rolled_up(query) if query.delimiter else self._flat(query)
        names = range_of(query)
        parameters: dict[str, Any] = {
            "low": names.low,
            "high": names.high,
            "limit": query.limit,
            "policy": policy_index,
            "prefix_length": len(query.prefix.encode()),
            "delimiter": query.delimiter.encode(),
        }
        (page,) = connection.execute(text, parameters).fetchone()
        if query.format is Format.PLAIN:
            return page + b"\n" if page else b""
        return page or b"[]"

    def _flat(self, query: Query) -> str:
        names = range_of(query)
        order = "DESC" if query.reverse else "ASC"
        return _page(
            query,
            f"SELECT {'name' if query.format is Format.PLAIN else self._json_row} AS entry FROM row"
            f" WHERE {self._filter} AND name {names.above} AND name {names.below}"
            f" ORDER BY name {order} LIMIT :limit",
        )

    def _rolled_up(self, query: Query) -> str:
        names = range_of(query)
        if query.reverse:
            order, seek = "DESC", f"name < {{next}} AND name {names.above}"
            # In one level of a directory a name that ends with the delimiter is listed; it comes after what it covers.
            covered = _subdir("step.name")
            behind = f"CASE WHEN step.name = {covered} THEN {covered} ELSE {covered} || {_JUST_BEHIND} END"
            behind = behind if query.flat else covered
        else:
            order, seek = "ASC", f"name > {{next}} AND name {names.below}"
            behind = f"{_subdir('step.name')} || {BEHIND}"
        after = f"CASE WHEN {_cut('step.name')} THEN {behind} ELSE step.name END"
        first = f"{self._filter} AND name {names.above} AND name {names.below}"
        return f"""
            WITH RECURSIVE step (name) AS (
                SELECT * FROM (SELECT name FROM row WHERE {first} ORDER BY name {order} LIMIT 1)
                UNION ALL
                SELECT (SELECT row.name FROM row WHERE {self._filter} AND {seek.format(next=after)}
                        ORDER BY row.name {order} LIMIT 1)
                FROM step WHERE step.name IS NOT NULL
            )
            {_page(query, self._entries(query))}"""

    def _entries(self, query: Query) -> str:
        plain = query.format is Format.PLAIN
        row = f"(SELECT {self._json_row} FROM row WHERE {self._filter} AND row.name = step.name)"
        if plain:
            row = "step.name"
        if query.flat:
            only = f" AND (NOT {_cut('step.name')} OR step.name = {_subdir('step.name')})"
            return f"SELECT {row} AS entry FROM step WHERE step.name IS NOT NULL{only} LIMIT :limit"
        subdir = _subdir("step.name") if plain else f"json_object('subdir', {_subdir('step.name')})"
        return (
            f"SELECT CASE WHEN {_cut('step.name')} THEN {subdir} ELSE {row} END AS entry"
            " FROM step WHERE step.name IS NOT NULL LIMIT :limit"
        )


def _page(query: Query, entries: str) -> str:
    """One value of all entries. CAST to BLOB, so that it arrives as bytes."""
    if query.format is Format.PLAIN:
        return f"SELECT CAST(group_concat(entry, char(10)) AS BLOB) FROM ({entries})"
    return f"SELECT CAST('[' || group_concat(entry, ',') || ']' AS BLOB) FROM ({entries})"


def _cut(name: str) -> str:
    """Where the delimiter is in what follows the prefix, in bytes from 1; 0 if it is not there."""
    return f"instr(substr(CAST({name} AS BLOB), :prefix_length + 1), :delimiter)"


def _subdir(name: str) -> str:
    """A name up to the end of that delimiter."""
    length = f":prefix_length + {_cut(name)} + length(:delimiter) - 1"
    return f"CAST(substr(CAST({name} AS BLOB), 1, {length}) AS TEXT)"


CONTENT_TYPES: Final = {
    Format.PLAIN: "text/plain; charset=utf-8",
    Format.JSON: "application/json; charset=utf-8",
    Format.XML: "application/xml; charset=utf-8",
}

_rows: Final = msgspec.json.Decoder(list[dict[str, Any]])


def xml_document(page: bytes, kind: str, name: str, element: str) -> bytes:
    """A page in JSON as XML: <kind name="..."> around an `element` for each row, a child for each of its fields."""
    parts = [f'{DECLARATION}<{kind} name="{escaped(name)}">']
    for row in _rows.decode(page):
        subdir = row.get("subdir")
        if subdir is not None:
            path = escaped(subdir)
            parts.append(f'<subdir name="{path}"><name>{path}</name></subdir>')
            continue
        parts.append(f"<{element}>")
        parts += [f"<{key}>{escaped(str(value))}</{key}>" for key, value in row.items()]
        parts.append(f"</{element}>")
    parts.append(f"</{kind}>")
    return "".join(parts).encode()
