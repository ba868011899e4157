"""The object updater: the daemon that delivers the container updates that an object server had to queue."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from objstore.config.object import UpdaterConfig
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.devices import Device
from objstore.headers import Backend
from objstore.http.transport import BackendRequest, Exchange, NodeFailure
from objstore.mounts import DeviceUnavailable
from objstore.object.container_updates.pending import (
    PendingUpdate,
    PendingUpdateCorrupt,
    load,
    newest_first,
    outdoes,
    remove_leftovers,
    save,
)
from objstore.object.engine import Location, StorageEngine
from objstore.object.part_power import LocationResolver
from objstore.paths import ResourcePath
from objstore.policies import UnknownPolicy
from objstore.rate_limiter import RateLimiter
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import encode_rows
from objstore.system import concurrency, files
from objstore.system.clock import Clock
from objstore.system.concurrency import Task


class ContainerRateLimiter:
    """Per-container rate limit, so that a backlog of updates cannot overload one container.

    Containers share a fixed number of buckets by hash, so that memory does not grow with their number.
    """

    def __init__(self, config: UpdaterConfig, clock: Clock) -> None:
        self._per_second = config.max_objects_per_container_per_second
        self._clock = clock
        self._free_at = [0.0] * config.per_container_ratelimit_buckets

    def try_acquire(self, container: ResourcePath) -> bool:
        """Whether one more update may be sent to the container now; counts it if so."""
        if not self._per_second:
            return True
        bucket = zlib.crc32(str(container).encode()) % len(self._free_at)
        now = self._clock.monotonic()
        if self._free_at[bucket] > now:
            return False
        self._free_at[bucket] = now + 1 / self._per_second
        return True

    @property
    def shortest_wait(self) -> float:
        """After how many seconds some container may be sent an update again, at most."""
        return 1 / self._per_second if self._per_second else 0.0


UPDATES_MAX: Final = 500  # held in memory and sent together
# A container that all servers answer 404 for, for so long, was deleted: its rows are dropped.
RECLAIM_SECONDS: Final = 7 * 86_400.0
# No process takes so long to save an update: the one that began to has died.
LEFTOVER_SECONDS: Final = 3600.0


class QueuedUpdate(Struct, frozen=True):
    """An update, and all files that it makes obsolete once delivered: its own first, then older ones of the object."""

    update: PendingUpdate
    paths: list[str]


class Updater:
    """Goes through the queues of all devices, pass after pass; a step handles the directory of one suffix.

    After the last directory, steps deliver the updates that the rate limit of their container has deferred. Those still
    deferred when the next pass is due are dropped from memory; that pass reads their files again.
    """

    name: str = "object-updater"

    def __init__(self, config: UpdaterConfig, context: DaemonContext, engine: StorageEngine) -> None:
        runtime = context.runtime
        self._config = config
        self._cluster = context.cluster
        self._devices = context.devices
        self._rings = context.rings
        self._engine = engine
        self._locations = LocationResolver(context.rings.object, runtime.threads, runtime.clock)
        self._transport = context.transport
        self._runtime = runtime
        self._recon = context.recon
        self._report = PassReport(self.name, context.recon, runtime, "updates")
        self._rate = RateLimiter(config.objects_per_second, runtime.clock)
        self._rate_limiter = ContainerRateLimiter(config, runtime.clock)
        self._deferred: deque[QueuedUpdate] = deque()
        self._left: Iterator[str] | None = None
        self._ends = 0.0

    def step(self) -> Step:
        """Deliver the updates of the next directory, or deferred ones; IDLE at the end of the pass."""
        if self._left is None:
            self._report.begin()
            self._ends = self._runtime.clock.monotonic() + self._config.interval
            self._left = self._directories()
        directory = next(self._left, None)
        if directory is None:
            if self._deferred and self._runtime.clock.monotonic() < self._ends:
                self._deliver_deferred()
                return Step.BUSY
            self._end()
            return Step.IDLE
        try:
            self._look_through(directory)
        except OSError as error:
            self._failed(directory, error)
        return Step.BUSY

    def _look_through(self, directory: str) -> None:
        objects: list[list[str]] = self._runtime.threads.call(list, newest_first(directory))
        waiting = chain.from_iterable(map(self._load, objects))
        while batch := list(islice(waiting, UPDATES_MAX)):
            self._deliver(self._within_rate(batch))
        self._runtime.threads.call(remove_leftovers, directory, self._runtime.clock.now() - LEFTOVER_SECONDS)
        self._runtime.threads.call(files.remove_empty_directory, directory)

    def _end(self) -> None:
        self._report.count("left", len(self._deferred))
        self._deferred.clear()
        self._left = None
        self._recon.report(self.name, async_pending=self._report.counted("kept") + self._report.counted("left"))
        self._report.end()

    def _within_rate(self, batch: Sequence[QueuedUpdate]) -> list[QueuedUpdate]:
        """The updates within the rate limits; the others are deferred, or left for the next pass if too many are."""
        within_rate = []
        for found in batch:
            if self._rate_limiter.try_acquire(found.update.container_path):
                within_rate.append(found)
                continue
            self._report.count("deferred")
            if len(self._deferred) >= self._config.max_deferred_updates:
                self._deferred.popleft()
                self._report.count("left")
            self._deferred.append(found)
        return within_rate

    def _deliver_deferred(self) -> None:
        """Deliver the deferred updates that are within the rate limits by now; sleeps if there are none."""
        waiting, self._deferred = self._deferred, deque()
        due: list[QueuedUpdate] = []
        for found in waiting:
            if len(due) < UPDATES_MAX and self._rate_limiter.try_acquire(found.update.container_path):
                due.append(found)
            else:
                self._deferred.append(found)
        if due:
            self._deliver(due)
        else:
            concurrency.sleep(self._rate_limiter.shortest_wait)

    def _directories(self) -> Iterator[str]:
        for device in sorted(files.list_directory(self._devices.root)):
            try:
                root = self._devices.path(device)
            except DeviceUnavailable:
                continue
            for policy in self._cluster.policies:
                try:
                    suffixes = sorted(files.list_directory(f"{root}/{policy.async_dir}"))
                except OSError as error:  # the other devices are gone through all the same
                    self._failed(f"{root}/{policy.async_dir}", error)
                    continue
                for suffix in suffixes:
                    yield f"{root}/{policy.async_dir}/{suffix}"

    def _failed(self, path: str, error: OSError) -> None:
        """Count and log a device, or one file of it, that fails."""
        self._report.count("failed")
        self._runtime.log.error("cannot be read or written", path=path, error=str(error))

    def _load(self, paths: Sequence[str]) -> list[QueuedUpdate]:
        """The updates of one object that would change its container; a file that cannot be read is quarantined."""
        loaded: list[QueuedUpdate] = []
        for path in paths:
            try:
                update = self._loaded(path)
            except OSError as error:  # the others are delivered all the same
                self._failed(path, error)
                continue
            if update is None:
                continue
            newer = next((found for found in loaded if outdoes(found.update.row, update.row)), None)
            if newer is None:
                loaded.append(QueuedUpdate(update, [path]))
            else:
                newer.paths.append(path)
        return loaded

    def _loaded(self, path: str) -> PendingUpdate | None:
        """None when it has been delivered meanwhile, or was quarantined. Raises OSError."""
        try:
            return self._runtime.threads.call(load, path)
        except FileNotFoundError:
            return None
        except PendingUpdateCorrupt as error:
            device, _, below = path.rpartition("/async_pending")
            target = f"{device}/quarantined/async_pending{below}"
            self._runtime.threads.call(files.move_aside, path, target)
            self._runtime.log.error("pending update quarantined", path=path, reason=error.reason, moved_to=target)
            return None

    def _deliver(self, batch: Sequence[QueuedUpdate]) -> None:
        """Send each update to the servers of its container that lack it; keep it while some server lacks it."""
        by_container: dict[tuple[ResourcePath, int], list[QueuedUpdate]] = {}
        for found in batch:
            key = (found.update.container_path, found.update.row.policy_index)
            by_container.setdefault(key, []).append(found)
        groups = list(by_container.items())
        for start in range(0, len(groups), self._config.concurrency):
            tasks: list[Task[None]] = [
                concurrency.spawn(self._deliver_group, container, policy_index, group)
                for (container, policy_index), group in groups[start : start + self._config.concurrency]
            ]
            for task in tasks:
                task.wait()

    def _deliver_group(self, container: ResourcePath, policy_index: int, group: Sequence[QueuedUpdate]) -> None:
        self._rate.acquire(len(group))
        statuses = self._send(container, policy_index, group)
        for found in group:
            try:
                self._settle(found, statuses)
            except OSError as error:  # the file stays, and the next pass sends it again
                self._failed(found.paths[0], error)

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
                self._runtime.log.warning("container update failed", container=container, reason=failure)
        for exchange in exchanges:
            try:
                response = exchange.response()
                response.close()
                statuses[exchange.node] = response.status
            except NodeFailure as failure:
                self._runtime.log.warning("container update failed", container=container, reason=failure)
        return statuses

    def _settle(self, found: QueuedUpdate, statuses: dict[Device, int]) -> None:
        """Remove the update if all servers have it, or else record which have. Raises OSError, as of a full device."""
        update = found.update
        taken = {node.id for node, status in statuses.items() if status // 100 == 2}
        delivered = taken.union(update.delivered)
        age = self._runtime.clock.now() - float(update.timestamp.partition("_")[0])
        complete = all(node.id in delivered for node in statuses)
        # A server that has taken it is not asked again, and may have forgotten the deleted container since.
        orphaned = age > RECLAIM_SECONDS and all(
            status == 404 or node.id in delivered for node, status in statuses.items()
        )
        if complete or orphaned or self._is_superseded(found):
            self._runtime.threads.call(_unlink_all, found.paths)
            self._report.count("delivered" if complete else "dropped")
            return
        self._report.count("kept")
        if taken.difference(update.delivered):
            self._runtime.threads.call(save, found.paths[0], replace(update, delivered=tuple(sorted(delivered))))

    def _is_superseded(self, found: QueuedUpdate) -> bool:
        """Whether the device holds a newer version of the object by now, which sent a container update of its own.

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
            current = self._runtime.threads.call(self._engine.device(device).look, self._locations.resolve(location))
        except OSError as error:
            self._failed(device, error)
            return False
        return current.timestamp > update.timestamp


def _unlink_all(paths: Sequence[str]) -> None:
    # The newest goes last: if a crash left only an older one, that would be sent instead.
    for path in reversed(paths):
        files.unlink_quietly(path)
