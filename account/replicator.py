"""The replicator of accounts."""

from __future__ import annotations

import sqlite3

from objstore.account.rows import AccountDescription
from objstore.config.databases import DatabaseReplicatorConfig
from objstore.db.location import Place
from objstore.db.replicator import DatabaseReplicator
from objstore.db.syncing import Subject
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ContainerRow


class AccountReplicator(DatabaseReplicator[ContainerRow]):
    """See DatabaseReplicator."""

    name: str = "account-replicator"

    def __init__(self, config: DatabaseReplicatorConfig, context: DaemonContext) -> None:
        cluster = context.cluster
        super().__init__(
            config,
            AccountDescription(cluster.limits, cluster.policies),
            cluster,
            context.devices,
            lambda: context.rings.account,
            context.transport,
            context.runtime,
            context.recon,
            context.is_mine,
        )

    def settled(self, connection: sqlite3.Connection) -> bool:
        """Nobody has to hear of it: what it held was deleted first."""
        return True

    def totals_changed(self, place: Place) -> None:
        """Nobody is told: an account stands above all."""

    def synced(self, subject: Subject) -> None:
        """Nothing more is to be done."""
