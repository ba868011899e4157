"""The tables of a database, the bytes of a new database, and the upgrade of an old one when it is first opened.

`resource`     one row: whose database this is, its Status, the last sequence given to a row, and what replication
               keeps: `id`, unique to this file; digests of the live rows and of the tombstones (`row_digest`); how
               often this replica has promised to keep rows that another was about to remove (`promises`); up to which
               sequence misplaced rows are queued (`queued`). No row: the database is being removed (`removal`).
`sync_point`   for each other replica's id, up to which of its sequences its rows are merged here (`summary`).
`metadata`     items of metadata, each with the timestamp of its value; an empty value is a removal.
`policy_stat`  for each policy, sums over the live rows: kept exactly, in the transaction that changes the rows.
`row`          what is listed. `sequence` grows with every change of any row, so that "what has changed since" is
               a range of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from typing import Final

from objstore.db.connection import FORMAT_VERSION
from objstore.db.info import Item
from objstore.db.schema import HIDDEN, LISTED, TOMBSTONE, Row, TableSchema, rows_digest
from objstore.db.status import Status
from objstore.paths import ResourcePath

SYNC_POINT_TABLE: Final = """
CREATE TABLE sync_point (
    id TEXT NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL,
    at TEXT NOT NULL
) WITHOUT ROWID;
"""
_COMMON: Final = f"""
PRAGMA user_version = {FORMAT_VERSION};
CREATE TABLE resource (
    account TEXT NOT NULL,
    container TEXT NOT NULL,
    created_at TEXT NOT NULL,
    put_timestamp TEXT NOT NULL,
    delete_timestamp TEXT NOT NULL,
    status_changed_at TEXT NOT NULL,
    policy_index INTEGER NOT NULL,
    sequence INTEGER NOT NULL DEFAULT 0,
    id TEXT NOT NULL DEFAULT '',
    live_digest INTEGER NOT NULL DEFAULT 0,
    tombstone_digest INTEGER NOT NULL DEFAULT 0,
    promises INTEGER NOT NULL DEFAULT 0,
    queued INTEGER NOT NULL DEFAULT 0
);
{SYNC_POINT_TABLE}
CREATE TABLE metadata (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    timestamp TEXT NOT NULL
) WITHOUT ROWID;
"""
_INSERT_RESOURCE: Final = (
    "INSERT INTO resource (account, container, created_at, put_timestamp, delete_timestamp, status_changed_at,"
    " policy_index, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# Bytes 18 and 19 of a database file say how it is journaled; 2 is a write-ahead log (sqlite.org/fileformat2.html).
JOURNAL_BYTES: Final = slice(18, 20)
WRITE_AHEAD_LOG: Final = b"\x02\x02"


def tables_of(schema: TableSchema[Row]) -> str:
    totals = ",\n".join(f"    {name} INTEGER NOT NULL" for name in schema.totals)
    return f"""{_COMMON}
CREATE TABLE policy_stat (
    policy_index INTEGER PRIMARY KEY,
{totals}
);
{row_table_of(schema)}
{schema.more_tables}
{schema.tables_of_4}
"""


def row_table_of(schema: TableSchema[Row]) -> str:
    columns = "".join(f"    {name} {declaration},\n" for name, declaration in schema.columns.items())
    key = ", ".join(("deleted", "name", *schema.key))
    return f"""
CREATE TABLE row (
    deleted INTEGER NOT NULL,
    name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
{columns}    PRIMARY KEY ({key})
) WITHOUT ROWID;
CREATE UNIQUE INDEX row_sequence ON row (sequence);
"""


@cache
def _empty_image(tables: str) -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(tables)
        return connection.serialize()


@contextmanager
def rows_alone(schema: TableSchema[Row], rows: Iterable[tuple[Row, int]]) -> Iterator[sqlite3.Connection]:
    """A database in memory with nothing but rows, each of a class, to read a listing from."""
    columns = ("name", "deleted", "sequence", *schema.columns)
    marks = ", ".join("?" * len(columns))
    stored = (
        (row.name, class_, sequence, *schema.values(row))  # type: ignore[attr-defined]  # all rows have names
        for sequence, (row, class_) in enumerate(rows)
    )
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(row_table_of(schema))
        connection.execute("BEGIN")
        connection.executemany(f"INSERT INTO row ({', '.join(columns)}) VALUES ({marks})", stored)
        connection.execute("COMMIT")
        yield connection


def new_image(
    schema: TableSchema[Row],
    path: ResourcePath,
    status: Status,
    items: Sequence[Item],
    database_id: str,
    fill: Callable[[sqlite3.Connection], object] | None = None,
) -> bytes:
    """The file of a new database, whole: it is never visible without its resource and metadata.

    `fill` puts rows into it.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.deserialize(_empty_image(tables_of(schema)))
        values = (status.created_at, status.put_timestamp, status.delete_timestamp, status.status_changed_at)
        connection.execute(_INSERT_RESOURCE, (path.account, path.container, *values, status.policy_index, database_id))
        connection.executemany(
            "INSERT INTO metadata (name, value, timestamp) VALUES (?, ?, ?)",
            [(item.name, item.value, item.timestamp) for item in items],
        )
        if fill is not None:
            fill(connection)
        image = bytearray(connection.serialize())
    image[JOURNAL_BYTES] = WRITE_AHEAD_LOG
    return bytes(image)


