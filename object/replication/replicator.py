"""The object replicator: brings the replicas of every partition together, and empties handoffs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from objstore.config.object import ReplicatorConfig
from objstore.contact_record import read_contact_record, write_contact_record
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.devices import Device
from objstore.errors import StoreError
from objstore.http.transport import NodeFailure
from objstore.mounts import DeviceUnavailable
from objstore.object.engine import PartitionDigests, StorageEngine
from objstore.object.part_power import LocationResolver
from objstore.object.replication.client import ReplicaFailed, ReplicationClient
from objstore.object.replication.messages import OBJECTS, CompareRequest
from objstore.object.replication.partition_lock import partition_lock_held
from objstore.object.replication.partitions import Partition, Synced
from objstore.object.replication.passes import DeviceReplicationPass, ReplicationPass
from objstore.object.replication.planning import reclaimable
from objstore.object.replication.receiving import DevicePartition
from objstore.object.replication.server import digest_of, reclaim_before
from objstore.policies import Policy
from objstore.rate_limiter import RateLimiter
from objstore.ring.daemon_context import DaemonContext
from objstore.ring.ring import Ring
from objstore.system import concurrency
from objstore.system.concurrency import Queue, Semaphore
from objstore.system.locks import LockTimeout
from objstore.timestamps import Timestamp

NAME: Final = "object-replicator"
# Partitions that are compared with one request to each peer.
PARTITIONS_AT_ONCE: Final = 64
# However many objects there are: so many digests of a device in memory, and those of one more partition, are enough.
SUFFIXES_AT_ONCE: Final = 4096
LOCKS: Final = 64  # of a device: partitions share them
# So many are asked to take what a primary cannot; when none does, the next pass asks again.
HANDOFFS_PER_REPLICA: Final = 2
SUFFIX_LENGTH: Final = 3


class ObjectReplicator:
    """A worker. Devices go through their partitions side by side; each step waits until one of them has done some."""

    name: str = NAME

    def __init__(self, config: ReplicatorConfig, context: DaemonContext, engine: StorageEngine) -> None:
        rings, runtime = context.rings, context.runtime
        self._config = config
        self._cluster = context.cluster
        self._devices = context.devices
        self._rings = rings
        self._transport = context.transport
        self._runtime = runtime
        self._recon = context.recon
        self._is_mine = context.is_mine
        self._engine = engine
        self._locations = LocationResolver(rings.object, runtime.threads, runtime.clock)
        self._report = PassReport(NAME, context.recon, runtime, "files")
        self._pass: ReplicationPass | None = None

    def step(self) -> Step:
        """See Worker."""
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

    def _begin(self) -> ReplicationPass:
        self._report.begin()
        devices = []
        for name in self._device_names():
            try:
                path = self._devices.path(name)
            except DeviceUnavailable:
                continue
            devices.append(self._new_device(name, path))
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

    def _device_names(self) -> list[str]:
        """The folders of this machine's devices in the rings."""
        found: set[str] = set()
        for policy in self._cluster.policies:
            found.update(device.device for device in self._rings.object(policy.index).devices if self._is_mine(device))
        return sorted(found)

    def _end(self, current: ReplicationPass) -> None:
        total = sum(device.total for device in current.devices)
        self._recon.report(NAME, partitions=total)
        self._report.end()
        self._runtime.log.info("replication pass", partitions=total, **self._report.counts)

    # One device

    def _go_through(self, current: ReplicationPass, device: DeviceReplicationPass) -> None:
        """All partitions of a device, and then the note. Whatever comes, it comes to an end."""
        try:
            for policy, partitions in self._enter(device):
                bug = None
                try:
                    self._compare(device, policy, partitions)
                except Exception as error:
                    bug = self._failed(device, error)
                device.done += len(partitions)
                current.news.put(bug)
            if device.whole:
                self._runtime.threads.call(
                    write_contact_record, device.path, OBJECTS, self._runtime.clock.now(), self._config.reclaim_age
                )
        except Exception as error:
            current.news.put(self._failed(device, error))
        current.running -= 1
        current.news.put(None)

    def _enter(self, device: DeviceReplicationPass) -> list[tuple[Policy, list[str]]]:
        """Its partitions in random order: passes that are cut short again and again reach all at last."""
        noted = self._runtime.threads.call(read_contact_record, device.path, OBJECTS)
        if noted is not None and self._runtime.clock.now() - noted.last > self._config.reclaim_age:
            device.away_since = since = Timestamp.from_seconds(noted.last).internal
            self._runtime.log.warning(
                "device was away for longer than tombstones last", device=device.name, since=since
            )
        batches = []
        for policy in self._cluster.policies:
            partitions = sorted(self._runtime.threads.call(self._engine.device(device.path).partitions, policy))
            device.total += len(partitions)
            self._runtime.random.shuffle(partitions)
            for start in range(0, len(partitions), PARTITIONS_AT_ONCE):
                batches.append((policy, partitions[start : start + PARTITIONS_AT_ONCE]))
        self._runtime.random.shuffle(batches)
        return batches

    def _failed(self, device: DeviceReplicationPass, error: Exception) -> Exception | None:
        """It is counted, and the others go on. Returns what nobody foresaw."""
        device.whole = False
        self._report.count("failed")
        if not isinstance(error, OSError | StoreError):
            return error
        self._runtime.log.error("device failed", device=device.name, error=str(error))
        return None

    def _not_replicated(self, partition: str, error: Exception) -> None:
        """It is counted, and the others go on."""
        self._report.count("failed")
        self._runtime.log.error("partition not replicated", partition=partition, error=str(error))

    # A batch of partitions of one device

    def _compare(self, device: DeviceReplicationPass, policy: Policy, partitions: Sequence[str]) -> None:
        ring = self._rings.object(policy.index)
        left = [number for number in partitions if int(number) < ring.partition_count]
        while left:
            left = left[self._compare_some(device, policy, left, ring) :]

    def _compare_some(
        self, device: DeviceReplicationPass, policy: Policy, partitions: Sequence[str], ring: Ring
    ) -> int:
        """Look through the first ones; how many that were."""
        peers = ReplicationClient(self._transport, policy, ring.part_power, self._config.node_timeout)
        now = self._runtime.clock.now()
        before = reclaim_before(now, self._config.reclaim_age)
        power = ring.part_power
        looked = self._runtime.threads.call(self._digests, device.path, policy, partitions, now, before, power)
        for number, error in looked.items():
            if isinstance(error, OSError):
                self._not_replicated(number, error)
        digests = {number: found for number, found in looked.items() if isinstance(found, PartitionDigests)}
        known = list(digests)
        others = {
            number: [node for node in ring.primaries(int(number)) if not self._is_this(node, device)]
            for number in known
        }
        answers = self._ask_all(peers, digests, others)
        tasks = []
        for number in known:
            place = DevicePartition(device.name, device.path, policy, number, ring.part_power)
            partition = Partition(
                self._engine.device(device.path),
                self._cluster,
                self._devices,
                self._runtime,
                peers,
                place,
                before,
                device.away_since,
                device.bytes.acquire,
                device.files.acquire,
                self._locations,
                self._report,
            )
            theirs = {node: answers[node].get(number) for node in others[number]}
            is_primary = len(others[number]) < len(ring.primaries(int(number)))
            mine = digests[number]
            if is_primary and not mine.untidy and all(answer == mine.suffixes for answer in theirs.values()):
                continue
            tasks.append(concurrency.spawn(self._sync, device, partition, mine, theirs, is_primary, ring))
        for task in tasks:
            task.wait()
        return len(looked)

    def _digests(
        self, path: str, policy: Policy, partitions: Sequence[str], now: float, before: str, part_power: int
    ) -> dict[str, PartitionDigests | OSError]:
        """Those of the first partitions, or why there are none of one."""
        found: dict[str, PartitionDigests | OSError] = {}
        suffixes, storage = 0, self._engine.device(path)
        for number in partitions:
            try:
                found[number] = digests = storage.digests(policy, number, now, before, part_power)
            except OSError as error:
                found[number] = error
                continue
            suffixes += len(digests.suffixes)
            if suffixes >= SUFFIXES_AT_ONCE:
                break
        return found

    def _is_this(self, node: Device, device: DeviceReplicationPass) -> bool:
        return node.device == device.name and self._is_mine(node)

    def _ask_all(
        self,
        peers: ReplicationClient,
        digests: Mapping[str, PartitionDigests],
        others: Mapping[str, Sequence[Device]],
    ) -> dict[Device, dict[str, Mapping[str, str] | None]]:
        """What each peer has of each partition, digests by suffix; None where it did not say."""
        asked: dict[Device, list[str]] = {}
        for number, nodes in others.items():
            for node in nodes:
                asked.setdefault(node, []).append(number)
        tasks = {node: concurrency.spawn(self._ask, peers, node, numbers, digests) for node, numbers in asked.items()}
        return {node: task.wait() for node, task in tasks.items()}

    def _ask(
        self, peers: ReplicationClient, node: Device, numbers: Sequence[str], digests: Mapping[str, PartitionDigests]
    ) -> dict[str, Mapping[str, str] | None]:
        questions = [CompareRequest(int(number), digest_of(digests[number].suffixes)) for number in numbers]
        try:
            answers = peers.compare(node, questions)
        except ReplicaFailed as failure:
            self._runtime.log.warning("peer not compared", reason=str(failure))
            return dict.fromkeys(numbers)
        return {
            number: digests[number].suffixes if answer.suffixes is None else answer.suffixes
            for number, answer in zip(numbers, answers, strict=True)
        }

    # One partition

    def _sync(
        self,
        device: DeviceReplicationPass,
        partition: Partition,
        mine: PartitionDigests,
        theirs: Mapping[Device, Mapping[str, str] | None],
        is_primary: bool,
        ring: Ring,
    ) -> None:
        place = partition.place
        lock = f"{place.policy.data_dir}-{partition.number % LOCKS}"
        with device.places:
            try:
                with partition_lock_held(place.device, lock, self._config.lock_timeout):
                    is_in_touch = self._sync_locked(partition, mine, theirs, is_primary, ring)
                    device.whole = device.whole and is_in_touch
            except LockTimeout:
                device.whole = False
            except OSError as error:  # of this partition alone: its device is not out of touch
                self._not_replicated(place.partition, error)
            except StoreError as error:
                device.whole = False
                self._not_replicated(place.partition, error)

    def _sync_locked(
        self,
        partition: Partition,
        mine: PartitionDigests,
        theirs: Mapping[Device, Mapping[str, str] | None],
        is_primary: bool,
        ring: Ring,
    ) -> bool:
        """Whether anybody was reached, and nothing deferred from them: the device is not apart from the others."""
        differing = {}
        for node, answer in theirs.items():
            if answer is not None:
                # A handoff's old tombstones are in no digest, and may yet have something to delete.
                suffixes = {*mine.suffixes, *answer} if is_primary else {*mine.suffixes, *mine.untidy}
                if some := sorted(name for name in suffixes if mine.suffixes.get(name) != answer.get(name)):
                    differing[node] = some
        synced = partition.sync(differing, list(theirs), pulls=is_primary)
        reached = [
            node for node, answer in theirs.items() if answer is not None and (node not in differing or node in synced)
        ]
        if is_primary:
            partition.reclaim(reclaimable(mine.untidy, mine.suffixes, theirs.values()))
            missing = [node for node, answer in theirs.items() if answer is None]
            self._stand_in(partition, mine, missing, synced, ring)
        elif len(reached) == len(theirs):
            self._give_up(partition, list(theirs), ring)
        return not partition.defers and (bool(reached) or not theirs)

    def _give_up(self, partition: Partition, primaries: Sequence[Device], ring: Ring) -> None:
        """Empty a handoff, unless the ring has changed meanwhile."""
        current = self._rings.refreshed_object(partition.place.policy.index)
        if current.version != ring.version or list(current.primaries(partition.number)) != primaries:
            return
        partition.give_up(primaries, current.version)

    def _stand_in(
        self, partition: Partition, mine: PartitionDigests, missing: Sequence[Device], synced: Synced, ring: Ring
    ) -> None:
        """Give handoffs what primaries should hold whose devices are gone, and what others have no room for.

        A server that is down comes back soon.
        """
        number = partition.number
        handoffs = islice(ring.handoffs(number), HANDOFFS_PER_REPLICA * len(ring.primaries(number)))
        for node in missing:
            if self._device_is_gone(partition, node):
                self._hand_off(partition, handoffs, mine.suffixes, lambda _digest: True)
        for left in synced.values():
            if left.no_room:
                some = {digest[-SUFFIX_LENGTH:] for digest in left.no_room}
                suffixes = {name: digest for name, digest in mine.suffixes.items() if name in some}
                self._hand_off(partition, handoffs, suffixes, left.no_room.__contains__)

    def _hand_off(
        self,
        partition: Partition,
        handoffs: Iterator[Device],
        suffixes: Mapping[str, str],
        travels: Callable[[str], bool],
    ) -> None:
        """Give the first handoff that takes it all what `travels` of some suffixes."""
        for node in handoffs:
            try:
                answer = partition.peers.compare(node, [CompareRequest(partition.number, "")])[0].suffixes or {}
                differing = [name for name, digest in suffixes.items() if digest != answer.get(name)]
                if not partition.exchange(node, differing, travels).count:
                    return
            except (ReplicaFailed, NodeFailure) as failure:
                self._runtime.log.warning("handoff not reached", reason=str(failure))

    def _device_is_gone(self, partition: Partition, node: Device) -> bool:
        try:
            partition.peers.compare(node, [])
        except ReplicaFailed as failure:
            return failure.device_gone
        return False
