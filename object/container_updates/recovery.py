"""Sends the container updates of recent writes again, after a process that wrote objects was killed.

A kill may come between an object's name and its row: the object can be read, and no listing has it; or it is deleted
and still listed. So the rows of all objects in suffixes that changed shortly before the end, or since, are sent again.
Those that a container has already change nothing there. A write need not record anything for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from objstore.config.object import UpdaterConfig
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.expiry import expiry_queue
from objstore.mounts import DeviceUnavailable
from objstore.object.container_updates.delivery import QueuedUpdate, UpdateDelivery
from objstore.object.container_updates.pending import PendingUpdate, pending_path
from objstore.object.container_updates.sender import object_row, queue_row, tombstone_row
from objstore.object.container_updates.session import left_marks
from objstore.object.engine import DeviceStorage, Location, Missing, ObjectCorrupt, StorageEngine
from objstore.object.metadata import ObjectMetadata, TombstoneMetadata
from objstore.object.requests import Target, delete_at_of
from objstore.object.versions import Line, ObjectVersions
from objstore.paths import ResourcePath
from objstore.policies import Policy
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ObjectRow
from objstore.system import files

INTERVAL_SECONDS: Final = 10.0
# No write is longer on its way from its name to its row: a flush that takes longer fails.
WRITE_SECONDS_MAX: Final = 90.0
UPDATES_AT_ONCE: Final = 500
UPDATES_PER_SECOND: Final = 1000
# Container servers may start later than this. What they have not taken by the last attempt is queued.
ATTEMPTS: Final = 5

DevicePartitions = Iterator[tuple[DeviceStorage, Policy, str]]


class UpdateRecovery:
    """A worker: each step looks through one partition. It is idle as long as no process has left a mark."""

    name: str = "object-update-recovery"

    def __init__(self, config: UpdaterConfig, context: DaemonContext, engine: StorageEngine, directory: str) -> None:
        """`directory` is where the marks of the server's processes are."""
        self._context = context
        self._cluster = context.cluster
        self._threads = context.runtime.threads
        self._engine = engine
        self._directory = directory
        self._report = PassReport(self.name, context.recon, context.runtime, "updates")
        self._delivery = UpdateDelivery(config, context, engine, self._report, UPDATES_PER_SECOND)
        self._marks: dict[str, float] = {}
        self._left: DevicePartitions | None = None
        self._updates: list[QueuedUpdate] = []
        self._undelivered = 0
        self._attempts = 0
        self._has_reported = False

    def step(self) -> Step:
        """Look for marks, or through the next partition; IDLE when there is nothing to recover."""
        if self._left is None:
            self._marks = self._threads.call(left_marks, self._directory, self._context.devices.root)
            if not self._marks:
                if not self._has_reported:
                    self._report.begin()
                    self._report.end()
                    self._has_reported = True
                return Step.IDLE
            self._report.begin()
            self._attempts += 1
            self._undelivered = 0
            self._left = self._partitions()
        following = next(self._left, None)
        if following is not None:
            self._look_through(*following)
            return Step.BUSY
        self._deliver()
        self._end()
        return Step.IDLE

    def _end(self) -> None:
        self._left = None
        self._report.end()
        if self._undelivered and self._attempts < ATTEMPTS:
            return  # the marks stay, so all is sent again after a pause
        self._attempts = 0
        for path in self._marks:
            self._threads.call(files.unlink_quietly, path)
        self._context.runtime.log.warning(
            "a server ended without finishing: the last container updates were sent again", **self._report.counts
        )

    def _deliver(self) -> None:
        updates, self._updates = self._updates, []
        self._undelivered += self._delivery.deliver(updates, queues=self._attempts >= ATTEMPTS)

    def _partitions(self) -> DevicePartitions:
        for device in sorted(files.list_directory(self._context.devices.root)):
            try:
                storage = self._engine.in_service(self._context.devices, device)
                for policy in self._cluster.policies:
                    for partition in self._threads.of(storage.path).call(storage.partitions, policy):
                        yield storage, policy, partition
            except DeviceUnavailable:
                continue
            except OSError as error:  # the other devices are gone through all the same
                self._failed(device, error)

    def _look_through(self, storage: DeviceStorage, policy: Policy, partition: str) -> None:
        since = min(self._marks.values()) - WRITE_SECONDS_MAX
        call = self._threads.of(storage.path).call
        try:
            for suffix in call(storage.suffixes, policy, partition, since):
                for digest, current in call(storage.objects, policy, partition, suffix).items():
                    self._updates += self._updates_of(storage, Location(policy, partition, digest, ""), current)
                    if len(self._updates) >= UPDATES_AT_ONCE:
                        self._deliver()
        except (OSError, DeviceUnavailable) as error:
            self._failed(f"{storage.path}/{policy.data_dir}/{partition}", error)

    def _updates_of(self, storage: DeviceStorage, location: Location, current: ObjectVersions) -> list[QueuedUpdate]:
        """What the writes that made the object what it is sent, or would have sent. Raises OSError."""
        found: list[QueuedUpdate] = []
        for line in current.lines:
            with suppress(ObjectCorrupt):  # the engine has quarantined it
                found += self._updates_of_line(storage, location, line)
        return found

    def _updates_of_line(self, storage: DeviceStorage, location: Location, line: Line) -> list[QueuedUpdate]:
        """Raises ObjectCorrupt and OSError."""
        newest = line.data or line.marker or line.tombstone
        if newest is None:
            return []
        found = storage.verify(location.policy, location.partition, location.hash, newest.name, None)
        if isinstance(found, TombstoneMetadata):
            target = self._target(storage, location, found.name)
            row = tombstone_row(target, found.timestamp, line.version, line.is_marker)
            return [self._update(target, target.path.container_path, row)]
        if isinstance(found, ObjectMetadata):
            return self._updates_of_data(self._target(storage, location, found.name), line.version)
        return []

    def _target(self, storage: DeviceStorage, location: Location, name: str) -> Target:
        named = Location(location.policy, location.partition, location.hash, name)
        return Target("", ResourcePath.parse(name), storage, named)

    def _updates_of_data(self, target: Target, version: str) -> list[QueuedUpdate]:
        """Raises ObjectCorrupt and OSError."""
        stored = target.storage.open(target.location, version=version)
        if isinstance(stored, Missing):
            return []
        stored.close()
        found = [self._update(target, target.path.container_path, object_row(target, stored.info))]
        delete_at = delete_at_of(stored.info.headers)
        if delete_at is not None:
            queue = expiry_queue(delete_at, bytes.fromhex(target.location.hash))
            found.append(self._update(target, queue, queue_row(target, delete_at, stored.info)))
        return found

    def _update(self, target: Target, container: ResourcePath, row: ObjectRow) -> QueuedUpdate:
        update = PendingUpdate(container.account, container.container, row)
        directory = f"{target.storage.path}/{target.location.policy.async_dir}"
        return QueuedUpdate(update, [pending_path(directory, self._cluster.hasher, update)], is_queued=False)

    def _failed(self, path: str, error: Exception) -> None:
        self._report.count("failed")
        self._context.runtime.log.error("container updates not recovered", path=path, error=str(error))