Upgrade = Callable[[sqlite3.Connection], None]

_COLUMNS_OF_2 = (
    "id TEXT NOT NULL DEFAULT ''",
    "live_digest INTEGER NOT NULL DEFAULT 0",
    "tombstone_digest INTEGER NOT NULL DEFAULT 0",
    "promises INTEGER NOT NULL DEFAULT 0",
    "queued INTEGER NOT NULL DEFAULT 0",
)


def upgrade(schema: TableSchema[Row], new_id: Callable[[], str]) -> Upgrade:
    """The upgrade for `open_connection`.

    Format 1 had no ids, digests and sync points, and was not replicated; in format 2 containers had no versions, in
    format 3 they did not note whose parts belong to nobody any more; in format 4 accounts did not tell the containers
    that hold uploads from their users' own.
    """

    def run(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been faster.
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < 3:
                _to_3(connection, schema)
            if version < 4:
                connection.execute(schema.tables_of_4)
            if version < 5:
                _add_totals(connection, schema)
            if version < 2:
                _from_1(connection, schema, new_id())
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    return run


def _from_1(connection: sqlite3.Connection, schema: TableSchema[Row], database_id: str) -> None:
    for column in _COLUMNS_OF_2:
        connection.execute(f"ALTER TABLE resource ADD COLUMN {column}")
    connection.execute(SYNC_POINT_TABLE)
    live, tombstones = (rows_digest(stored_rows(connection, schema, deleted)) for deleted in (False, True))
    connection.execute(
        "UPDATE resource SET id = ?, live_digest = ?, tombstone_digest = ?", (database_id, live, tombstones)
    )
    totals = ", ".join(("policy_index", *schema.totals))
    zeros = ", ".join("0" for _ in schema.totals)
    connection.execute(
        f"INSERT OR IGNORE INTO policy_stat ({totals}) SELECT DISTINCT policy_index, {zeros} FROM row WHERE deleted = 1"
    )


def _to_3(connection: sqlite3.Connection, schema: TableSchema[Row]) -> None:
    """Make the table of rows anew with the columns that it lacks: they belong to its key."""
    had = [name for _, name, *_ in connection.execute("PRAGMA table_info(row)")]
    if missing := [name for name in schema.columns if name not in had]:
        connection.execute("ALTER TABLE row RENAME TO old_row")
        connection.execute("DROP INDEX row_sequence")
        for statement in row_table_of(schema).split(";"):
            connection.execute(statement)
        # In the order of declarations: text is empty, a number 0.
        empty = ["''" if schema.columns[name].startswith("TEXT") else "0" for name in missing]
        connection.execute(
            f"INSERT INTO row ({', '.join((*had, *missing))}) SELECT {', '.join((*had, *empty))} FROM old_row"
        )
        connection.execute("DROP TABLE old_row")
    counted = [name for _, name, *_ in connection.execute("PRAGMA table_info(policy_stat)")]
    if counted[1] != schema.totals[0]:
        connection.execute(f"ALTER TABLE policy_stat RENAME COLUMN {counted[1]} TO {schema.totals[0]}")


def _add_totals(connection: sqlite3.Connection, schema: TableSchema[Row]) -> None:
    """Add the totals that the database lacks, counted from its rows."""
    counted = [name for _, name, *_ in connection.execute("PRAGMA table_info(policy_stat)")]
    if missing := schema.totals[len(counted) - 1 :]:
        for name in missing:
            connection.execute(f"ALTER TABLE policy_stat ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0")
        columns = ", ".join(("policy_index", *schema.totals))
        connection.execute(f"INSERT OR REPLACE INTO policy_stat ({columns}) {sums_of(schema)}")


def sums_of(schema: TableSchema[Row]) -> str:
    """SQL that counts what the totals of each policy with live rows must be."""
    sums = ", ".join(("policy_index", *schema.sums))
    return f"SELECT {sums} FROM row WHERE deleted != {TOMBSTONE} GROUP BY policy_index"


def stored_rows(connection: sqlite3.Connection, schema: TableSchema[Row], deleted: bool) -> Iterator[Row]:
    """Read all live rows, or all tombstones, one at a time."""
    columns = ", ".join(("name", *schema.columns))
    classes = f"{TOMBSTONE}" if deleted else f"{LISTED}, {HIDDEN}"
    for name, *values in connection.execute(f"SELECT {columns} FROM row WHERE deleted IN ({classes})"):
        yield schema.row(name, deleted, values)
