"""Connections to SQLite, and what its errors mean to the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final
from urllib.parse import quote

from objstore.errors import StoreError

FORMAT_VERSION: Final = 5  # of the tables, in the pragma `user_version`
PAGE_CACHE_KIBIBYTES: Final = 512  # of each connection; the system's page cache holds the rest

_PRAGMAS: Final = (
    # A commit's caller flushes the log, together with all else that waits for that disk (`database`).
    "PRAGMA synchronous = NORMAL",
    # A checkpoint flushes twice: it is run apart from transactions, on a thread.
    "PRAGMA wal_autocheckpoint = 0",
    f"PRAGMA cache_size = -{PAGE_CACHE_KIBIBYTES}",
    # Deleted rows need not be overwritten with zeros: a reader of the disk sees live rows as well.
    "PRAGMA secure_delete = OFF",
    "PRAGMA temp_store = MEMORY",
)


@dataclass(eq=False)
class DatabaseAbsent(StoreError):
    message: ClassVar[str] = "no database {file}"

    file: str


class DatabaseRemoved(DatabaseAbsent):
    """It is being removed: nobody may change it any more, and who looks again finds it gone."""

    def __init__(self) -> None:
        super().__init__("removed while it was in use")


@dataclass(eq=False)
class DatabaseCorrupt(StoreError):
    """The file is not a database of ours, or contradicts itself."""

    message: ClassVar[str] = "{file} is corrupt: {reason}"

    file: str
    reason: str


@dataclass(eq=False)
class DatabaseBusy(StoreError):
    """Another connection holds the lock."""

    message: ClassVar[str] = "{file} is locked by another process"

    file: str


@dataclass(eq=False)
class DatabaseFailed(StoreError):
    """The disk is full or fails."""

    message: ClassVar[str] = "{file}: {reason}"

    file: str
    reason: str


class DatabaseAwaitsRepair(DatabaseFailed):
    """It was damaged and quarantined: until a replica has taken its place, nothing is known of it here."""

    def __init__(self, file: str) -> None:
        super().__init__(file, "quarantined; to be fetched from another replica")


def translation(file: str, error: sqlite3.Error) -> Exception:
    """The error of ours that an error of SQLite means; the error itself if it is a mistake in our code."""
    # The low byte is the primary code, the rest says more (sqlite.org/rescode.html).
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return DatabaseBusy(file)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return DatabaseCorrupt(file, str(error))
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN:
            return DatabaseFailed(file, str(error))
    # The module itself raises this one, without a code.
    return DatabaseCorrupt(file, str(error)) if str(error).startswith("Could not decode to UTF-8") else error


def open_connection(file: str, upgrade: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """A connection to an existing database, for one thread at a time. Blocks.

    `upgrade` brings one of an older format to the present one, in a transaction of its own.

    On return it has read, and so holds the shared lock that keeps the log's file in place until it is closed.
    Raises DatabaseBusy, DatabaseCorrupt, DatabaseFailed.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"file:{quote(file)}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            raise DatabaseCorrupt(file, "it is not a database of ours")
        if version > FORMAT_VERSION:
            # Written by a later release: it is left as it is.
            raise DatabaseFailed(file, f"format {version}, expected {FORMAT_VERSION}")
        if version < FORMAT_VERSION:
            upgrade(connection)
        return connection
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise translation(file, error) from error
        raise
