"""The databases of a server: found, opened and kept open, created, quarantined."""

from __future__ import annotations

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Generic

import xxhash

from objstore.cluster import Cluster
from objstore.db.connection import DatabaseAbsent, DatabaseAwaitsRepair, DatabaseCorrupt, DatabaseFailed
from objstore.db.database import Database
from objstore.db.info import Item
from objstore.db.location import DatabaseLocation, ResourceLocation, leave_mark
from objstore.db.schema import Row, TableSchema
from objstore.db.status import Status
from objstore.db.tables import new_image, upgrade
from objstore.http.errors import HttpError
from objstore.mounts import DeviceRoot
from objstore.paths import ResourcePath
from objstore.runtime import Runtime
from objstore.system import concurrency, files
from objstore.system.concurrency import WaitTimeout
from objstore.system.threads import HUNG_SECONDS, ThreadGroup

# Each takes four descriptors or more; beyond this the one that was used longest ago is closed.
OPEN_DATABASES_MAX: Final = 128
Filling = Callable[[sqlite3.Connection], object]
TEMPORARY_FOLDER: Final = "tmp"  # of a device


class DatabaseStore(Generic[Row]):
    """The databases of one kind on the devices of one server."""

    def __init__(
        self,
        schema: TableSchema[Row],
        cluster: Cluster,
        devices: DeviceRoot,
        runtime: Runtime,
        open_max: int = OPEN_DATABASES_MAX,
    ) -> None:
        """So many databases stay open; a daemon that comes to each of them seldom needs few."""
        self.schema = schema
        self._upgrade = upgrade(schema, lambda: self.new_id(""))
        self._hasher = cluster.hasher
        self._devices = devices
        self._runtime = runtime
        self._open_max = open_max
        self._open: OrderedDict[str, Database] = OrderedDict()
        self._inherited: OrderedDict[str, Database] = OrderedDict()
        self._owner = os.getpid()

    def locate(self, device: str, partition: str, path: ResourcePath) -> ResourceLocation:
        """Where it is or would be. Raises HttpError 400 on a bad partition, DeviceUnavailable."""
        if not (partition.isascii() and partition.isdecimal()):
            raise HttpError(400, f"Invalid partition {partition!r}")
        root = self._devices.path(device)
        return ResourceLocation(root, self.schema.folder, partition, self._hasher.hexdigest(path), device, path)

    @contextmanager
    def opened(self, place: DatabaseLocation) -> Iterator[Database]:
        """The database while it is used. Raises DatabaseAbsent, DatabaseAwaitsRepair.

        Whoever finds it corrupt has it quarantined, and marked for repair, before DatabaseCorrupt goes on.
        """
        database = self._database(place)
        database.users += 1
        try:
            yield database
        except DatabaseCorrupt as error:
            self._quarantine(place, error)
            raise
        finally:
            database.users -= 1
            if database.failed and self._open.get(place.file) is database:
                self._forget(place.file)

    def new_id(self, file: str) -> str:
        """A new id, which no other file of that resource has, has had, or will have.

        Workers that were forked from one process may draw the same numbers, but not in the same place at a time.
        """
        parts = f"{self._runtime.random.getrandbits(128)} {file} {self._runtime.clock.timestamp().internal}"
        return xxhash.xxh3_128_hexdigest(parts.encode("utf-8", "surrogateescape"))

    def create(
        self, location: ResourceLocation, status: Status, items: Sequence[Item], fill: Filling | None = None
    ) -> bool:
        """Make a database, with the rows that `fill` puts in; durable on return. False if there is one already.

        Its content and the folders above it are durable before it gets its name, so a reader may rely on
        it; its name is flushed by the log that its first writer makes beside it, and here before returning. A crash
        leaves at most a file in the device's temporary folder. Raises DeviceFull, OSError.
        """
        image = new_image(self.schema, location.path, status, items, self.new_id(location.file), fill)
        self._devices.check_space(location.device, len(image))
        with self.temporary_file(location) as temporary:
            changed = self.threads_of(location).call(files.make_directories, location.directory)
            self._flush_file(location, temporary, image, changed)
            return self.install(location, temporary)

    @contextmanager
    def temporary_file(self, location: DatabaseLocation) -> Iterator[str]:
        """The name of a file on the same device, which is removed in the end."""
        folder = f"{location.root}/{TEMPORARY_FOLDER}"
        threads = self.threads_of(location)
        threads.call(files.make_directories, folder)
        name = files.temporary_name(f"{folder}/{location.hash}.db")
        try:
            yield name
        finally:
            threads.call(files.unlink_quietly, name)

    def install(self, location: DatabaseLocation, temporary: str) -> bool:
        """Give a flushed file its place; durable on return. False if there is a database already. Raises OSError."""
        call = self.threads_of(location).call
        try:
            call(os.link, temporary, location.file)
        except FileExistsError:
            return False
        call(files.fsync_directory, location.directory)
        call(files.unlink_quietly, location.repair_mark)
        return True

    def is_of(self, location: DatabaseLocation, account: str, container: str) -> bool:
        """Whether the database of this resource belongs there."""
        return self._hasher.hexdigest(ResourcePath(account, container)) == location.hash

    def threads_of(self, location: DatabaseLocation) -> ThreadGroup:
        """The threads of its device, for calls that may block on it."""
        return self._runtime.threads.of(location.root)

    @staticmethod
    def awaits_repair(location: DatabaseLocation) -> bool:
        """Whether a damaged one was quarantined, and none has taken its place yet."""
        return os.path.exists(location.repair_mark) and not os.path.exists(location.file)

    def _flush_file(self, location: DatabaseLocation, name: str, content: bytes, changed: list[str]) -> None:
        """Write a file and make it durable, and the folders that have new entries with it."""
        with ExitStack() as opened:
            descriptor = self.threads_of(location).call(_written, name, content)
            # Closed before the file gets its final name: closing it later would drop SQLite's locks (`database`).
            opened.callback(os.close, descriptor)
            self._runtime.flusher.flush(descriptor, everything=bool(changed))

    def _database(self, location: DatabaseLocation) -> Database:
        file = location.file
        if self._owner != os.getpid():
            # Connections must not be used, nor even closed, on the other side of a fork: the parent's are kept.
            self._owner = os.getpid()
            self._inherited = self._open
            self._open = OrderedDict()
        threads = self.threads_of(location)
        try:
            # The kernel has all that this asks for of an open file; of another it may have to read the disk.
            if file in self._open and not threads.is_stalled:
                inode = _inode(location)
            else:
                inode = threads.call_within(HUNG_SECONDS, _inode, location)
        except (DatabaseAbsent, DatabaseAwaitsRepair):
            self._forget(file)
            raise
        except WaitTimeout:
            raise DatabaseFailed(file, "the disk does not answer") from None
        database = self._open.get(file)
        if database is not None:
            if database.inode == inode:
                self._open.move_to_end(file)
                return database
            self._forget(file)
        database = self._open[file] = Database(file, inode, self._runtime, threads, self._upgrade)
        if len(self._open) > self._open_max:
            self._close_oldest()
        return database

    def _close_oldest(self) -> None:
        for file, database in self._open.items():
            if not database.users:
                self._forget(file)
                return

    def _forget(self, file: str) -> None:
        if (database := self._open.pop(file, None)) is not None:
            concurrency.spawn(self._close, database)

    @staticmethod
    def _close(database: Database) -> None:
        while database.users:
            concurrency.sleep(0.1)
        database.threads.call(database.close)

    def _quarantine(self, place: DatabaseLocation, error: DatabaseCorrupt) -> None:
        log = self._runtime.log
        try:
            target = self.threads_of(place).call(_quarantine, place)
            log.error("database quarantined", file=place.file, target=target, reason=error.reason)
        except OSError as trouble:
            log.error("database not quarantined", file=place.file, reason=error.reason, error=str(trouble))


def _written(name: str, content: bytes) -> int:
    """A descriptor of a new file with this content."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, files.FILE_MODE)
    try:
        files.write_all(descriptor, content)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _inode(location: DatabaseLocation) -> int:
    """Raises DatabaseAbsent, DatabaseAwaitsRepair."""
    try:
        return os.stat(location.file).st_ino
    except FileNotFoundError:
        if os.path.exists(location.repair_mark):
            raise DatabaseAwaitsRepair(location.file) from None
        raise DatabaseAbsent(location.file) from None


def _quarantine(location: DatabaseLocation) -> str:
    # Marked first: a crash in between leaves a damaged database, which the next reader finds damaged again.
    leave_mark(location.repair_mark)
    files.fsync_directory(os.path.dirname(location.repair_mark))
    return files.move_aside(location.directory, location.quarantine)


AnyStore = DatabaseStore[Any]
