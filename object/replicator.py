"""The object replicator: brings the replicas of every partition together, and empties handoffs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Final

import msgspec

from objstore.cluster import Cluster
from objstore.config.object import ReplicatorConfig
from objstore.daemon import Step
from objstore.devices import Device
from objstore.http.transport import NodeFailure, Transport
from objstore.mounts import DeviceRoot, DeviceUnavailable
from objstore.object.engine import PartitionDigests, StorageEngine
from objstore.object.placing import Placing
from objstore.object.replication.answering import digest_of, reclaim_before
from objstore.object.replication.messages import Question
from objstore.object.replication.partitions import Counts, Partition
from objstore.object.replication.peers import PeerFailed, Peers
from objstore.object.replication.planning import reclaimable
from objstore.object.replication.receiving import Place
from objstore.pacing import Pace
from objstore.policies import Policy
from objstore.recon import Recon
from objstore.ring.ring import Ring
from objstore.ring.rings import Rings
from objstore.runtime import Runtime
from objstore.system import concurrency, files
from objstore.system.concurrency import Semaphore, Task
from objstore.system.locks import LockTimeout, locked
from objstore.timestamps import Timestamp

NAME: Final = "object-replicator"
# Partitions that are compared with one request to each peer.
PARTITIONS_AT_ONCE: Final = 64
LOCKS: Final = 64  # of a device: partitions share them
NOTE: Final = "objects_replicated"


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

    def __init__(
        self,
        config: ReplicatorConfig,
        cluster: Cluster,
        devices: DeviceRoot,
        rings: Rings,
        transport: Transport,
        runtime: Runtime,
        recon: Recon,
        is_mine: Callable[[Device], bool],
        engine: StorageEngine,
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._devices = devices
        self._rings = rings
        self._transport = transport
        self._runtime = runtime
        self._recon = recon
        self._is_mine = is_mine
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
        tasks: list[Task[int]] = [concurrency.spawn(self._batch, current, device) for device in current.devices]
        current.done += sum(task.wait() for task in tasks)
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
            noted = self._runtime.threads.call(_read_note, path)
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
                    self._runtime.threads.call(_write_note, device.path, now)
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

    def _batch(self, current: _Pass, device: _DevicePass) -> int:
        """Look through the next partitions of a device; how many."""
        batch = next(device.left, None)
        if batch is None:
            return 0
        policy, partitions = batch
        try:
            self._compare(current, device, policy, partitions)
        except (OSError, DeviceUnavailable) as error:
            device.whole = False
            current.counts.failures += 1
            self._runtime.log.error("device failed", device=device.name, error=str(error))
        return len(partitions)

    def _compare(self, current: _Pass, device: _DevicePass, policy: Policy, partitions: Sequence[str]) -> None:
        ring = self._rings.object(policy.index)
        peers = Peers(self._transport, policy, ring.part_power, self._config.node_timeout)
        now = self._runtime.clock.now()
        before = reclaim_before(now, self._config.reclaim_age)
        known = [number for number in partitions if int(number) < ring.partition_count]
        digests = self._runtime.threads.call(self._digests, device.path, policy, known, now, before, ring.part_power)
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

    def _digests(
        self, path: str, policy: Policy, partitions: Sequence[str], now: float, before: str, part_power: int
    ) -> dict[str, PartitionDigests]:
        return {
            number: self._engine.suffix_digests(path, policy, number, now, before, part_power) for number in partitions
        }

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
        lock = f"{place.device}/locks/{place.policy.data_dir}-{partition.number % LOCKS}"
        with self._places:
            try:
                files.make_directories(f"{place.device}/locks")
                with locked(lock, self._config.lock_timeout):
                    whole = self._sync_locked(partition, mine, theirs, is_primary, ring)
            except LockTimeout:
                whole = False
            except (OSError, DeviceUnavailable) as error:
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
                suffixes = {*mine.suffixes, *answer} if is_primary else mine.suffixes
                if some := sorted(name for name in suffixes if mine.suffixes.get(name) != answer.get(name)):
                    differing[node] = some
        well = partition.sync(differing, list(theirs), pulls=is_primary)
        reached = [
            node for node, answer in theirs.items() if answer is not None and (node not in differing or node in well)
        ]
        if is_primary:
            partition.reclaim(reclaimable(mine.untidy, mine.suffixes, theirs.values()))
            self._stand_in(partition, mine, [node for node, answer in theirs.items() if answer is None], ring)
        elif len(reached) == len(theirs):
            self._give_up(partition, list(theirs), ring)
        return bool(reached) or not theirs

    def _give_up(self, partition: Partition, primaries: Sequence[Device], ring: Ring) -> None:
        """Empty a handoff, unless the ring has changed meanwhile."""
        current = self._rings.refreshed_object(partition.place.policy.index)
        if current.version != ring.version or list(current.primaries(partition.number)) != primaries:
            return
        partition.give_up(primaries, current.version)

    def _stand_in(self, partition: Partition, mine: PartitionDigests, missing: Sequence[Device], ring: Ring) -> None:
        """Give a handoff what primaries whose devices are gone should hold. A server that is down comes back soon."""
        gone = sum(self._device_is_gone(partition, node) for node in missing)
        for node in islice(ring.handoffs(partition.number), gone):
            try:
                answer = partition.peers.compare(node, [Question(partition.number, "")])[0].suffixes or {}
                partition.exchange(node, [name for name in mine.suffixes if mine.suffixes[name] != answer.get(name)])
            except (PeerFailed, NodeFailure) as failure:
                self._runtime.log.warning("handoff not reached", reason=str(failure))

    def _device_is_gone(self, partition: Partition, node: Device) -> bool:
        try:
            partition.peers.compare(node, [])
        except PeerFailed as failure:
            return failure.device_gone
        return False


def _read_note(path: str) -> float | None:
    """When the last pass that reached everybody ended, in seconds since the epoch; None for a device that is new."""
    try:
        with open(f"{path}/{NOTE}", "rb") as file:
            return msgspec.json.decode(file.read(), type=float)
    except (OSError, msgspec.DecodeError):
        return None


def _write_note(path: str, now: float) -> None:
    files.write_atomically(f"{path}/{NOTE}", msgspec.json.encode(now))
