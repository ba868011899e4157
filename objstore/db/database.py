"""One open database: its connections, the threads its operations run on, and when they are durable.

Durability. The database is in WAL mode with synchronous=NORMAL: a commit appends to the log file (`-wal`) without
flushing. `write` flushes that file through the process's Flusher afterwards, together with whatever else waits for that
disk, and returns only then; since SQLite with FULL does the same fdatasync at commit, an answer given after `write`
is as durable. What holds at each step:

* Frames of a transaction carry checksums chained from the log's header, and count only up to the last commit
  record. A crash before the flush leaves all of the transaction or nothing of it.
* SQLite flushes the log's header, and the directory when it makes the log, before the first frame is written.
* A checkpoint flushes the log, copies pages into the database file, flushes that, and only then may the log be
  overwritten from its start, under a new salt. A crash in between leaves pages that the log still holds.
* The log is removed only by the last connection to close, after a checkpoint. While a Database is in use it keeps
  a connection open, so its descriptor of the log stays the one that is written to.
* A write that found nothing to change is flushed too: what it found may be another's commit still unflushed.

The database file and its `-shm` are never opened other than by SQLite: closing any descriptor of them would drop the
POSIX locks of this process (sqlite.org/howtocorrupt.html, 2.2). The log carries no locks.

Where work runs. sqlite3 gives up the interpreter's lock around every step, so a short transaction on a thread would
wait for the hub many times over. It runs in the hub instead, without waiting: a lock held by another process is tried
again after a pause that lets others run, and while a database has recently had to read from its disk its work goes
to a thread of the device, until it is warm again; so it does while the device is stalled, since even appending to the
log may block then. Long reads always run on a thread, each as one step.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from objstore.db.connection import DatabaseBusy, DatabaseCorrupt, DatabaseFailed, open_connection, translation
from objstore.db.tables import Upgrade
from objstore.runtime import Runtime
from objstore.system import concurrency
from objstore.system.concurrency import Semaphore, WaitTimeout
from objstore.system.processes import blocks_read
from objstore.system.threads import HUNG_SECONDS, ThreadGroup

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

BUSY_TIMEOUT_SECONDS: Final = 25.0
FIRST_PAUSE_SECONDS: Final = 0.0005
LONGEST_PAUSE_SECONDS: Final = 0.005
# So many operations in a row must find all they read in memory before they run in the hub again.
WARMING_OPERATIONS: Final = 8
IDLE_CONNECTIONS_MAX: Final = 2
# The log is copied back when about so many pages (4 KiB) were written to it by this process.
CHECKPOINT_PAGES: Final = 2000
PAGES_PER_TRANSACTION: Final = 3
PAGES_PER_ROW: Final = 2


class Database:
    """An open database. Used between `DatabaseStore.opened` and its end, never after `close`."""

    def __init__(self, file: str, inode: int, runtime: Runtime, threads: ThreadGroup, upgrade: Upgrade) -> None:
        """`threads` are those of its device; `upgrade` brings it to the present format when it is opened."""
        self.file = file
        self._upgrade = upgrade
        self.inode = inode
        self.users = 0
        self.failed = False  # something went wrong with it: the next user opens it anew
        self._runtime = runtime
        self.threads = threads
        self._idle: list[sqlite3.Connection] = []
        self._log_descriptor = -1
        self._opening = threading.Lock()
        self._writing = Semaphore(1)
        self._cold_operations = WARMING_OPERATIONS
        self._pages_logged = 0
        self._checkpointing = False

    def read(self, operation: Operation[T], long: bool = False) -> T:
        """Run a reading operation; each of its statements sees the newest commit.

        `long` says that it may take more than a fraction of a millisecond. Raises DatabaseBusy, DatabaseCorrupt,
        DatabaseFailed.
        """
        return self._until_free(self._used, operation, long)

    def write(self, operation: Operation[T]) -> T:
        """`commit`, durable on return. Raises as `commit` does.

        It raises OSError when the disk did not take the log: nothing may be acknowledged then, though the change
        may be there.
        """
        result = self.commit(operation)
        self.flush()
        return result

    def commit(self, operation: Operation[T]) -> T:
        """Run an operation as one transaction, of about a millisecond at most; it is not durable until `flush`.

        What the operation raises undoes the transaction. Raises as `read` does.
        """
        try:
            self._writing.acquire(BUSY_TIMEOUT_SECONDS)
        except WaitTimeout:
            raise DatabaseBusy(self.file) from None
        try:
            result = self._until_free(self._transaction, operation, False)
        finally:
            self._writing.release()
        if self._pages_logged >= CHECKPOINT_PAGES and not self._checkpointing:
            self._checkpointing = True
            self.users += 1
            concurrency.spawn(self._checkpoint)
        return result

    def flush(self) -> None:
        """Make every commit until now durable, also those of others. Raises OSError."""
        self._runtime.flusher.flush(self._log_descriptor)

    def close(self) -> None:
        """Close all connections. Blocks: the last one of all processes copies the log back and removes it."""
        while self._idle:
            self._idle.pop().close()
        if self._log_descriptor >= 0:
            os.close(self._log_descriptor)
            self._log_descriptor = -1

    def _until_free(self, run: Callable[[Operation[T]], T], operation: Operation[T], long: bool) -> T:
        """Run it where it blocks nobody, again and again while another process holds the lock."""
        pause = FIRST_PAUSE_SECONDS
        deadline = 0.0
        while True:
            try:
                if long:
                    return self.threads.call(run, operation)
                if self._cold_operations or not self._idle or self.threads.is_stalled:
                    return self.threads.call_within(HUNG_SECONDS, run, operation)
                return run(operation)
            except WaitTimeout:
                self.failed = True
                raise DatabaseFailed(self.file, "the disk does not answer") from None
            except DatabaseBusy:
                now = self._runtime.clock.monotonic()
                deadline = deadline or now + BUSY_TIMEOUT_SECONDS
                if now >= deadline:
                    raise
            except (DatabaseCorrupt, DatabaseFailed):
                self.failed = True
                raise
            # Transactions are short, and processes that wait alike must not come back at the same moment.
            concurrency.sleep(pause * self._runtime.random.uniform(0.5, 1.5))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _used(self, operation: Operation[T]) -> T:
        """Run an operation on a connection of its own."""
        before = blocks_read()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            return operation(connection)
        except sqlite3.Error as error:
            meaning = translation(self.file, error)
            if meaning is error:
                raise
            raise meaning from error
        finally:
            # Kept first, closed after: some connection must be open for the log to stay in place.
            self._idle.append(connection)
            if len(self._idle) > IDLE_CONNECTIONS_MAX:
                self._idle.pop(0).close()
            if blocks_read() != before:
                self._cold_operations = WARMING_OPERATIONS
            elif self._cold_operations:
                self._cold_operations -= 1

    def _transaction(self, operation: Operation[T]) -> T:
        return self._used(lambda connection: self._committed(connection, operation))

    def _committed(self, connection: sqlite3.Connection, operation: Operation[T]) -> T:
        # IMMEDIATE takes the write lock at once: a transaction that began by reading could not wait for it.
        connection.execute("BEGIN IMMEDIATE")
        try:
            before = connection.total_changes
            result = operation(connection)
            if changed := connection.total_changes - before:
                self._pages_logged += PAGES_PER_TRANSACTION + PAGES_PER_ROW * changed
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _connect(self) -> sqlite3.Connection:
        connection = open_connection(self.file, self._upgrade)
        with self._opening:
            if self._log_descriptor < 0:
                self._log_descriptor = os.open(f"{self.file}-wal", os.O_RDONLY | os.O_CLOEXEC)
        return connection

    def _checkpoint(self) -> None:
        """Copy the log back in two parts: the bulk beside the writers, then what they added, while they wait.

        Without the second part a busy log would never be copied whole, and so never start over.
        """
        try:
            self._pages_logged = 0
            self.read(lambda connection: connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone(), long=True)
            with self._writing:
                self.read(lambda connection: connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone(), long=True)
        except (DatabaseBusy, DatabaseCorrupt, DatabaseFailed) as error:
            # Nothing is lost: the log stays and is copied at the next turn.
            self._runtime.log.warning("checkpoint failed", file=self.file, reason=str(error))
        finally:
            self.users -= 1
            self._checkpointing = False
