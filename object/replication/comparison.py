"""Comparing the partitions of one device with those of the other primaries, and syncing those that differ."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from objstore.config.object import ReplicatorConfig
from objstore.db.reports import PassReport
from objstore.devices import Device
from objstore.errors import StoreError
from objstore.http.transport import NodeFailure, ReplicaFailed
from objstore.object.engine import PartitionDigests, StorageEngine
from objstore.object.part_power import LocationResolver
from objstore.object.replication.client import ReplicationClient
from objstore.object.replication.messages import CompareRequest
from objstore.object.replication.partition_lock import partition_lock_held
from objstore.object.replication.partitions import File, ListInstead, Partition, Synced
from objstore.object.replication.planning import reclaimable
from objstore.object.replication.receiving import DevicePartition
from objstore.object.replication.server import digest_of, reclaim_before
from objstore.object.versions import has_foreign_fragments, shared_digest
from objstore.policies import Policy
from objstore.rate_limiter import RateLimiter
from objstore.ring.daemon_context import DaemonContext
from objstore.ring.ring import Ring
from objstore.system import concurrency
from objstore.system.concurrency import Semaphore, WaitTimeout
from objstore.system.locks import LockTimeout

# However many objects there are: so many digests of a device in memory, and those of one more partition, are enough.
SUFFIXES_AT_ONCE: Final = 4096
LOCKS: Final = 64  # of a device: partitions share them
# So many handoffs are asked to take what a primary cannot; when none does, the next pass asks again.
HANDOFFS_PER_REPLICA: Final = 2
SUFFIX_LENGTH: Final = 3

Suffixes = Mapping[str, str]  # digests by suffix
Digests = Mapping[str, PartitionDigests]  # by partition


@dataclass
class DeviceReplicationPass:
    """One pass over one device, with limits of its own. `done` and `total` are partitions.

    `away_since` is a timestamp if the device was away for longer than tombstones are kept, else "".
    """

    name: str
    path: str
    places: Semaphore
    bytes: RateLimiter
    files: RateLimiter
    away_since: str = ""
    done: int = 0
    total: int = 0
    whole: bool = True  # nothing has failed so far
    differed: bool = False  # some partition was not equal, or had something to forget
    contents: int = 0  # a digest of all partitions


@dataclass
class ComparedPartition:
    """A partition of a device, its digests, and those of each other primary; None of one that did not answer."""

    partition: Partition
    mine: PartitionDigests
    theirs: Mapping[Device, Suffixes | None]
    is_primary: bool
    ring: Ring
    foreign: Sequence[str] = ()  # suffixes with fragments that other primaries should hold


class PartitionComparison:
    """Compares and syncs the partitions of the devices of this machine."""

    def __init__(
        self,
        config: ReplicatorConfig,
        context: DaemonContext,
        engine: StorageEngine,
        report: PassReport,
        list_instead: ListInstead,
    ) -> None:
        self._config = config
        self._cluster = context.cluster
        self._devices = context.devices
        self._rings = context.rings
        self._transport = context.transport
        self._runtime = context.runtime
        self._is_mine = context.is_mine
        self._engine = engine
        self._locations = LocationResolver(context.rings.object, context.runtime.threads, context.runtime.clock)
        self._report = report
        self._list_instead = list_instead

    def compare(self, device: DeviceReplicationPass, policy: Policy, partitions: Sequence[str]) -> None:
        """Compare some partitions of a device, with few requests, and sync those that differ."""
        ring = self._rings.object(policy.index)
        left = [number for number in partitions if int(number) < ring.partition_count]
        while left:
            left = left[self._compare_some(device, policy, left, ring) :]

    def _compare_some(
        self, device: DeviceReplicationPass, policy: Policy, partitions: Sequence[str], ring: Ring
    ) -> int:
        """Compare the first of the partitions; returns how many."""
        before = reclaim_before(self._runtime.clock.now(), self._config.reclaim_age)
        call = self._runtime.threads.of(device.path).call
        looked = call(self._digests, device.path, policy, partitions, before, ring.part_power)
        for number, error in looked.items():
            if isinstance(error, OSError):
                device.differed = True
                self._not_replicated(number, error)
        digests = {number: found for number, found in looked.items() if isinstance(found, PartitionDigests)}
        client = ReplicationClient(self._transport, policy, ring.part_power, self._config.node_timeout)
        responses = self._ask_all(client, device, digests, ring)
        tasks = []
        for number, mine in digests.items():
            primaries = policy.scheme.in_order(ring.primaries(int(number)))
            others = [node for node in primaries if not self._is_this(node, device)]
            theirs = {node: responses[node][number] for node in others}
            is_primary = len(others) < len(primaries)
            foreign: Sequence[str] = ()
            if policy.scheme.code is not None:
                for place_number, node in enumerate(primaries):
                    if self._is_this(node, device):
                        own = policy.scheme.number(place_number)
                        foreign = [name for name, each in mine.suffixes.items() if has_foreign_fragments(each, own)]
                mine = PartitionDigests(_shared(mine.suffixes), mine.untidy)
                theirs = {node: None if each is None else _shared(each) for node, each in theirs.items()}
            if (
                is_primary
                and not mine.untidy
                and not foreign
                and all(answer == mine.suffixes for answer in theirs.values())
            ):
                continue
            device.differed = True
            agreement = self._engine.agreement(device.path) if policy.is_strong else None
            place = DevicePartition(device.name, device.path, policy, number, ring.part_power, agreement)
            partition = self._partition(device, place, client, primaries, before)
            compared = ComparedPartition(partition, mine, theirs, is_primary, ring, foreign)
            tasks.append(concurrency.spawn(self._sync, device, compared))
        for task in tasks:
            task.wait()
        return len(looked)

    def _partition(
        self,
        device: DeviceReplicationPass,
        place: DevicePartition,
        client: ReplicationClient,
        primaries: Sequence[Device],
        before: str,
    ) -> Partition:
        return Partition(
            storage=self._engine.device(device.path),
            cluster=self._cluster,
            devices=self._devices,
            runtime=self._runtime,
            client=client,
            place=place,
            primaries=primaries,
            own_piece=next((i for i, node in enumerate(primaries) if self._is_this(node, device)), None),
            reclaim_before=before,
            away_since=device.away_since,
            list_instead=self._list_instead,
            spend_bytes=device.bytes.acquire,
            spend_files=device.files.acquire,
            locations=self._locations,
            report=self._report,
        )

    def _digests(
        self, path: str, policy: Policy, partitions: Sequence[str], before: str, part_power: int
    ) -> dict[str, PartitionDigests | OSError]:
        """The digests of the first partitions, or why a partition has none. Blocks."""
        now = self._runtime.clock.now()
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
        self, client: ReplicationClient, device: DeviceReplicationPass, digests: Digests, ring: Ring
    ) -> dict[Device, dict[str, Suffixes | None]]:
        """What each other primary has of each partition; None where it does not answer."""
        asked: dict[Device, list[CompareRequest]] = {}
        for number, mine in digests.items():
            request = CompareRequest(int(number), digest_of(mine.suffixes))
            device.contents ^= hash((client.policy_index, request.partition, request.digest))
            for node in ring.primaries(request.partition):
                if not self._is_this(node, device):
                    asked.setdefault(node, []).append(request)
        tasks = {node: concurrency.spawn(self._ask, client, node, some, digests) for node, some in asked.items()}
        return {node: task.wait() for node, task in tasks.items()}

    def _ask(
        self, client: ReplicationClient, node: Device, requests: Sequence[CompareRequest], digests: Digests
    ) -> dict[str, Suffixes | None]:
        numbers = [str(request.partition) for request in requests]
        try:
            answers = client.compare(node, requests)
        except ReplicaFailed as failure:
            self._runtime.log.warning("peer not compared", reason=str(failure))
            return dict.fromkeys(numbers)
        return {
            number: digests[number].suffixes if answer.suffixes is None else answer.suffixes
            for number, answer in zip(numbers, answers, strict=True)
        }

    # One partition

    def _sync(self, device: DeviceReplicationPass, compared: ComparedPartition) -> None:
        place = compared.partition.place
        lock = f"{place.policy.data_dir}-{compared.partition.number % LOCKS}"
        with device.places:
            try:
                with partition_lock_held(place.device, lock, self._config.lock_timeout):
                    is_in_contact = self._sync_locked(compared)
                    device.whole = device.whole and is_in_contact
            except LockTimeout:
                device.whole = False
            except OSError as error:  # of this partition alone: its device is still in contact
                self._not_replicated(place.partition, error)
            except (StoreError, WaitTimeout) as error:
                device.whole = False
                self._not_replicated(place.partition, error)

    def _sync_locked(self, compared: ComparedPartition) -> bool:
        """Whether some primary was reached, and nothing deferred: the device is in contact with the others."""
        partition, mine, theirs = compared.partition, compared.mine, compared.theirs
        differing = {}
        for node, answer in theirs.items():
            if answer is not None:
                # A handoff's old tombstones are in no digest, and may yet have something to delete.
                suffixes = {*mine.suffixes, *(answer if compared.is_primary else mine.untidy)}
                some = {name for name in suffixes if mine.suffixes.get(name) != answer.get(name)}
                some.update(compared.foreign)
                if some:
                    differing[node] = sorted(some)
        synced = partition.sync(differing, list(theirs), pulls=compared.is_primary)
        reached = [
            node for node, answer in theirs.items() if answer is not None and (node not in differing or node in synced)
        ]
        if compared.is_primary:
            partition.reclaim(reclaimable(mine.untidy, mine.suffixes, theirs.values()))
            partition.mend_fragments(mine.untidy, self._voters(compared), compared.foreign, compared.ring.version)
            self._sync_to_handoffs(compared, synced)
        elif len(reached) == len(theirs):
            partition.mend_fragments(mine.untidy, self._voters(compared), (), compared.ring.version)
            self._give_up(partition, compared.ring)
        return not partition.defers and (bool(reached) or not theirs)

    def _voters(self, compared: ComparedPartition) -> list[Device]:
        """The other primaries, and those before a young ring: these may know that something pending counts."""
        partition, here = compared.partition, compared.partition.place.device_name
        former = compared.ring.former_primaries(partition.number)
        return [*compared.theirs, *(node for node in former if not (node.device == here and self._is_mine(node)))]

    def _give_up(self, partition: Partition, ring: Ring) -> None:
        """Empty a handoff, unless the ring has changed meanwhile."""
        policy = partition.place.policy
        current = self._rings.refreshed_object(policy.index)
        primaries = policy.scheme.in_order(current.primaries(partition.number))
        if current.version == ring.version and primaries == partition.primaries:
            partition.give_up(current.version)

    def _sync_to_handoffs(self, compared: ComparedPartition, synced: Synced) -> None:
        """Give handoffs what belongs to primaries whose devices are gone, and what primaries have no room for.

        A primary whose server does not answer needs no handoff: a server that is down comes back soon.
        """
        partition, mine, ring = compared.partition, compared.mine, compared.ring
        number = partition.number
        handoffs = islice(ring.handoffs(number), HANDOFFS_PER_REPLICA * len(ring.primaries(number)))
        for node, answer in compared.theirs.items():
            if answer is None and self._device_is_gone(partition, node):
                self._sync_to_handoff(partition, handoffs, node, mine.suffixes, lambda _file: True)
        for node, left in synced.items():
            if left.no_room:
                some = {digest[-SUFFIX_LENGTH:] for digest in left.no_room}
                suffixes = {name: digest for name, digest in mine.suffixes.items() if name in some}
                self._sync_to_handoff(partition, handoffs, node, suffixes, _of_objects(left.no_room))

    def _sync_to_handoff(
        self,
        partition: Partition,
        handoffs: Iterator[Device],
        primary: Device,
        suffixes: Suffixes,
        travels: Callable[[File], bool],
    ) -> None:
        """Give the files of these suffixes that `travels` lets go to the first handoff that takes all of them."""
        piece = partition.piece_of(primary)
        for node in handoffs:
            try:
                answer = partition.client.compare(node, [CompareRequest(partition.number, "")])[0].suffixes or {}
                differing = [name for name, digest in suffixes.items() if digest != answer.get(name)]
                if not partition.exchange(node, differing, travels, piece=piece).count:
                    return
            except (ReplicaFailed, NodeFailure) as failure:
                self._runtime.log.warning("handoff not reached", reason=str(failure))

    def _device_is_gone(self, partition: Partition, node: Device) -> bool:
        try:
            partition.client.compare(node, [])
        except ReplicaFailed as failure:
            return failure.device_gone
        return False

    def _not_replicated(self, partition: str, error: Exception) -> None:
        """Count and log the error; the other partitions go on."""
        self._report.count("failed")
        self._runtime.log.error("partition not replicated", partition=partition, error=str(error))


def _shared(suffixes: Suffixes) -> dict[str, str]:
    return {name: shared_digest(digest) for name, digest in suffixes.items()}


def _of_objects(digests: Container[str]) -> Callable[[File], bool]:
    return lambda file: file[0] in digests
