"""Transfer of whole databases between servers, as snapshots of one moment."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import FileIO
from itertools import islice
from typing import Final, Generic
from urllib.parse import quote

import xxhash

from objstore.db.connection import FORMAT_VERSION, DatabaseCorrupt
from objstore.db.database import Database
from objstore.db.info import read_items
from objstore.db.location import DatabaseLocation, ResourceLocation
from objstore.db.merging import Merger
from objstore.db.messages import RowBatch
from objstore.db.schema import Row, TableSchema
from objstore.db.store import DatabaseStore
from objstore.db.summary import Summary, advance, summary_of
from objstore.db.tables import JOURNAL_BYTES, WRITE_AHEAD_LOG, Upgrade, stored_rows, upgrade
from objstore.headers import Backend
from objstore.http.errors import HttpError
from objstore.http.messages import BodyReader
from objstore.http.transport import BackendBody, BackendRequest, Transport
from objstore.mounts import DeviceRoot
from objstore.runtime import Runtime
from objstore.system import files
from objstore.system.threads import ThreadGroup

CHUNK_BYTES: Final = 1024 * 1024
ROWS_READ_AT_ONCE: Final = 512


class SnapshotBody:
    """A snapshot on its way out."""

    def __init__(self, file: FileIO, threads: ThreadGroup) -> None:
        self.file = file
        self._call = threads.call
        self.length: int | None = os.fstat(file.fileno()).st_size

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._call(self.file.read, CHUNK_BYTES):
            yield chunk

    def close(self) -> None:
        self.file.close()


class Snapshots(Generic[Row]):
    def __init__(
        self,
        schema: TableSchema[Row],
        store: DatabaseStore[Row],
        devices: DeviceRoot,
        runtime: Runtime,
    ) -> None:
        self._schema = schema
        self._store = store
        self._devices = devices
        self._runtime = runtime
        self._merger = Merger(schema, runtime)

    def send(
        self,
        database: Database,
        location: ResourceLocation,
        transport: Transport,
        request: BackendRequest,
        timeout: float,
    ) -> int:
        """Copy the database as it is at one moment, while others write, and send it; the status answered.

        Raises NodeFailure, DeviceFull, OSError, and as Database.read.
        """
        call = self._store.threads_of(location).call
        with self._copied(database, location) as copy, open(copy, "rb", buffering=0) as file:
            length = os.fstat(file.fileno()).st_size
            upload = transport.start_upload(request, length, timeout)
            refusal = upload.expect()
            if refusal is None:
                digest = xxhash.xxh3_128()
                while chunk := call(file.read, CHUNK_BYTES):
                    digest.update(chunk)
                    upload.write(chunk)
                upload.finish({Backend.BODY_CHECKSUM: digest.hexdigest()})
                refusal = upload.response()
            refusal.close()
            return refusal.status

    def offer(self, location: DatabaseLocation) -> tuple[SnapshotBody, str]:
        """A copy of the database as it is at one moment, to be sent, and its xxh3-128.

        Raises DeviceFull, OSError, and as DatabaseStore.opened and Database.read.
        """
        with self._store.opened(location) as database, self._copied(database, location) as copy:
            # The file has no name any more when this returns: it goes when the body is closed.
            body = SnapshotBody(FileIO(copy), self._store.threads_of(location))
        digest = xxhash.xxh3_128()
        for chunk in body:
            digest.update(chunk)
        body.file.seek(0)
        return body, digest.hexdigest()

    def fetch(self, location: DatabaseLocation, body: BackendBody, digest: str) -> None:
        """Take in a snapshot that a peer offered. Raises as `receive`, and NodeFailure."""
        self._devices.check_space(location.device_name, body.length or 0)
        with self._store.temporary_file(location) as copy:
            if self._save(location, copy, body) != digest:
                raise HttpError(422, "The snapshot does not match its checksum")
            self._install(location, copy)

    @contextmanager
    def _copied(self, database: Database, location: DatabaseLocation) -> Iterator[str]:
        """The name of a copy of the database, which is durable where it was copied from."""
        self._devices.check_space(location.device_name, os.stat(location.file).st_size)
        with self._store.temporary_file(location) as copy:
            database.flush()
            database.read(lambda connection: connection.execute("VACUUM INTO ?", (copy,)).fetchall(), long=True)
            yield copy

    def receive(self, location: ResourceLocation, body: BodyReader, length: int) -> bool:
        """Take a snapshot in; durable on return. True if it became the database, False if it was merged into one.

        Raises HttpError 400, 422 for one that is not as it should be, DeviceFull, OSError, and as Database.write.
        """
        self._devices.check_space(location.device, length)
        with self._store.temporary_file(location) as copy:
            if self._save(location, copy, body) != body.trailers.get(Backend.BODY_CHECKSUM):
                raise HttpError(422, "The snapshot does not match its checksum")
            return self._install(location, copy)

    def _install(self, location: DatabaseLocation, copy: str) -> bool:
        try:
            source = self._store.threads_of(location).call(self._adopt, location, copy)
            with open(copy, "rb") as file:
                changed = self._store.threads_of(location).call(files.make_directories, location.directory)
                self._runtime.flusher.flush(file.fileno(), everything=bool(changed))
            if self._store.install(location, copy):
                return True
            self._merge(location, copy, source)
        except (sqlite3.Error, DatabaseCorrupt) as error:
            raise HttpError(422, f"Not a database of this resource: {error}") from error
        return False

    def _save(self, location: DatabaseLocation, copy: str, body: BodyReader) -> str:
        """Write what arrives to a file; its xxh3-128."""
        digest = xxhash.xxh3_128()
        with open(copy, "wb", buffering=0) as file:
            while chunk := body.read(CHUNK_BYTES):
                digest.update(chunk)
                self._store.threads_of(location).call(files.write_all, file.fileno(), chunk)
        return digest.hexdigest()

    def _adopt(self, location: DatabaseLocation, copy: str) -> Summary:
        """Make the copy a replica of its own, which has merged all that its source held; the source's. Blocks."""
        with closing(_opened(copy, "rw")) as connection:
            _upgrade_if_older(connection, copy, upgrade(self._schema, lambda: self._store.new_id(copy)))
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN IMMEDIATE")
            source = summary_of(connection)
            if not self._store.is_of(location, source.account, source.container):
                raise HttpError(422, "The snapshot is of another resource")
            connection.execute("UPDATE resource SET id = ?, promises = 0", (self._store.new_id(location.file),))
            connection.execute(self._schema.forgotten)
            advance(connection, {source.id: source.sequence}, self._runtime.clock.timestamp().internal)
            connection.execute("COMMIT")
        with open(copy, "r+b", buffering=0) as file:
            file.seek(JOURNAL_BYTES.start)
            file.write(WRITE_AHEAD_LOG)
        return source

    def _merge(self, location: DatabaseLocation, copy: str, source: Summary) -> None:
        call = self._store.threads_of(location).call
        # Nobody else knows of the copy, and it changes no more.
        with closing(_opened(copy, "ro&immutable=1")) as connection, self._store.opened(location) as database:
            for deleted in (True, False):
                rows = stored_rows(connection, self._schema, deleted)
                while part := call(_some, rows):
                    self._merger.merge_rows(database, part)
            whole: RowBatch[Row] = RowBatch(
                sender=source.id,
                after=0,
                upto=source.sequence,
                sequence=source.sequence,
                points=source.points,
                status=source.status,
                items=call(read_items, connection),
                rows=[],
            )
            self._merger.merge(database, whole)


def _opened(file: str, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(file)}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False)


def _upgrade_if_older(connection: sqlite3.Connection, file: str, upgrade_it: Upgrade) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 < version <= FORMAT_VERSION:
        raise DatabaseCorrupt(file, f"format {version}, expected {FORMAT_VERSION}")
    if version < FORMAT_VERSION:
        upgrade_it(connection)


def _some(rows: Iterator[Row]) -> list[Row]:
    return list(islice(rows, ROWS_READ_AT_ONCE))
