"""The container server: containers, and the objects they list."""

from __future__ import annotations

import sqlite3
from typing import ClassVar, Final

import msgspec

from objstore.cluster import Cluster
from objstore.config.container import ContainerConfig
from objstore.container.reports import (
    AccountReplica,
    AccountReporter,
    account_replicas_of,
    leave_report_mark,
    report_of,
)
from objstore.container.row_pages import NAMES_MAX, PageQuery, RowPages
from objstore.container.rows import ContainerSchema
from objstore.container.versions import VersionListing
from objstore.db.connection import DatabaseAbsent
from objstore.db.database import Database
from objstore.db.info import Info, clear_metadata, write_status
from objstore.db.listing import Query, parse_query
from objstore.db.location import ResourceLocation
from objstore.db.server import DatabaseServer, Totals, allows_reserved, policy_index_of, timestamp_of
from objstore.db.status import NEVER, after_delete, after_put, new_status
from objstore.headers import CONTAINER_OWNER_HEADERS, Backend, Client, Sysmeta, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response
from objstore.http.transport import Transport
from objstore.mounts import DeviceRoot
from objstore.policies import UnknownPolicy
from objstore.rows import ObjectRow, decode_object_rows, encode_rows
from objstore.runtime import Runtime

# Of NAMES_MAX names in JSON, where a character may take six times its bytes.
NAMES_BYTES_MAX: Final = 8 * 1024 * 1024


