"""SQLite over the simulated disks. It does its own input and output, so that a crash is modelled at its log.

What of the log (`-wal`) was flushed, by the Flusher or by a checkpoint, survives; of the frames beyond, some
beginning, with holes torn into it, which SQLite finds out by the frames' checksums. The database file changes in
checkpoints only, which flush it. A crash must not close connections in the usual way, since the last one to close
copies the log back: the files are put aside first.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable
from random import Random
from typing import Any, Final
from urllib.parse import unquote
from weakref import WeakSet

from tests.simulation.calls import SimulatedCalls
from tests.simulation.disk import SimulatedDisk
from tests.simulation.hub import Owner, current_owner

LOG_HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
SECTOR_BYTES: Final = 512
# What a log of one generation holds: its salts, and how many frames are committed.
LogState = tuple[bytes, int]
EMPTY_LOG: Final[LogState] = (b"", 0)


def _error(kind: type[sqlite3.Error], code: int, text: str) -> sqlite3.Error:
    error = kind(text)
    error.sqlite_errorcode = code
    return error


class Connection(sqlite3.Connection):
    """A connection to a database on a device, or elsewhere."""

    disk: SimulatedDisk | None = None
    owner: Owner | None = None
    file: str = ""
    keeper: SimulatedDatabases | None = None

    def execute(self, statement: str, *arguments: Any) -> Any:
        if self.disk is None:
            return super().execute(statement, *arguments)
        if self.owner is not None:
            self.owner.check()
        if self.disk.state:
            self._fail(statement)
        result = super().execute(statement, *arguments)
        if "wal_checkpoint" in statement and self.keeper is not None:
            rows = result.fetchall()
            self.keeper.checkpointed(self.file)
            return _Rows(rows)
        return result

    def executemany(self, statement: str, *arguments: Any) -> Any:
        if self.disk is not None:
            if self.owner is not None:
                self.owner.check()
            if self.disk.state:
                self._fail(statement)
        return super().executemany(statement, *arguments)

    def _fail(self, statement: str) -> None:
        state, disk = self.disk.state if self.disk is not None else "", self.disk
        assert disk is not None
        if state == "full" and statement == "COMMIT":
            raise _error(sqlite3.OperationalError, sqlite3.SQLITE_FULL, "database or disk is full")
        if state == "readonly" and statement.startswith("BEGIN"):
            raise _error(sqlite3.OperationalError, sqlite3.SQLITE_READONLY, "attempt to write a readonly database")
        if state == "failing" and statement != "ROLLBACK" and disk.random.random() < disk.failure_rate:
            raise _error(sqlite3.OperationalError, sqlite3.SQLITE_IOERR, "disk I/O error")

    def close(self) -> None:
        if self.keeper is not None:
            self.keeper.closing(self)
        super().close()


class _Rows:
    """The rows of a statement that has run to its end."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = iter(rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Any:
        return self._rows


class SimulatedDatabases:
    """Stands for the module sqlite3."""

    def __init__(self, calls: SimulatedCalls, random: Random) -> None:
        self._calls = calls
        self._random = random
        self._flushed: dict[str, LogState] = {}
        self._open: dict[str, WeakSet[Connection]] = {}
        self.Connection = Connection

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, database: str, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """Open a database; one on a simulated device fails as the device does."""
        text = str(database)
        file = unquote(text[5:].partition("?")[0]) if text.startswith("file:") else text
        disk = self._calls.disk_of(file)
        if disk is None:
            return sqlite3.connect(database, *arguments, **options)
        owner = current_owner()
        if owner is not None:
            owner.check()
        if disk.state == "failing" and disk.random.random() < disk.failure_rate:
            raise _error(sqlite3.OperationalError, sqlite3.SQLITE_CANTOPEN, "unable to open database file")
        made = sqlite3.connect(database, *arguments, factory=Connection, **options)
        made.disk, made.owner, made.file, made.keeper = disk, owner, file, self
        self._open.setdefault(file, WeakSet()).add(made)
        return made

    def is_open(self, file: str) -> bool:
        """Whether anybody has it open."""
        return file in self._open

    def closing(self, connection: Connection) -> None:
        """If it is the last one, its log is copied back and goes."""
        others = self._open.get(connection.file)
        if others is not None:
            others.discard(connection)
            if not others:
                del self._open[connection.file]
                self._flushed.pop(connection.file, None)

    def checkpointed(self, file: str) -> None:
        """SQLite flushes the log before it copies any of it."""
        self._flushed[file] = log_state(file)

    def flushing(self, descriptor_path: str) -> Callable[[], None] | None:
        """A flush of a log begins: what to call when it ends. None for any other file."""
        if not descriptor_path.endswith(".db-wal"):
            return None
        file = descriptor_path.removesuffix("-wal")
        state = log_state(file)

        def done() -> None:
            self._flushed[file] = state

        return done

    def crash(self, owner: Owner, power: bool) -> int:
        """Close the databases of a node that has died; returns how many frames were lost."""
        lost = 0
        for file, connections in list(self._open.items()):
            mine = [each for each in connections if each.owner is owner]
            if not mine:
                continue
            content, log = _read(file), _read(f"{file}-wal")
            if power:
                survived = self._survivor(file, log)
                lost += survived != log
                log = survived
            del self._open[file]
            self._flushed.pop(file, None)
            for each in mine:
                each.keeper = None
                each.close()
            if content is not None:
                _write(file, content)
                if log is not None:
                    _write(f"{file}-wal", log)
                _remove(f"{file}-shm")
        return lost

    def _survivor(self, file: str, log: bytes | None) -> bytes | None:
        salts, committed = log_state(file)
        flushed_salts, flushed = self._flushed.get(file, EMPTY_LOG)
        if log is None or not committed:
            return log
        frame = FRAME_HEADER_BYTES + _page_bytes(log)
        safe = LOG_HEADER_BYTES + flushed * frame if salts == flushed_salts else 0
        tail = log[safe : LOG_HEADER_BYTES + committed * frame]
        return log[:safe] + _torn_tail(tail, self._random)


def _torn_tail(tail: bytes, random: Random) -> bytes:
    choice = random.random()
    if choice < 0.6:
        return b""
    if choice < 0.7:
        return tail
    cut = bytearray(tail[: random.randint(0, len(tail))])
    if choice < 0.8 and cut:
        start = random.randrange(len(cut)) // SECTOR_BYTES * SECTOR_BYTES
        cut[start : start + SECTOR_BYTES] = bytes(len(cut[start : start + SECTOR_BYTES]))
    return bytes(cut)


def log_state(file: str) -> LogState:
    """What the index of the log says."""
    index = _read(f"{file}-shm", 48)
    if index is None or len(index) < 48:
        return EMPTY_LOG
    (committed,) = struct.unpack_from("=I", index, 16)
    return index[32:40], committed


def _page_bytes(log: bytes) -> int:
    (size,) = struct.unpack_from(">I", log, 8)
    return 65536 if size == 1 else int(size)


def _read(path: str, length: int = -1) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(length)
    except FileNotFoundError:
        return None


def _write(path: str, content: bytes) -> None:
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.truncate(0)
        file.write(content)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
