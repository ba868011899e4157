"""The object updater: the daemon that delivers the container updates that an object server had to queue."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Final

from objstore.config.object import UpdaterConfig
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.mounts import DeviceUnavailable
from objstore.object.container_updates.delivery import QueuedUpdate, UpdateDelivery
from objstore.object.container_updates.pending import (
    PendingUpdate,
    PendingUpdateCorrupt,
    load,
    newest_first,
    outdoes,
    remove_leftovers,
)
from objstore.object.engine import StorageEngine
from objstore.paths import ResourcePath
from objstore.ring.daemon_context import DaemonContext
from objstore.system import concurrency, files
from objstore.system.clock import Clock


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
# No process takes so long to save an update: the one that began to has died.
LEFTOVER_SECONDS: Final = 3600.0


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
        self._runtime = runtime
        self._recon = context.recon
        self._report = PassReport(self.name, context.recon, runtime, "updates")
        self._delivery = UpdateDelivery(config, context, engine, self._report, config.objects_per_second)
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
            self._delivery.failed(directory, error)
        return Step.BUSY

    def _look_through(self, directory: str) -> None:
        call = self._runtime.threads.of(directory.rpartition("/async_pending")[0]).call
        objects: list[list[str]] = call(list, newest_first(directory))
        waiting = chain.from_iterable(map(self._load, objects))
        while batch := list(islice(waiting, UPDATES_MAX)):
            self._delivery.deliver(self._within_rate(batch))
        call(remove_leftovers, directory, self._runtime.clock.now() - LEFTOVER_SECONDS)
        call(files.remove_empty_directory, directory)

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
            self._delivery.deliver(due)
        else:
            concurrency.sleep(self._rate_limiter.shortest_wait)

    def _directories(self) -> Iterator[str]:
        for device in sorted(files.list_directory(self._devices.root)):
            try:
                root = self._devices.path(device)
            except DeviceUnavailable:
                continue
            call = self._runtime.threads.of(root).call
            for policy in self._cluster.policies:
                try:
                    suffixes = sorted(call(files.list_directory, f"{root}/{policy.async_dir}"))
                except OSError as error:  # the other devices are gone through all the same
                    self._delivery.failed(f"{root}/{policy.async_dir}", error)
                    continue
                for suffix in suffixes:
                    yield f"{root}/{policy.async_dir}/{suffix}"

    def _load(self, paths: Sequence[str]) -> list[QueuedUpdate]:
        """The updates of one object that would change its container; a file that cannot be read is quarantined."""
        loaded: dict[str, list[QueuedUpdate]] = {}  # by the version
        for path in paths:
            try:
                update = self._loaded(path)
            except OSError as error:  # the others are delivered all the same
                self._delivery.failed(path, error)
                continue
            if update is None:
                continue
            others = loaded.setdefault(update.row.version, [])
            newer = next((found for found in others if outdoes(found.update.row, update.row)), None)
            if newer is None:
                others.append(QueuedUpdate(update, [path]))
            else:
                newer.paths.append(path)
        return list(chain.from_iterable(loaded.values()))

    def _loaded(self, path: str) -> PendingUpdate | None:
        """None when it has been delivered meanwhile, or was quarantined. Raises OSError."""
        device, _, below = path.rpartition("/async_pending")
        call = self._runtime.threads.of(device).call
        try:
            return call(load, path)
        except FileNotFoundError:
            return None
        except PendingUpdateCorrupt as error:
            target = f"{device}/quarantined/async_pending{below}"
            call(files.move_aside, path, target)
            self._runtime.log.error("pending update quarantined", path=path, reason=error.reason, moved_to=target)
            return None
