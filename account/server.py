"""The account server: accounts, and the containers they list."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import msgspec

from objstore.account.rows import AccountSchema
from objstore.cluster import Cluster
from objstore.config.account import AccountConfig
from objstore.db.connection import DatabaseAbsent
from objstore.db.info import Info, clear_metadata, write_status
from objstore.db.location import ResourceLocation
from objstore.db.server import DatabaseServer, timestamp_of
from objstore.db.status import after_delete, after_put, new_status
from objstore.headers import Backend, Client, Sysmeta, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response
from objstore.mounts import DeviceRoot
from objstore.rows import ContainerRow, decode_container_rows
from objstore.runtime import Runtime

DELETED: dict[str, str] = {Client.ACCOUNT_STATUS: "Deleted"}


class AccountServer(DatabaseServer[ContainerRow]):
    path_parts: ClassVar = 3
    user_prefix: ClassVar = Client.ACCOUNT_META_PREFIX
    metadata_prefixes: ClassVar = (Client.ACCOUNT_META_PREFIX, Sysmeta.ACCOUNT_PREFIX)
    metadata_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, _config: AccountConfig, cluster: Cluster, devices: DeviceRoot, runtime: Runtime) -> None:
        super().__init__(
            AccountSchema(cluster.limits, cluster.policies),
            decode_container_rows,
            cluster.limits.account_listing_limit,
            cluster,
            devices,
            runtime,
        )

    def put(self, request: Request, location: ResourceLocation) -> Response:
        """Create it. One that is deleted must be reaped before its name can be used again: 403."""
        timestamp, metadata = timestamp_of(request), self.metadata_of(request)

        def change(connection: sqlite3.Connection) -> None:
            totals = self.totals_of(connection)
            if totals.gone:
                raise HttpError(403, "Recently deleted", dict(DELETED))
            write_status(connection, after_put(totals.status, timestamp, 0))
            self.set_metadata(connection, metadata, timestamp)

        try:
            with self.store.opened(location) as database:
                database.write(change)
        except DatabaseAbsent:
            if self.put_anew(location, new_status(timestamp), metadata, timestamp):
                return Response(201)
            with self.store.opened(location) as database:
                database.write(change)
        return Response(202)

    def delete(self, request: Request, location: ResourceLocation) -> Response:
        """Mark it deleted; what it holds is left to be reaped."""
        timestamp = timestamp_of(request)

        def change(connection: sqlite3.Connection) -> bool:
            totals = self.totals_of(connection)
            if totals.status.put_timestamp >= timestamp:
                raise HttpError(409, headers={Backend.TIMESTAMP: totals.status.put_timestamp})
            write_status(connection, after_delete(totals.status, timestamp))
            clear_metadata(connection, timestamp)
            return not totals.gone

        with self.store.opened(location) as database:
            existed = database.write(change)
        return Response(204) if existed else Response(404, dict(DELETED))

    def create_on_demand(self, request: Request, location: ResourceLocation) -> bool:
        """Internal accounts, and any if the proxy says so; not one that waits to be reaped."""
        account = location.path.account
        internal = self.cluster.limits.is_internal_account(account)
        if not internal and not is_true(request.header(Backend.ACCOUNT_AUTOCREATE)):
            return False
        timestamp = self.runtime.clock.timestamp().internal
        self.put_anew(location, new_status(timestamp), {}, timestamp)
        return True

    def merged(self, location: ResourceLocation, rows: Sequence[ContainerRow]) -> dict[str, str]:
        """The timestamp of newer totals of the container, if the row that was sent did not have the newest."""
        if len(rows) != 1:
            return {}
        (row,) = rows
        with self.store.opened(location) as database:
            newest = database.read(partial(_stats_timestamp, row.name))
        return {Backend.STATS_TIMESTAMP: newest} if newest > row.stats_timestamp else {}

    def describe(self, info: Info) -> dict[str, str]:
        """Headers of the totals, in all and by policy."""
        stats = {
            str(policy): {"containers": containers - hidden, "objects": objects, "bytes": used}
            for policy, (containers, objects, used, hidden) in info.totals.items()
        }
        return {
            Client.ACCOUNT_CONTAINER_COUNT: str(info.total(0) - info.total(3)),
            Client.ACCOUNT_OBJECT_COUNT: str(info.total(1)),
            Client.ACCOUNT_BYTES_USED: str(info.total(2)),
            Backend.POLICY_STATS: msgspec.json.encode(stats).decode(),
        }

    def absent(self, info: Info) -> HttpError:
        """404, with a header that tells a deleted account from one that never existed."""
        error = super().absent(info)
        error.headers |= DELETED
        return error

    def totals_changed(self, location: ResourceLocation) -> None:
        """Nothing: no database lists accounts."""


def _stats_timestamp(name: str, connection: sqlite3.Connection) -> str:
    """The timestamp of a container's totals; "" if the container is not listed."""
    statement = "SELECT stats_timestamp FROM row WHERE deleted IN (0, 1) AND name = ?"
    found = connection.execute(statement, (name,)).fetchone()
    return "" if found is None else str(found[0])
