"""The auditor of accounts."""

from __future__ import annotations

from objstore.account.rows import AccountDescription
from objstore.cluster import Cluster
from objstore.db.auditor import DatabaseAuditor
from objstore.db.location import Place
from objstore.mounts import DeviceRoot
from objstore.recon import Recon
from objstore.rows import ContainerRow
from objstore.runtime import Runtime


class AccountAuditor(DatabaseAuditor[ContainerRow]):
    """See DatabaseAuditor."""

    name: str = "account-auditor"

    def __init__(self, cluster: Cluster, devices: DeviceRoot, runtime: Runtime, recon: Recon) -> None:
        super().__init__(AccountDescription(cluster.limits, cluster.policies), cluster, devices, runtime, recon)

    def totals_changed(self, place: Place) -> None:
        """Nobody is told: an account stands above all."""