class ContainerServer(DatabaseServer[ObjectRow]):
    """Serves the containers on the devices of one machine, and tells account servers of them."""

    path_parts: ClassVar = 4
    user_prefix: ClassVar = Client.CONTAINER_META_PREFIX
    metadata_prefixes: ClassVar = (Client.CONTAINER_META_PREFIX, Sysmeta.CONTAINER_PREFIX)
    metadata_names: ClassVar = tuple(CONTAINER_OWNER_HEADERS.values())

    def __init__(
        self,
        config: ContainerConfig,
        cluster: Cluster,
        devices: DeviceRoot,
        transport: Transport,
        runtime: Runtime,
    ) -> None:
        super().__init__(
            ContainerSchema(cluster.limits),
            decode_object_rows,
            cluster.limits.container_listing_limit,
            cluster,
            devices,
            runtime,
        )
        self._versions = VersionListing(self.schema)
        self._strong = frozenset(policy.index for policy in cluster.policies if policy.is_strong)
        self._row_pages = RowPages(self.schema)
        self._verbs["ROWS"] = self.rows
        self._reporter = AccountReporter(transport, config.backend.node_timeout, runtime.log)

    def page(self, database: Database, query: Query, info: Info, location: ResourceLocation, request: Request) -> bytes:
        """A page of the listing; of one of all versions, in JSON."""
        if not is_true(request.query.get("versions")):
            return super().page(database, query, info, location, request)
        if not query.limit:
            return b"[]"
        marker = request.query.get("version_marker", "")
        policy_index = info.status.policy_index
        with self.long_page(location):
            return database.read(
                lambda connection: self._versions.read(connection, query, marker, policy_index), long=True
            )

    def get(self, request: Request, location: ResourceLocation) -> Response:
        """A listing in the format asked for, or a page of rows of a policy, also if the container is deleted."""
        if "rows" not in request.query:
            return super().get(request, location)
        query = parse_query(request.query, self.cluster.limits.container_listing_limit, allows_reserved(request))
        wanted, policy_index = PageQuery.of(request.query), policy_index_of(request, Backend.POLICY_INDEX) or 0
        with self.store.opened(location) as database, self.long_page(location):
            page = database.read(
                lambda connection: self._row_pages.read(connection, query, wanted, policy_index), long=True
            )
        return Response(200, body=msgspec.json.encode(page))

    def rows(self, request: Request, location: ResourceLocation) -> Response:
        """All rows of some names in a policy, tombstones among them, also if the container is deleted."""
        try:
            names = msgspec.json.decode(request.whole_body(NAMES_BYTES_MAX), type=list[str])
        except msgspec.MsgspecError as error:
            raise HttpError(400, f"Bad names: {error}") from None
        if len(names) > NAMES_MAX:
            raise HttpError(413, f"At most {NAMES_MAX} names")
        policy_index = policy_index_of(request, Backend.POLICY_INDEX) or 0
        with self.store.opened(location) as database:
            found = database.read(
                lambda connection: self._row_pages.of_names(connection, names, policy_index), long=True
            )
        return Response(200, body=encode_rows(found))

    def put(self, request: Request, location: ResourceLocation) -> Response:
        """Create it or bring it back, set metadata, and tell its account."""
        timestamp, metadata, targets = timestamp_of(request), self.metadata_of(request), account_replicas_of(request)
        wanted = self._known_policy(request, Backend.POLICY_INDEX)
        default = self._known_policy(request, Backend.POLICY_DEFAULT)

        def change(connection: sqlite3.Connection) -> tuple[bool, Totals]:
            totals = self.totals_of(connection)
            created = self._put_existing(connection, totals, timestamp, wanted, default)
            self.set_metadata(connection, metadata, timestamp)
            return created, self.totals_of(connection)

        try:
            with self.store.opened(location) as database:
                created, totals = database.write(change)
        except DatabaseAbsent:
            status = new_status(timestamp, self._policy(wanted, default))
            created, totals = True, Totals(status, {}, False)
            if not self.put_anew(location, status, metadata, timestamp):
                with self.store.opened(location) as database:
                    created, totals = database.write(change)
        self.totals_changed(location)
        # One that has just been made may be a handoff's, and lack what the primaries have: its figures say nothing.
        self._tell(request, location, targets, totals, NEVER)
        return Response(201 if created else 202, {Backend.POLICY_INDEX: str(totals.status.policy_index)})

    def delete(self, request: Request, location: ResourceLocation) -> Response:
        """Delete it if it is empty, and tell its account."""
        timestamp, targets = timestamp_of(request), account_replicas_of(request)

        def change(connection: sqlite3.Connection) -> tuple[bool, Totals]:
            totals = self.totals_of(connection)
            if totals.row_count:
                raise HttpError(409, "The container is not empty")
            if totals.status.put_timestamp >= timestamp:
                raise HttpError(409, headers={Backend.TIMESTAMP: totals.status.put_timestamp})
            write_status(connection, after_delete(totals.status, timestamp))
            clear_metadata(connection, timestamp)
            return not totals.gone, self.totals_of(connection)

        with self.store.opened(location) as database:
            existed, totals = database.write(change)
        self.totals_changed(location)
        self._tell(request, location, targets, totals, self.runtime.clock.timestamp().internal)
        return Response(204 if existed else 404)

    def create_on_demand(self, request: Request, location: ResourceLocation) -> bool:
        if not self.cluster.limits.is_internal_account(location.path.account):
            return False
        timestamp = self.runtime.clock.timestamp().internal
        policy_index = self._policy(self._known_policy(request, Backend.POLICY_INDEX), None)
        if not self.put_anew(location, new_status(timestamp, policy_index), {}, timestamp):
            with self.store.opened(location) as database:
                database.write(
                    lambda connection: self._put_existing(
                        connection, self.totals_of(connection), timestamp, None, policy_index
                    )
                )
        return True

    def describe(self, info: Info) -> dict[str, str]:
        """The totals of its own policy: misplaced objects are not listed, and so not counted."""
        policy_index = info.status.policy_index
        rows, used, versions = info.totals.get(policy_index, (0, 0, 0))
        headers = {
            Client.CONTAINER_OBJECT_COUNT: str(rows - versions),
            Backend.VERSION_COUNT: str(versions),
            Client.CONTAINER_BYTES_USED: str(used),
            Backend.POLICY_INDEX: str(policy_index),
        }
        if policy_index in self._strong:
            headers |= {Backend.MODIFIED: info.modified, Backend.ROWS_DIGEST: str(info.live_digest)}
        return headers

    def totals_changed(self, location: ResourceLocation) -> None:
        """Have the updater report it."""
        leave_report_mark(location, self.runtime.threads)

    def _put_existing(
        self,
        connection: sqlite3.Connection,
        totals: Totals,
        timestamp: str,
        wanted: int | None,
        default: int | None,
    ) -> bool:
        """Put a container that has a database, inside a transaction; says whether it came back to life.

        Raises HttpError 409 if it lives under another policy, or was deleted after `timestamp`.
        """
        status = totals.status
        policy_index = status.policy_index
        if totals.gone:
            policy_index = self._policy(wanted, default)
        elif wanted is not None and wanted != policy_index:
            raise HttpError(409, "The container has another policy", {Backend.POLICY_INDEX: str(policy_index)})
        after = after_put(status, timestamp, policy_index)
        if after.deleted and totals.gone:
            raise HttpError(409, headers={Backend.TIMESTAMP: status.delete_timestamp})
        write_status(connection, after)
        return totals.gone

    def _known_policy(self, request: Request, header: str) -> int | None:
        index = policy_index_of(request, header)
        if index is not None:
            try:
                self.cluster.policies.by_index(index)
            except UnknownPolicy as error:
                raise HttpError(400, str(error)) from None
        return index

    def _policy(self, wanted: int | None, default: int | None) -> int:
        """The policy of a new container: the one asked for, the proxy's default, or the cluster's."""
        if wanted is not None:
            return wanted
        return self.cluster.policies.default.index if default is None else default

    def _tell(
        self,
        request: Request,
        location: ResourceLocation,
        targets: list[AccountReplica],
        totals: Totals,
        stats_timestamp: str,
    ) -> None:
        """Tell the account servers the request names. Raises HttpError 404 if they agree that it is not there.

        The updater reports to the servers that this does not reach.
        """
        if not targets:
            return
        path = location.path
        row = report_of(totals.status, totals.figures).row(path.container, stats_timestamp)
        told = self._reporter.tell(targets, path.account, row, request)
        if all(status == 404 for status in told.statuses):
            raise HttpError(404, "The account is not there")
