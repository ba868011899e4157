"""Delivers container updates that object servers had to queue, or left unsent when they ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from objstore.config.object import UpdaterConfig
from objstore.db.reports import PassReport
from objstore.devices import Device
from objstore.headers import Backend
from objstore.http.transport import BackendRequest, Exchange, NodeFailure
from objstore.object.container_updates.pending import PendingUpdate, save
from objstore.object.engine import Location, StorageEngine
from objstore.object.part_power import LocationResolver
from objstore.paths import ResourcePath
from objstore.policies import UnknownPolicy
from objstore.rate_limiter import RateLimiter
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import encode_rows
from objstore.system import concurrency, files
from objstore.system.concurrency import Task

# A container that all servers answer 404 for, for so long, was deleted: its rows are dropped.
RECLAIM_SECONDS: Final = 7 * 86_400.0


class QueuedUpdate(Struct, frozen=True):
    """An update, and all files that it makes obsolete once delivered: its own first, then older ones of the object.

    Without `is_queued` its own file is not there yet.
    """

    update: PendingUpdate
    paths: list[str]
    is_queued: bool = True


class UpdateDelivery:
    """Sends updates to the servers of their containers, several containers at a time."""

    def __init__(
        self,
        config: UpdaterConfig,
        context: DaemonContext,
        engine: StorageEngine,
        report: PassReport,
        updates_per_second: int,
    ) -> None:
        """What becomes of updates is counted in `report`. No limit at 0 updates a second."""
        runtime = context.runtime
        self._config = config
        self._cluster = context.cluster
        self._rings = context.rings
        self._transport = context.transport
        self._runtime = runtime
        self._engine = engine
        self._locations = LocationResolver(context.rings.object, runtime.threads, runtime.clock)
        self._report = report
        self._rate = RateLimiter(updates_per_second, runtime.clock)

    def failed(self, path: str, error: OSError) -> None:
        """Count and log a device, or one file of it, that fails."""
        self._report.count("failed")
        self._runtime.log.error("cannot be read or written", path=path, error=str(error))

    def deliver(self, batch: Sequence[QueuedUpdate], queues: bool = True) -> int:
        """Send each update to the servers of its container that lack it; how many some server still lacks.

        These are kept, or queued; without `queues`, what is not queued yet is left to the caller.
        """
        by_container: dict[tuple[ResourcePath, int], list[QueuedUpdate]] = {}
        for found in batch:
            key = (found.update.container_path, found.update.row.policy_index)
            by_container.setdefault(key, []).append(found)
        groups, left = list(by_container.items()), 0
        for start in range(0, len(groups), self._config.concurrency):
            tasks: list[Task[int]] = [
                concurrency.spawn(self._deliver_group, container, policy_index, group, queues)
                for (container, policy_index), group in groups[start : start + self._config.concurrency]
            ]
            left += sum(task.wait() for task in tasks)
        return left

    def _deliver_group(
        self, container: ResourcePath, policy_index: int, group: Sequence[QueuedUpdate], queues: bool
    ) -> int:
        self._rate.acquire(len(group))
        statuses = self._send(container, policy_index, group)
        left = 0
        for found in group:
            try:
                left += not self._settle(found, statuses, queues)
            except OSError as error:  # the file stays, and the next pass sends it again
                left += 1
                self.failed(found.paths[0], error)
        return left

    def _send(self, container: ResourcePath, policy_index: int, group: Sequence[QueuedUpdate]) -> dict[Device, int]:
        """The status that each of the container's servers answered; 0 for no answer."""
        ring = self._rings.container
        partition = ring.partition_of(self._cluster.hasher.digest(container))
        headers = {"Content-Type": "application/json", Backend.POLICY_INDEX: str(policy_index)}
        statuses = dict.fromkeys(ring.primaries(partition), 0)
        exchanges: list[Exchange] = []
        for node in statuses:
            rows = [found.update.row for found in group if node.id not in found.update.delivered]
            if not rows:
                continue
            request = BackendRequest("UPDATE", node, partition, container, headers)
            try:
                exchanges.append(self._transport.start(request, encode_rows(rows), self._config.node_timeout))
            except NodeFailure as failure:
                self._warn(container, failure)
        for exchange in exchanges:
            try:
                response = exchange.response()
                response.close()
                statuses[exchange.node] = response.status
            except NodeFailure as failure:
                self._warn(container, failure)
        return statuses

    def _warn(self, container: ResourcePath, failure: NodeFailure) -> None:
        server = failure.node.address
        self._runtime.log.repeated("container update failed", server, container=container, reason=failure)

    def _settle(self, found: QueuedUpdate, statuses: dict[Device, int], queues: bool) -> bool:
        """Remove the update if all servers have it (True), or else record which have. Raises OSError."""
        update, device = found.update, found.paths[0].rpartition("/async_pending")[0]
        call = self._runtime.threads.of(device).call
        taken = {node.id for node, status in statuses.items() if status // 100 == 2}
        delivered = taken.union(update.delivered)
        age = self._runtime.clock.now() - float(update.timestamp.partition("_")[0])
        complete = all(node.id in delivered for node in statuses)
        # A server that has taken it is not asked again, and may have forgotten the deleted container since.
        orphaned = age > RECLAIM_SECONDS and all(
            status == 404 or node.id in delivered for node, status in statuses.items()
        )
        if complete or orphaned or self._is_superseded(found):
            call(_unlink_all, found.paths)
            self._report.count("delivered" if complete else "dropped")
            return True
        self._report.count("kept")
        if taken.difference(update.delivered) if found.is_queued else queues:
            call(save, found.paths[0], replace(update, delivered=tuple(sorted(delivered))))
        return False

    def _is_superseded(self, found: QueuedUpdate) -> bool:
        """Whether the device holds something newer of that line by now, which sent a container update of its own.

        The container may have been deleted, forgotten and created again: then no row there would supersede this one.
        """
        update = found.update
        path = ResourcePath(update.account, update.container, update.row.name)
        try:
            policy = self._cluster.policies.by_index(update.row.policy_index)
        except UnknownPolicy:
            return False
        ring = self._locations.ring(policy.index)
        if ring is None:
            return False
        device, digest = found.paths[0].rpartition("/async_pending")[0], self._cluster.hasher.digest(path)
        location = Location(policy, str(ring.partition_of(digest)), digest.hex(), str(path))
        try:
            current = self._engine.device(device).look(self._locations.resolve(location))
        except OSError as error:
            self.failed(device, error)
            return False
        return current.line(update.row.version).timestamp > update.timestamp


def _unlink_all(paths: Sequence[str]) -> None:
    # The newest goes last: if a crash left only an older one, that would be sent instead.
    for path in reversed(paths):
        files.unlink_quietly(path)
