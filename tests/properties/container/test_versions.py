"""A listing of versions is what a plain loop over the rows gives, page by page."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from objstore.container.versions import VersionListing
from objstore.db.listing import Format, Query
from objstore.db.rows import RowTable
from objstore.rows import ObjectRow, merge_object_rows, precedence
from tests.doubles import ManualClock
from tests.properties.container.test_rows import OBJECTS, database, kept_rows, object_rows

LISTING = VersionListing(OBJECTS)
texts = st.text(alphabet="ab/\0\U0010ffff", max_size=3)
names = texts.filter(bool)
rows = st.lists(object_rows(names, st.just(0)) | kept_rows(names, st.integers(0, 1)), max_size=16)
queries = st.builds(
    Query,
    limit=st.integers(1, 4),
    prefix=texts,
    end_marker=texts,
    delimiter=st.sampled_from(["", "/", "a"]),
    reserved=st.booleans(),
    flat=st.booleans(),
    format=st.just(Format.JSON),
)


def expected(rows: list[ObjectRow], query: Query) -> list[Any]:
    merged: dict[Any, ObjectRow] = {}
    for row in rows:
        key = OBJECTS.key_of(row)
        merged[key] = merge_object_rows(merged[key], row) if key in merged else row
    live = [row for row in merged.values() if not row.deleted and row.policy_index == 0]
    live.sort(key=lambda row: (row.version or row.timestamp, row.marker, row.version), reverse=True)
    live.sort(key=lambda row: row.name.encode())
    entries: list[Any] = []
    for name, versions in itertools.groupby(live, key=lambda row: row.name):
        if not name.startswith(query.prefix) or (query.end_marker and name >= query.end_marker):
            continue
        if (not query.reserved and name[0] == "\0") or (query.flat and query.prefix and name == query.prefix):
            continue
        cut = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
        subdir = name[: cut + len(query.delimiter)]
        if cut >= 0 and not (query.flat and name == subdir):
            if not query.flat and subdir not in entries:
                entries.append(subdir)
            continue
        found = list(versions)
        latest = max(found, key=precedence)
        entries += [(name, row.version or "null", row.marker, row is latest) for row in found]
    return entries


@given(rows, queries)
def test_pages_list_every_version_once_and_in_order(rows: list[ObjectRow], query: Query) -> None:
    connection = database(OBJECTS)
    RowTable(OBJECTS, ManualClock()).merge(connection, rows)
    listed: list[Any] = []
    marker, version = "", ""
    while True:
        asked = msgspec.structs.replace(query, marker=marker)
        entries = msgspec.json.decode(LISTING.read(connection, asked, version, 0))
        for each in entries:
            fields = ("name", "version_id", "marker", "is_latest")
            listed.append(each["subdir"] if "subdir" in each else tuple(each[field] for field in fields))
        assert len(entries) <= query.limit
        if len(entries) < query.limit:
            break
        marker, version = entries[-1].get("name") or entries[-1]["subdir"], entries[-1].get("version_id", "")
    assert listed == expected(rows, query)
