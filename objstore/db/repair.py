"""Repair of quarantined databases: a worker that fetches them from other replicas within seconds.

Whoever meets damage quarantines the database and leaves a mark on the device. While the mark is there, the server
answers 503: a damaged replica knows nothing, and must neither say 404 nor be created anew, empty. The mark goes
when a replica has taken the place, or when all other primaries say that they have none.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Final, Generic

from objstore.daemon import Step
from objstore.db.connection import DatabaseBusy, DatabaseCorrupt, DatabaseFailed
from objstore.db.location import DatabaseLocation, device_roots, marked_locations
from objstore.db.replicator import DatabaseReplicator
from objstore.db.reports import PassReport
from objstore.db.schema import Row
from objstore.db.snapshots import Snapshots
from objstore.devices import Device
from objstore.headers import Backend
from objstore.http.errors import HttpError
from objstore.http.transport import NodeFailure, ReplicaFailed
from objstore.system import files
from objstore.system.threads import HUNG_SECONDS

TROUBLES: Final = (DatabaseBusy, DatabaseCorrupt, DatabaseFailed, HttpError, NodeFailure, OSError, ReplicaFailed)
LOOKS_PER_PASS: Final = 6  # so much more often than the replicator begins a pass


class DatabaseRepairer(Generic[Row]):
    """A worker: each step repairs all databases of one kind that are marked on the devices of a machine."""

    def __init__(self, replicator: DatabaseReplicator[Row]) -> None:
        """It shares the replicator's store, ring and client."""
        self.name = replicator.name.replace("replicator", "repairer")
        self.interval_seconds = replicator.config.interval / LOOKS_PER_PASS
        self._replicator = replicator
        self._runtime = replicator.runtime
        self._report = PassReport(self.name, replicator.recon, replicator.runtime)
        self._has_reported = False
        self._snapshots = Snapshots(replicator.schema, replicator.store, replicator.devices, replicator.runtime)

    def step(self) -> Step:
        """All that are marked; what fails is tried again in the next step."""
        marked = self._marked()
        if marked or not self._has_reported:  # nothing is written for the many steps that find nothing
            self._has_reported = True
            self._report.begin()
            for location in marked:
                self._report.count(self._repair(location))
            self._report.end()
        return Step.IDLE

    def _marked(self) -> list[DatabaseLocation]:
        folder, found = self._replicator.schema.folder, []
        for root in device_roots(self._replicator.devices):
            call = self._runtime.threads.of(root).call_within
            try:
                found += call(HUNG_SECONDS, marked_locations, root, f"{folder}_to_repair", folder)
            except OSError as error:  # the other devices have their turn all the same
                self._runtime.log.error("device failed", path=root, error=str(error))
        return found

    def _repair(self, location: DatabaseLocation) -> str:
        """What became of it, in a word for the metrics."""
        if os.path.exists(location.file) or not self._is_primary(location):
            # A replicator was faster; or this is a handoff, which the primaries need not restore.
            files.unlink_quietly(location.repair_mark)
            return "needless"
        absent = True
        for node in self._primaries(location):
            if node.device == location.device_name and self._replicator.is_mine(node):
                continue
            try:
                if self._fetched(node, location):
                    self._runtime.log.info("database repaired", file=location.file, peer=node.address)
                    self._replicator.totals_changed(location)
                    return "repaired"
            except TROUBLES as error:
                self._runtime.log.warning("database not repaired", file=location.file, reason=str(error))
                absent = False
        if not absent:
            return "failed"
        self._runtime.log.error("no other replica of a damaged database", file=location.file)
        files.unlink_quietly(location.repair_mark)
        return "lost"

    def _fetched(self, node: Device, location: DatabaseLocation) -> bool:
        """Put a peer's replica in place; False if the peer has none."""
        response = self._replicator.client.snapshot(node, int(location.partition), location.hash)
        if response is None:
            return False
        with closing(response):
            self._snapshots.fetch(location, response.body, response.headers.get(Backend.BODY_CHECKSUM, ""))
        return True

    def _is_primary(self, location: DatabaseLocation) -> bool:
        return any(
            node.device == location.device_name and self._replicator.is_mine(node) for node in self._primaries(location)
        )

    def _primaries(self, location: DatabaseLocation) -> tuple[Device, ...]:
        """The primaries of its partition, none if it lies in a partition of a former ring."""
        ring = self._replicator.ring()
        partition = ring.partition_of(bytes.fromhex(location.hash))
        return ring.primaries(partition) if int(location.partition) == partition else ()
