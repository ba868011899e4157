"""The auditor of containers."""

from __future__ import annotations

from objstore.container import hints
from objstore.container.rows import ContainerDescription
from objstore.db.auditor import DatabaseAuditor
from objstore.db.location import Place
from objstore.ring.surroundings import Surroundings
from objstore.rows import ObjectRow


class ContainerAuditor(DatabaseAuditor[ObjectRow]):
    """See DatabaseAuditor."""

    name: str = "container-auditor"

    def __init__(self, surroundings: Surroundings) -> None:
        cluster = surroundings.cluster
        description = ContainerDescription(cluster.limits)
        super().__init__(description, cluster, surroundings.devices, surroundings.runtime, surroundings.recon)

    def totals_changed(self, place: Place) -> None:
        """See `hints`."""
        hints.mark(place)
