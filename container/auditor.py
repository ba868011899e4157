"""The auditor of containers."""

from __future__ import annotations

from objstore.cluster import Cluster
from objstore.container import hints
from objstore.container.rows import ContainerDescription
from objstore.db.auditor import DatabaseAuditor
from objstore.db.location import Place
from objstore.mounts import DeviceRoot
from objstore.recon import Recon
from objstore.rows import ObjectRow
from objstore.runtime import Runtime


class ContainerAuditor(DatabaseAuditor[ObjectRow]):
    """See DatabaseAuditor."""

    name: str = "container-auditor"

    def __init__(self, cluster: Cluster, devices: DeviceRoot, runtime: Runtime, recon: Recon) -> None:
        super().__init__(ContainerDescription(cluster.limits), cluster, devices, runtime, recon)

    def totals_changed(self, place: Place) -> None:
        """See `hints`."""
        hints.mark(place)
