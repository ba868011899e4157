"""What container and account servers have in common: HEAD, GET, POST and UPDATE of a resource and its rows."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, Final, Generic

from msgspec import Struct

from objstore.batching import BatchAbandoned, BatcherFull
from objstore.cluster import Cluster
from objstore.db.connection import DatabaseAbsent, DatabaseAwaitsRepair, DatabaseBusy, DatabaseCorrupt, DatabaseFailed
from objstore.db.database import BUSY_TIMEOUT_SECONDS, Database
from objstore.db.info import Info, items_at, merge_metadata, read_info, read_metadata, read_status, read_totals
from objstore.db.listing import CONTENT_TYPES, Format, Listing, Query, parse_query, xml_document
from objstore.db.location import ResourceLocation
from objstore.db.messages import METHOD
from objstore.db.replication_server import DatabaseReplicationServer
from objstore.db.rows import RowUpdates
from objstore.db.schema import Row, TableSchema
from objstore.db.status import Status
from objstore.db.store import DatabaseStore
from objstore.headers import Backend, Client, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response, WsgiServer
from objstore.limits import Limits, check_metadata, check_path, text_of
from objstore.mounts import DeviceRoot
from objstore.paths import ResourcePath
from objstore.runtime import Runtime
from objstore.system.concurrency import Semaphore, WaitTimeout
from objstore.timestamps import Timestamp


def allows_reserved(request: Request) -> bool:
    """Whether names that begin with NUL may be used and are listed."""
    return is_true(request.header(Backend.ALLOW_RESERVED_NAMES))


def timestamp_of(request: Request) -> str:
    """When the write happened, in the internal form. Raises HttpError 400."""
    text = request.header(Client.TIMESTAMP)
    if text is None:
        raise HttpError(400, "Missing X-Timestamp header")
    try:
        return Timestamp.parse(text).internal
    except ValueError:
        raise HttpError(400, f"Invalid X-Timestamp header {text[:40]!r}") from None


def policy_index_of(request: Request, header: str) -> int | None:
    """The policy a header names by its index, None without the header. Raises HttpError 400."""
    text = request.header(header)
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise HttpError(400, f"Invalid {header} {text[:40]!r}")
    return int(text)


def split_path(request: Request, limits: Limits, parts: int, kind: str) -> tuple[str, str, ResourcePath]:
    """Device, partition and resource of /device/partition/account[/container]; `parts` of these must be there.

    Raises HttpError 400, or 412 if the path is not UTF-8.
    """
    found = text_of(request.path, allow_nul=True).split("/", parts)
    if len(found) != parts + 1 or found[0] or not all(found[1:]):
        raise HttpError(400, f"The path does not name one {kind}")
    path = ResourcePath(*found[3:])
    check_path(limits, path)
    last = path.container or path.account
    # Rows are taken for resources that exist, however they came to be.
    if last[0] == "\0" and request.method not in ("UPDATE", "REPLICATE") and not allows_reserved(request):
        raise HttpError(400, "Reserved names are for internal use")
    if "\0" in last[1:] and last[0] != "\0":
        raise HttpError(412, "Invalid UTF8 or contains NULL")
    return found[1], found[2], path


# A page of more rows than this takes long enough to be read on a thread.
ROWS_AT_ONCE_MAX: Final = 200
# Pages that long take megabytes each while they are made, and more of them at a time are none the faster.
LONG_PAGES_MAX: Final = 2
UPDATE_BYTES_MAX: Final = 8 * 1024 * 1024
UPDATE_ROWS_MAX: Final = 10_000


class Totals(Struct, frozen=True, gc=False):
    """How a resource stands inside a transaction."""

    status: Status
    figures: dict[int, tuple[int, ...]]
    gone: bool

    @property
    def row_count(self) -> int:
        return sum(figures[0] for figures in self.figures.values())


class DatabaseServer(WsgiServer, Generic[Row]):
    """A server of one kind of database. PUT and DELETE, in which the kinds differ, are theirs."""

    path_parts: ClassVar[int]  # of /device/partition/account[/container]
    user_prefix: ClassVar[str]  # of the headers that are users' metadata
    metadata_prefixes: ClassVar[tuple[str, ...]]
    metadata_names: ClassVar[tuple[str, ...]]  # headers that are metadata besides

    def __init__(
        self,
        schema: TableSchema[Row],
        decode_rows: Callable[[bytes], list[Row]],
        listing_limit_max: int,
        cluster: Cluster,
        devices: DeviceRoot,
        runtime: Runtime,
    ) -> None:
        self.schema = schema
        self.cluster = cluster
        self.runtime = runtime
        self.store = DatabaseStore(schema, cluster, devices, runtime)
        self._decode_rows = decode_rows
        self._listing_limit_max = listing_limit_max
        self._listing = Listing(schema)
        self._long_pages = Semaphore(LONG_PAGES_MAX)
        self._updates = RowUpdates(schema, self.store, runtime.clock)
        self._answering = DatabaseReplicationServer(schema, self.store, devices, runtime, self.totals_changed)
        self._verbs: dict[str, Callable[[Request, ResourceLocation], Response]] = {
            "HEAD": self.head,
            "GET": self.get,
            "PUT": self.put,
            "POST": self.post,
            "DELETE": self.delete,
            "UPDATE": self.update,
        }

    @abstractmethod
    def put(self, request: Request, location: ResourceLocation) -> Response:
        """Create it or bring it back, and set metadata."""

    @abstractmethod
    def delete(self, request: Request, location: ResourceLocation) -> Response:
        """Delete it."""

    @abstractmethod
    def create_on_demand(self, request: Request, location: ResourceLocation) -> bool:
        """Create or bring back what rows arrived for, if it is of the kind that needs no PUT; says whether."""

    @abstractmethod
    def describe(self, info: Info) -> dict[str, str]:
        """The headers that tell of its figures."""

    @abstractmethod
    def totals_changed(self, location: ResourceLocation) -> None:
        """The database's totals, or its existence, have just changed."""

    def handle(self, request: Request) -> Response:
        verb = self._verbs.get(request.method)
        try:
            if verb is not None:
                return verb(request, self._locate(request))
            if request.method == METHOD:
                return self._answering.handle(request, self._locate)
        except DatabaseAbsent:
            raise HttpError(404) from None
        except (BatcherFull, BatchAbandoned, DatabaseBusy) as error:
            raise HttpError(503, str(error), {Client.RETRY_AFTER: "1"}) from error
        except DatabaseAwaitsRepair as error:
            raise HttpError(503, "The database is being repaired", {Client.RETRY_AFTER: "5"}) from error
        except DatabaseCorrupt as error:
            raise HttpError(500, "The database is corrupt") from error
        except (DatabaseFailed, OSError) as error:
            self.runtime.log.error("disk failed", path=request.path, error=str(error))
            raise HttpError(507, "The device failed") from error
        raise HttpError(405, headers={"Allow": ", ".join(sorted(self._verbs))})

    def _locate(self, request: Request) -> ResourceLocation:
        return self.store.locate(*split_path(request, self.cluster.limits, self.path_parts, self.schema.kind))

    def report(self, request: Request, error: Exception) -> None:
        self.runtime.log.exception("request failed", method=request.method, path=request.path, error=repr(error))

    def head(self, _request: Request, location: ResourceLocation) -> Response:
        """Answer HEAD: status, totals and metadata, without rows."""
        with self.store.opened(location) as database:
            return Response(204, self._headers(self._existing(database)))

    def get(self, request: Request, location: ResourceLocation) -> Response:
        """A listing in the format asked for."""
        query = parse_query(request.query, self._listing_limit_max, allows_reserved(request))
        with self.store.opened(location) as database:
            info = self._existing(database)
            body = self.page(database, query, info, location, request)
        headers = self._headers(info)
        headers[Client.CONTENT_TYPE] = CONTENT_TYPES[query.format]
        return Response(200 if body else 204, headers, body)

    def post(self, request: Request, location: ResourceLocation) -> Response:
        """Set and remove single items of metadata."""
        timestamp, metadata = timestamp_of(request), self.metadata_of(request)

        def change(connection: sqlite3.Connection) -> None:
            if self.totals_of(connection).gone:
                raise self.absent(read_info(connection))
            self.set_metadata(connection, metadata, timestamp)

        with self.store.opened(location) as database:
            database.write(change)
        return Response(204)

    def update(self, request: Request, location: ResourceLocation) -> Response:
        rows = self._rows_of(request)
        try:
            changed = self._updates.merge(location, rows)
        except DatabaseAbsent:
            if not self.create_on_demand(request, location):
                raise
            changed = self._updates.merge(location, rows)
        if changed:
            self.totals_changed(location)
        return Response(202, self.merged(location, rows))

    def merged(self, _location: ResourceLocation, _rows: Sequence[Row]) -> dict[str, str]:
        """Headers that tell the sender of rows how they fared."""
        return {}

    def put_anew(self, location: ResourceLocation, status: Status, metadata: Mapping[str, str], timestamp: str) -> bool:
        """Create its database; False if another request or process was faster."""
        check_metadata(self.cluster.limits, self.user_prefix, metadata)
        return self.store.create(location, status, items_at(metadata, timestamp))

    def totals_of(self, connection: sqlite3.Connection) -> Totals:
        totals = Totals(read_status(connection), read_totals(connection), False)
        gone = self.schema.is_gone(totals.status, totals.row_count)
        return Totals(totals.status, totals.figures, gone)

    def metadata_of(self, request: Request) -> dict[str, str]:
        """The metadata a request sets; an empty value removes."""
        found = {name: value for name in self.metadata_names if (value := request.header(name)) is not None}
        for prefix in self.metadata_prefixes:
            found |= request.headers_with_prefix(prefix)
        check_metadata(self.cluster.limits, self.user_prefix, found)
        return found

    def set_metadata(self, connection: sqlite3.Connection, items: Mapping[str, str], timestamp: str) -> None:
        """Merge items in a transaction. Raises HttpError 400 if the whole becomes too large."""
        if items:
            merge_metadata(connection, items_at(items, timestamp))
            check_metadata(self.cluster.limits, self.user_prefix, read_metadata(connection))

    def absent(self, info: Info) -> HttpError:
        """The answer for one that is deleted: with its timestamps, since the newest answer counts."""
        return HttpError(404, headers=status_headers(info.status))

    def _existing(self, database: Database) -> Info:
        info = database.read(read_info)
        if self.schema.is_gone(info.status, info.row_count):
            raise self.absent(info)
        return info

    def _headers(self, info: Info) -> dict[str, str]:
        modified = {Client.LAST_MODIFIED: Timestamp.parse(info.modified).http_date}
        return status_headers(info.status) | modified | self.describe(info) | info.metadata

    def page(self, database: Database, query: Query, info: Info, location: ResourceLocation, request: Request) -> bytes:
        """A page of the listing, in the query's format."""
        if min(query.limit, info.row_count) <= ROWS_AT_ONCE_MAX:
            return self._rendered(database, query, info, location, long=False)
        with self.long_page(location):
            return self._rendered(database, query, info, location, long=True)

    @contextmanager
    def long_page(self, location: ResourceLocation) -> Iterator[None]:
        """Few long pages are made at a time: others wait. Raises DatabaseBusy."""
        try:
            self._long_pages.acquire(BUSY_TIMEOUT_SECONDS)
        except WaitTimeout:
            raise DatabaseBusy(location.file) from None
        try:
            yield
        finally:
            self._long_pages.release()

    def _rendered(self, database: Database, query: Query, info: Info, location: ResourceLocation, long: bool) -> bytes:
        page = database.read(lambda connection: self._listing.read(connection, query, info.status.policy_index), long)
        if query.format is not Format.XML:
            return page
        name = location.path.container or location.path.account
        arguments = (page, self.schema.kind, name, self.schema.listed_as)
        return self.runtime.threads.call(xml_document, *arguments) if long else xml_document(*arguments)

    def _rows_of(self, request: Request) -> list[Row]:
        rows = self._decode_rows(request.whole_body(UPDATE_BYTES_MAX))
        if len(rows) > UPDATE_ROWS_MAX:
            raise HttpError(413, f"At most {UPDATE_ROWS_MAX} rows")
        return [self.schema.checked(row) for row in rows]


def status_headers(status: Status) -> dict[str, str]:
    """The timestamps of a resource as other servers read them, and its age as clients see it."""
    return {
        Client.TIMESTAMP: Timestamp.parse(status.created_at).normal,
        Backend.LISTED_PUT_TIMESTAMP: Timestamp.parse(status.put_timestamp).normal,
        Backend.TIMESTAMP: status.created_at,
        Backend.PUT_TIMESTAMP: status.put_timestamp,
        Backend.DELETE_TIMESTAMP: status.delete_timestamp,
        Backend.STATUS_CHANGED_AT: status.status_changed_at,
    }
