"""The object replicator: brings the replicas of every partition together, and empties handoffs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Final

from objstore.config.object import ReplicatorConfig
from objstore.daemon import Step
from objstore.devices import Device
from objstore.errors import StoreError
from objstore.http.transport import NodeFailure
from objstore.mounts import DeviceUnavailable
from objstore.object.engine import PartitionDigests, StorageEngine
from objstore.object.placing import Placing
from objstore.object.replication.answering import digest_of, reclaim_before
from objstore.object.replication.keeping import lock_held, read_note, write_note
from objstore.object.replication.messages import Question
from objstore.object.replication.partitions import Counts, Partition, Synced
from objstore.object.replication.peers import PeerFailed, Peers
from objstore.object.replication.planning import reclaimable
from objstore.object.replication.receiving import Place
from objstore.pacing import Pace
from objstore.policies import Policy
from objstore.ring.ring import Ring
from objstore.ring.surroundings import Surroundings
from objstore.system import concurrency
from objstore.system.concurrency import Semaphore, Task
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


@dataclass
class _DevicePass:
    """One pass over one device."""

    name: str
    path: str
    away_since: str
    left: Iterator[tuple[Policy, list[str]]]
    whole: bool = True  # nothing has failed so far


@dataclass
class _Pass:
    """One pass over all devices of this machine."""

    started: float
    devices: list[_DevicePass]
    total: int
    done: int = 0
    counts: Counts = field(default_factory=Counts)


class ObjectReplicator:
    """A worker: each step looks through some partitions of every device."""

    name: str = NAME

    def __init__(self, config: ReplicatorConfig, surroundings: Surroundings, engine: StorageEngine) -> None:
        rings, runtime = surroundings.rings, surroundings.runtime
        self._config = config
        self._cluster = surroundings.cluster
        self._devices = surroundings.devices
        self._rings = rings
        self._transport = surroundings.transport
        self._runtime = runtime
        self._recon = surroundings.recon
        self._is_mine = surroundings.is_mine
        self._engine = engine
        self._placing = Placing(engine, rings.object, runtime.threads, runtime.clock)
        self._bytes = Pace(config.bandwidth, runtime.clock)
        self._files = Pace(config.objects_per_second, runtime.clock)
        self._places = Semaphore(config.concurrency)
        self._pass: _Pass | None = None

    def step(self) -> Step:
        """See Worker."""
        if self._pass is None:
            self._pass = self._begin()
        current = self._pass
        tasks: list[Task[None]] = [concurrency.spawn(self._batch, current, device) for device in current.devices]
        for task in tasks:
            task.wait()
        if current.done >= current.total:
            self._end(current)
            self._pass = None
            return Step.IDLE
        self._report_progress(current)
        return Step.BUSY

    # A pass

    def _begin(self) -> _Pass:
        now = self._runtime.clock.now()
        devices, total = [], 0
        for name in self._device_names():
            try:
                path = self._devices.path(name)
            except DeviceUnavailable:
                continue
            batches = self._runtime.threads.call(self._batches, path)
            noted = self._runtime.threads.call(read_note, path)
            away = noted is not None and now - noted > self._config.reclaim_age
            since = Timestamp.from_seconds(noted).internal if noted is not None and away else ""
            if since:
                self._runtime.log.warning("device was away for longer than tombstones last", device=name, since=since)
            devices.append(_DevicePass(name, path, since, iter(batches)))
            total += sum(len(partitions) for _, partitions in batches)
        return _Pass(now, devices, total)

    def _device_names(self) -> list[str]:
        """The folders of this machine's devices in the rings."""
        found: set[str] = set()
        for policy in self._cluster.policies:
            found.update(device.device for device in self._rings.object(policy.index).devices if self._is_mine(device))
        return sorted(found)

    def _batches(self, path: str) -> list[tuple[Policy, list[str]]]:
        """All partitions of a device in random order: passes that are cut short again and again reach all at last."""
        batches = []
        for policy in self._cluster.policies:
            partitions = sorted(self._engine.partitions(path, policy))
            self._runtime.random.shuffle(partitions)
            for start in range(0, len(partitions), PARTITIONS_AT_ONCE):
                batches.append((policy, partitions[start : start + PARTITIONS_AT_ONCE]))
        self._runtime.random.shuffle(batches)
        return batches

    def _end(self, current: _Pass) -> None:
        now = self._runtime.clock.now()
        for device in current.devices:
            if device.whole:
                try:
                    self._runtime.threads.call(write_note, device.path, now)
                except OSError as error:
                    self._runtime.log.warning("pass not noted", device=device.name, error=str(error))
        figures = asdict(current.counts)
        seconds = now - current.started
        self._recon.report(
            NAME,
            started=current.started,
            ended=now,
            pass_seconds=seconds,
            partitions=current.total,
            partitions_done=current.total,
            remaining_seconds=0.0,
            **figures,
        )
        self._runtime.log.info("replication pass", seconds=round(seconds, 3), partitions=current.total, **figures)

    def _report_progress(self, current: _Pass) -> None:
        seconds = self._runtime.clock.now() - current.started
        remaining = seconds / current.done * (current.total - current.done) if current.done else 0.0
        self._recon.report(
            NAME,
            pass_started=current.started,
            partitions=current.total,
            partitions_done=current.done,
            remaining_seconds=remaining,
        )

    # A batch of partitions of one device

    def _batch(self, current: _Pass, device: _DevicePass) -> None:
        """Look through the next partitions of a device, if there are any."""
        batch = next(device.left, None)
        if batch is None:
            return
        policy, partitions = batch
        current.done += len(partitions)  # at once: whatever comes, the pass has an end
        try:
            self._compare(current, device, policy, partitions)
        except Exception as error:
            device.whole = False
            current.counts.failures += 1
            if not isinstance(error, (OSError, StoreError)):
                raise
            self._runtime.log.error("device failed", device=device.name, error=str(error))

    def _compare(self, current: _Pass, device: _DevicePass, policy: Policy, partitions: Sequence[str]) -> None:
        ring = self._rings.object(policy.index)
        left = [number for number in partitions if int(number) < ring.partition_count]
        while left:
            left = left[self._compare_some(current, device, policy, left, ring) :]

    def _compare_some(
        self, current: _Pass, device: _DevicePass, policy: Policy, partitions: Sequence[str], ring: Ring
    ) -> int:
        """Look through the first ones; how many that were."""
        peers = Peers(self._transport, policy, ring.part_power, self._config.node_timeout)
        now = self._runtime.clock.now()
        before = reclaim_before(now, self._config.reclaim_age)
        power = ring.part_power
        digests = self._runtime.threads.call(self._digests, device.path, policy, partitions, now, before, power)
        known = list(digests)
        others = {
            number: [node for node in ring.primaries(int(number)) if not self._is_this(node, device)]
            for number in known
        }
        answers = self._ask_all(peers, digests, others)
        tasks = []
        for number in known:
            place = Place(device.name, device.path, policy, number, ring.part_power)
            partition = Partition(
                self._engine,
                self._cluster,
                self._devices,
                self._runtime,
                peers,
                place,
                before,
                device.away_since,
                self._bytes.spend,
                self._files.spend,
                self._placing,
                current.counts,
            )
            theirs = {node: answers[node].get(number) for node in others[number]}
            is_primary = len(others[number]) < len(ring.primaries(int(number)))
            mine = digests[number]
            if is_primary and not mine.untidy and all(answer == mine.suffixes for answer in theirs.values()):
                continue
            tasks.append(concurrency.spawn(self._sync, device, partition, mine, theirs, is_primary, ring))
        for task in tasks:
            task.wait()
        return len(known)

    def _digests(
        self, path: str, policy: Policy, partitions: Sequence[str], now: float, before: str, part_power: int
    ) -> dict[str, PartitionDigests]:
        """Those of the first partitions."""
        found: dict[str, PartitionDigests] = {}
        suffixes = 0
        for number in partitions:
            found[number] = self._engine.suffix_digests(path, policy, number, now, before, part_power)
            suffixes += len(found[number].suffixes)
            if suffixes >= SUFFIXES_AT_ONCE:
                break
        return found

    def _is_this(self, node: Device, device: _DevicePass) -> bool:
        return node.device == device.name and self._is_mine(node)

    def _ask_all(
        self,
        peers: Peers,
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
        self, peers: Peers, node: Device, numbers: Sequence[str], digests: Mapping[str, PartitionDigests]
    ) -> dict[str, Mapping[str, str] | None]:
        questions = [Question(int(number), digest_of(digests[number].suffixes)) for number in numbers]
        try:
            answers = peers.compare(node, questions)
        except PeerFailed as failure:
            self._runtime.log.warning("peer not compared", reason=str(failure))
            return dict.fromkeys(numbers)
        return {
            number: digests[number].suffixes if answer.suffixes is None else answer.suffixes
            for number, answer in zip(numbers, answers, strict=True)
        }

    # One partition

    def _sync(
        self,
        device: _DevicePass,
        partition: Partition,
        mine: PartitionDigests,
        theirs: Mapping[Device, Mapping[str, str] | None],
        is_primary: bool,
        ring: Ring,
    ) -> None:
        place = partition.place
        lock = f"{place.policy.data_dir}-{partition.number % LOCKS}"
        with self._places:
            try:
                with lock_held(place.device, lock, self._config.lock_timeout):
                    whole = self._sync_locked(partition, mine, theirs, is_primary, ring)
            except LockTimeout:
                whole = False
            except (OSError, StoreError) as error:
                whole = False
                partition.counts.failures += 1
                self._runtime.log.error("partition not replicated", partition=place.partition, error=str(error))
        device.whole = device.whole and whole

    def _sync_locked(
        self,
        partition: Partition,
        mine: PartitionDigests,
        theirs: Mapping[Device, Mapping[str, str] | None],
        is_primary: bool,
        ring: Ring,
    ) -> bool:
        """Whether anybody was reached, so that the device is not apart from the others."""
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
        return bool(reached) or not theirs

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
                answer = partition.peers.compare(node, [Question(partition.number, "")])[0].suffixes or {}
                differing = [name for name, digest in suffixes.items() if digest != answer.get(name)]
                if not partition.exchange(node, differing, travels).count:
                    return
            except (PeerFailed, NodeFailure) as failure:
                self._runtime.log.warning("handoff not reached", reason=str(failure))

    def _device_is_gone(self, partition: Partition, node: Device) -> bool:
        try:
            partition.peers.compare(node, [])
        except PeerFailed as failure:
            return failure.device_gone
        return False
