"""The auditor and the replicator of account databases."""

from __future__ import annotations

import sqlite3

from objstore.account.rows import AccountSchema
from objstore.config.sections import DatabaseReplicatorConfig
from objstore.db.auditor import DatabaseAuditor
from objstore.db.location import DatabaseLocation
from objstore.db.replicator import DatabaseReplicator
from objstore.db.syncing import LocalReplica
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ContainerRow


class AccountAuditor(DatabaseAuditor[ContainerRow]):
    name: str = "account-auditor"

    def __init__(self, context: DaemonContext) -> None:
        cluster = context.cluster
        schema = AccountSchema(cluster.limits, cluster.policies)
        super().__init__(schema, cluster, context.devices, context.runtime, context.recon)

    def totals_changed(self, location: DatabaseLocation) -> None:
        """Nothing: no database lists accounts."""


class AccountReplicator(DatabaseReplicator[ContainerRow]):
    name: str = "account-replicator"

    def __init__(self, config: DatabaseReplicatorConfig, context: DaemonContext) -> None:
        cluster = context.cluster
        super().__init__(
            config,
            AccountSchema(cluster.limits, cluster.policies),
            cluster,
            context.devices,
            lambda: context.rings.account,
            context.transport,
            context.runtime,
            context.recon,
            context.is_mine,
        )

    def settled(self, connection: sqlite3.Connection) -> bool:
        """True: the account's containers were deleted first, and no database lists accounts."""
        return True

    def totals_changed(self, location: DatabaseLocation) -> None:
        """Nothing: no database lists accounts."""

    def synced(self, replica: LocalReplica) -> None:
        """Nothing more is to be done."""
