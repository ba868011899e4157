"""The auditor of containers."""

from __future__ import annotations

from objstore.container import hints
from objstore.container.rows import ContainerDescription
from objstore.db.auditor import DatabaseAuditor
from objstore.db.location import Place
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ObjectRow


class ContainerAuditor(DatabaseAuditor[ObjectRow]):
    """See DatabaseAuditor."""

    name: str = "container-auditor"

    def __init__(self, context: DaemonContext) -> None:
        cluster = context.cluster
        description = ContainerDescription(cluster.limits)
        super().__init__(description, cluster, context.devices, context.runtime, context.recon)

    def totals_changed(self, place: Place) -> None:
        """See `hints`."""
        hints.mark(place)
