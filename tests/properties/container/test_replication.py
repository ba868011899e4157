"""Databases that exchange batches hold the merge of all their rows, with exact totals and digests."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from objstore.db.rows import RowTable
from objstore.db.schema import rows_digest
from objstore.db.tables import stored_rows
from objstore.rows import ObjectRow
from tests.doubles import ManualClock
from tests.properties.container.test_rows import OBJECTS, check_database, database, names, object_rows

rows = st.lists(object_rows(names, st.integers(0, 1)), max_size=6)


def digests(connection: sqlite3.Connection) -> tuple[int, int]:
    found: tuple[int, int] = connection.execute("SELECT live_digest, tombstone_digest FROM resource").fetchone()
    return found


def everything(connection: sqlite3.Connection) -> list[ObjectRow]:
    return [row for deleted in (False, True) for row in stored_rows(connection, OBJECTS, deleted)]


@given(st.lists(rows, max_size=5))
def test_digests_are_those_of_the_rows(batches: list[list[ObjectRow]]) -> None:
    connection = database(OBJECTS)
    for batch in batches:
        RowTable(OBJECTS, ManualClock()).merge(connection, batch)
    assert digests(connection) == (
        rows_digest(stored_rows(connection, OBJECTS, False)),
        rows_digest(stored_rows(connection, OBJECTS, True)),
    )


@given(rows, rows, rows)
def test_replicas_that_exchange_all_rows_are_equal(
    one: list[ObjectRow], two: list[ObjectRow], three: list[ObjectRow]
) -> None:
    replicas = [database(OBJECTS) for _ in range(3)]
    for connection, first in zip(replicas, (one, two, three), strict=True):
        RowTable(OBJECTS, ManualClock()).merge(connection, first)
    for giver in (0, 1, 2, 0, 1):
        for taker in range(3):
            RowTable(OBJECTS, ManualClock()).merge(replicas[taker], everything(replicas[giver]))
    assert everything(replicas[0]) == everything(replicas[1]) == everything(replicas[2])
    assert digests(replicas[0]) == digests(replicas[1]) == digests(replicas[2])
    check_database(OBJECTS, [one, two, three])
