"""The replicator of accounts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from objstore.account.rows import AccountDescription
from objstore.cluster import Cluster
from objstore.config.databases import DatabaseReplicatorConfig
from objstore.db.location import Place
from objstore.db.replicator import DatabaseReplicator
from objstore.db.syncing import Subject
from objstore.devices import Device
from objstore.http.transport import Transport
from objstore.mounts import DeviceRoot
from objstore.recon import Recon
from objstore.ring.ring import Ring
from objstore.rows import ContainerRow
from objstore.runtime import Runtime


class AccountReplicator(DatabaseReplicator[ContainerRow]):
    """See DatabaseReplicator."""

    name: str = "account-replicator"

    def __init__(
        self,
        config: DatabaseReplicatorConfig,
        cluster: Cluster,
        devices: DeviceRoot,
        ring: Callable[[], Ring],
        transport: Transport,
        runtime: Runtime,
        recon: Recon,
        is_mine: Callable[[Device], bool],
    ) -> None:
        description = AccountDescription(cluster.limits, cluster.policies)
        super().__init__(config, description, cluster, devices, ring, transport, runtime, recon, is_mine)

    def settled(self, connection: sqlite3.Connection) -> bool:
        """Nobody has to hear of it: what it held was deleted first."""
        return True

    def totals_changed(self, place: Place) -> None:
        """Nobody is told: an account stands above all."""

    def synced(self, subject: Subject) -> None:
        """Nothing more is to be done."""
