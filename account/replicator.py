"""The replicator of accounts."""

from __future__ import annotations

import sqlite3

from objstore.account.rows import AccountDescription
from objstore.config.databases import DatabaseReplicatorConfig
from objstore.db.location import Place
from objstore.db.replicator import DatabaseReplicator
from objstore.db.syncing import Subject
from objstore.ring.surroundings import Surroundings
from objstore.rows import ContainerRow


class AccountReplicator(DatabaseReplicator[ContainerRow]):
    """See DatabaseReplicator."""

    name: str = "account-replicator"

    def __init__(self, config: DatabaseReplicatorConfig, surroundings: Surroundings) -> None:
        cluster = surroundings.cluster
        super().__init__(
            config,
            AccountDescription(cluster.limits, cluster.policies),
            cluster,
            surroundings.devices,
            lambda: surroundings.rings.account,
            surroundings.transport,
            surroundings.runtime,
            surroundings.recon,
            surroundings.is_mine,
        )

    def settled(self, connection: sqlite3.Connection) -> bool:
        """Nobody has to hear of it: what it held was deleted first."""
        return True

    def totals_changed(self, place: Place) -> None:
        """Nobody is told: an account stands above all."""

    def synced(self, subject: Subject) -> None:
        """Nothing more is to be done."""
