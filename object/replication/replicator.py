"""The object replicator: brings the replicas of every partition together, and empties handoffs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from objstore.config.object import ReplicatorConfig
from objstore.contact_record import read_contact_record, write_contact_record
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.errors import StoreError
from objstore.mounts import DeviceUnavailable
from objstore.object.engine import StorageEngine
from objstore.object.replication.comparison import DeviceReplicationPass, PartitionComparison
from objstore.object.replication.messages import OBJECTS
from objstore.object.replication.partitions import ListInstead
from objstore.policies import Policy
from objstore.rate_limiter import RateLimiter
from objstore.ring.daemon_context import DaemonContext
from objstore.system import concurrency, files
from objstore.system.concurrency import Queue, Semaphore
from objstore.timestamps import Timestamp

NAME: Final = "object-replicator"
# Partitions that are compared with one request to each peer.
PARTITIONS_AT_ONCE: Final = 64


@dataclass
class ReplicationPass:
    """One pass over all devices of this machine, each of which goes through its partitions by itself.

    Each piece of work that is over comes out of `news`, with the error if it met an unexpected one. `news` holds few:
    devices wait for the steps of the daemon.
    """

    devices: list[DeviceReplicationPass]
    news: Queue[Exception | None]
    running: int  # devices that have not come to their end

    @property
    def contents(self) -> list[tuple[str, int]] | None:
        """A digest of each device; None unless every partition was equal to those of all other primaries."""
        if all(device.whole and not device.differed for device in self.devices):
            return [(device.name, device.contents) for device in self.devices]
        return None


class ObjectReplicator:
    """A worker. Devices go through their partitions side by side; each step waits until one of them has done some."""

    name: str = NAME

    def __init__(
        self, config: ReplicatorConfig, context: DaemonContext, engine: StorageEngine, list_instead: ListInstead
    ) -> None:
        self._config = config
        self._cluster = context.cluster
        self._devices = context.devices
        self._rings = context.rings
        self._runtime = context.runtime
        self._recon = context.recon
        self._is_mine = context.is_mine
        self._engine = engine
        self._report = PassReport(NAME, context.recon, context.runtime, "files")
        self._comparison = PartitionComparison(config, context, engine, self._report, list_instead)
        self._pass: ReplicationPass | None = None
        self.contents: object = None

    def step(self) -> Step:
        """Wait until some partitions are done; IDLE at the end of a pass."""
        if self._pass is None:
            self._pass = self._begin()
        current = self._pass
        if current.running or current.news:
            bug = current.news.get()
            if bug is not None:
                raise bug
        if current.running or current.news:
            self._report.progress_side_by_side([(device.done, device.total) for device in current.devices])
            return Step.BUSY
        self._end(current)
        self._pass = None
        return Step.IDLE

    # A pass

    def surface(self) -> object:
        """What shows of each device, such as a new partition of a handoff's; what is in quarantine; the rings."""
        return list(self._seen_from_outside(self._paths()))

    def _begin(self) -> ReplicationPass:
        self._report.begin()
        devices = [self._new_device(name, path) for name, path in self._paths().items()]
        current = ReplicationPass(devices, Queue(max(len(devices), 1)), len(devices))
        for device in devices:
            concurrency.spawn(self._go_through, current, device)
        return current

    def _new_device(self, name: str, path: str) -> DeviceReplicationPass:
        config, clock = self._config, self._runtime.clock
        places = Semaphore(config.concurrency)
        return DeviceReplicationPass(
            name, path, places, RateLimiter(config.bandwidth, clock), RateLimiter(config.objects_per_second, clock)
        )

    def _paths(self) -> dict[str, str]:
        """The folders of this machine's devices in the rings that are there, by the names of the devices."""
        found: dict[str, str] = {}
        for name in self._device_names():
            try:
                found[name] = self._devices.path(name)
            except DeviceUnavailable:
                continue
        return found

    def _device_names(self) -> list[str]:
        found: set[str] = set()
        for policy in self._cluster.policies:
            found.update(device.device for device in self._rings.object(policy.index).devices if self._is_mine(device))
        return sorted(found)

    def _seen_from_outside(self, paths: dict[str, str]) -> Iterator[object]:
        for policy in self._cluster.policies:
            yield self._rings.object(policy.index).version
            for path in paths.values():
                call = self._runtime.threads.of(path).call
                try:
                    yield path, call(self._engine.device(path).surface, policy)
                    yield frozenset(call(files.list_directory, f"{path}/quarantined/{policy.data_dir}"))
                except OSError:
                    yield object()  # is equal to nothing, so that a pass says what is wrong

    def _end(self, current: ReplicationPass) -> None:
        total = sum(device.total for device in current.devices)
        self.contents = current.contents
        self._recon.report(NAME, partitions=total)
        self._report.end()
        self._runtime.log.info("replication pass", partitions=total, **self._report.counts)

    # One device

    def _go_through(self, current: ReplicationPass, device: DeviceReplicationPass) -> None:
        """Compare all partitions of a device, then write its contact record. Ends whatever happens."""
        try:
            for policy, partitions in self._enter(device):
                bug = None
                try:
                    self._comparison.compare(device, policy, partitions)
                except Exception as error:
                    bug = self._failed(device, error)
                device.done += len(partitions)
                current.news.put(bug)
            if device.whole:
                now, age = self._runtime.clock.now(), self._config.reclaim_age
                self._runtime.threads.of(device.path).call(write_contact_record, device.path, OBJECTS, now, age)
        except Exception as error:
            current.news.put(self._failed(device, error))
        current.running -= 1
        current.news.put(None)

    def _enter(self, device: DeviceReplicationPass) -> list[tuple[Policy, list[str]]]:
        """Its partitions in random order: passes that are cut short again and again reach all at last."""
        call = self._runtime.threads.of(device.path).call
        record = call(read_contact_record, device.path, OBJECTS)
        if record is not None and self._runtime.clock.now() - record.last > self._config.reclaim_age:
            device.away_since = since = Timestamp.from_seconds(record.last).internal
            self._runtime.log.warning(
                "device was away for longer than tombstones are kept", device=device.name, since=since
            )
        batches = []
        for policy in self._cluster.policies:
            found = set(call(self._engine.device(device.path).partitions, policy))
            if policy.scheme.code is not None:  # others give it no fragments: those it lacks it rebuilds itself
                found |= call(self._assigned, device.name, policy)
            partitions = sorted(found)
            device.total += len(partitions)
            self._runtime.random.shuffle(partitions)
            for start in range(0, len(partitions), PARTITIONS_AT_ONCE):
                batches.append((policy, partitions[start : start + PARTITIONS_AT_ONCE]))
        self._runtime.random.shuffle(batches)
        return batches

    def _assigned(self, name: str, policy: Policy) -> set[str]:
        """The partitions of which a device is a primary."""
        ring = self._rings.object(policy.index)
        mine = {device.id for device in ring.devices if device.device == name and self._is_mine(device)}
        return {str(number) for row in ring.rows for number, device in enumerate(row) if device in mine}

    def _failed(self, device: DeviceReplicationPass, error: Exception) -> Exception | None:
        """Count and log the error; the other devices go on. Returns it if it is an unexpected one."""
        device.whole = False
        self._report.count("failed")
        if not isinstance(error, OSError | StoreError):
            return error
        self._runtime.log.error("device failed", device=device.name, error=str(error))
        return None
