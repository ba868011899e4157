"""The auditor of accounts."""

from __future__ import annotations

from objstore.account.rows import AccountDescription
from objstore.db.auditor import DatabaseAuditor
from objstore.db.location import Place
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ContainerRow


class AccountAuditor(DatabaseAuditor[ContainerRow]):
    """See DatabaseAuditor."""

    name: str = "account-auditor"

    def __init__(self, context: DaemonContext) -> None:
        cluster = context.cluster
        description = AccountDescription(cluster.limits, cluster.policies)
        super().__init__(description, cluster, context.devices, context.runtime, context.recon)

    def totals_changed(self, place: Place) -> None:
        """Nobody is told: an account stands above all."""
