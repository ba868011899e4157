"""The replicator of databases: a worker that brings all replicas of each database to the same state, pass after pass.

It looks at some databases at a time and asks each peer about all of them in one request; most have not changed, and are
done with that. The rest are synced one by one. `removal` says how replicas in the wrong place are removed, and
when old tombstones are dropped.
"""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, Generic

from objstore.cluster import Cluster
from objstore.config.sections import DatabaseReplicatorConfig
from objstore.contact_record import read_contact_record, write_contact_record
from objstore.daemon import Step
from objstore.db.connection import DatabaseAbsent, DatabaseBusy, DatabaseCorrupt, DatabaseFailed, DatabaseRemoved
from objstore.db.location import DatabaseLocation, ResourceLocation, Walk
from objstore.db.messages import SummaryRequest, SummaryResponse
from objstore.db.removal import Reclaimer, Remover, same_as
from objstore.db.reports import PassReport
from objstore.db.schema import Row, TableSchema
from objstore.db.store import DatabaseStore
from objstore.db.summary import Summary, peek_by_device, read_summary
from objstore.db.syncing import DatabaseReplicationClient, LocalReplica, Sync, SyncResult
from objstore.devices import Device
from objstore.direct import RingView
from objstore.http.transport import ReplicaFailed, Transport
from objstore.mounts import DeviceRoot
from objstore.paths import ResourcePath
from objstore.recon import Recon
from objstore.runtime import Runtime
from objstore.system import concurrency, files
from objstore.system.concurrency import Semaphore, Task
from objstore.system.locks import LockTimeout
from objstore.timestamps import Timestamp

DATABASES_PER_STEP: Final = 50
# Tombstones are looked through so much more seldom than they may be dropped.
RECLAIM_LOOKS: Final = 168
LOOKS_REMEMBERED_MAX: Final = 20_000  # of databases that have tombstones; beyond this all are looked through again

UNCHANGED_OUTCOMES: Final = frozenset({"looked_at", "unchanged"})  # of a pass that finds all replicas equal
PeerResponses = Mapping[Device, SummaryResponse | ReplicaFailed]
TROUBLES: Final = (DatabaseBusy, DatabaseCorrupt, DatabaseFailed, LockTimeout, OSError, ReplicaFailed)


class DatabaseReplicator(Generic[Row]):
    """A worker: each step looks after up to DATABASES_PER_STEP databases."""

    name: str
    databases_per_step: Final = DATABASES_PER_STEP

    def __init__(
        self,
        config: DatabaseReplicatorConfig,
        schema: TableSchema[Row],
        cluster: Cluster,
        devices: DeviceRoot,
        ring: Callable[[], RingView],
        transport: Transport,
        runtime: Runtime,
        recon: Recon,
        is_mine: Callable[[Device], bool],
    ) -> None:
        self.config = config
        self.runtime = runtime
        self.store = DatabaseStore(schema, cluster, devices, runtime, open_max=config.concurrency)
        self.schema = schema
        self.devices = devices
        self.ring = ring
        self.is_mine = is_mine
        self.client = DatabaseReplicationClient(schema, transport, config.node_timeout)
        self._sync = Sync(config, schema, self.store, devices, self.client, runtime)
        self._remover = Remover(self.store, runtime)
        self._reclaimer = Reclaimer(schema, config.reclaim_age)
        self.recon = recon
        self._report = PassReport(self.name, recon, runtime)
        self._at_once = Semaphore(config.concurrency)
        self._walk: Walk | None = None
        self._next_looks: dict[str, float] = {}
        self._away: dict[str, float] = {}  # devices that come back after so long that it may be obsolete; since when
        self._cut_off: set[str] = set()  # devices with a database of which in this pass not one peer answered
        self.contents: int | None = None  # a digest of all that a pass has found; None if it had something to do
        self._found = 0

    @abstractmethod
    def settled(self, connection: sqlite3.Connection) -> bool:
        """Whether a deleted database may be removed: all that must know of the deletion have been told."""

    @abstractmethod
    def totals_changed(self, location: DatabaseLocation) -> None:
        """The totals of a database have just changed."""

    @abstractmethod
    def synced(self, replica: LocalReplica) -> None:
        """A primary's replica was compared with those peers that could be reached, and synced."""

    def step(self) -> Step:
        """The next few databases; IDLE at the end of a pass."""
        if self._walk is None:
            self._begin()
        assert self._walk is not None
        locations = self._walk.some(DATABASES_PER_STEP)
        if not locations:
            self._end(self._walk)
            return Step.IDLE
        replicas = self._replicas(locations)
        responses = self._ask_peers(replicas)
        tasks: list[Task[None]] = [
            concurrency.spawn(self._replicate, replica, responses[number]) for number, replica in enumerate(replicas)
        ]
        for task in tasks:
            task.wait()
        self._report.progress(self._walk.done, self._walk.total)
        return Step.BUSY

    def surface(self) -> object:
        """Which partitions there are, which databases in quarantine, and the ring."""
        return Walk(self.devices, self.schema.folder, self.runtime).surface, self.ring()

    def _begin(self) -> None:
        self._report.begin()
        self._cut_off.clear()
        self._found = 0
        walk = self._walk = Walk(self.devices, self.schema.folder, self.runtime)
        oldest = self.runtime.clock.now() - self.config.reclaim_age
        for root in walk.roots:
            call = self.runtime.threads.of(root).call
            note = call(read_contact_record, root, self.schema.folder)
            if note is not None and note.last < oldest:
                self._away[root] = note.last
            call(self._remover.clean, root, self.runtime.clock.now())

    def _end(self, walk: Walk) -> None:
        """A device counts as away until a pass in which some peer has answered for each of its databases.

        One peer is enough: a dead disk elsewhere must not make all devices seem isolated. Nothing is forgotten while a
        primary does not answer.
        """
        self._walk = None
        for root in walk.roots:
            if root in self._cut_off:
                continue
            self._away.pop(root, None)
            try:
                now, age = self.runtime.clock.now(), self.config.reclaim_age
                self.runtime.threads.of(root).call(write_contact_record, root, self.schema.folder, now, age)
            except OSError as error:
                self.runtime.log.warning("device cannot be written to", device=root, reason=str(error))
        is_unchanged = not self._away and self._report.counts.keys() <= UNCHANGED_OUTCOMES
        self.contents = self._found if is_unchanged else None
        self._report.end()

    def _replicas(self, locations: Sequence[DatabaseLocation]) -> list[LocalReplica]:
        """The databases that can be read, and where the ring places them."""
        replicas = []
        for location, found in zip(locations, peek_by_device(locations, self.runtime.threads), strict=True):
            try:
                replicas.append(self._replica(location, found))
            except DatabaseRemoved:
                self._finish_removal(location)
            except DatabaseAbsent:
                continue
            except TROUBLES as error:
                self._failed(location, error)
        return replicas

    def _replica(self, location: DatabaseLocation, found: Summary | Exception | None) -> LocalReplica:
        if isinstance(found, Exception):
            raise found
        if found is None:
            with self.store.opened(location) as database:
                found = database.read(read_summary)
                database.flush()
        ring = self.ring()
        device = location.device_name
        partition = ring.partition_of(bytes.fromhex(location.hash))
        primaries = ring.primaries(partition)
        mine = next((node for node in primaries if node.device == device and self.is_mine(node)), None)
        if int(location.partition) != partition:
            mine = None
        path = ResourcePath(found.account, found.container)
        self._found ^= hash((location.file, found.sequence, found.status, found.metadata_digest))
        resource = ResourceLocation(location.root, location.folder, location.partition, location.hash, device, path)
        return LocalReplica(resource, partition, primaries, mine, found)

    def _ask_peers(self, replicas: Sequence[LocalReplica]) -> list[dict[Device, SummaryResponse | ReplicaFailed]]:
        """Every peer's response for each replica, with one request to a peer for all that concern it."""
        responses: list[dict[Device, SummaryResponse | ReplicaFailed]] = [{} for _ in replicas]
        wanted: dict[Device, list[int]] = {}
        for number, replica in enumerate(replicas):
            for node in replica.peers:
                wanted.setdefault(node, []).append(number)

        def ask(node: Device, numbers: list[int]) -> None:
            requests = [_summary_request(replicas[number]) for number in numbers]
            try:
                found: Sequence[SummaryResponse | ReplicaFailed] = self.client.compare(node, requests)
            except ReplicaFailed as failure:
                found = [failure] * len(numbers)
            for number, response in zip(numbers, found, strict=True):
                responses[number][node] = response

        tasks: list[Task[None]] = [concurrency.spawn(ask, node, numbers) for node, numbers in wanted.items()]
        for task in tasks:
            task.wait()
        return responses

    def _replicate(self, replica: LocalReplica, responses: PeerResponses) -> None:
        with self._at_once:
            try:
                self._sync_all(replica, responses)
            except DatabaseAbsent:
                return
            except TROUBLES as error:
                self._failed(replica.location, error)

    def _sync_all(self, replica: LocalReplica, responses: PeerResponses) -> None:
        self._report.count("looked_at")
        if responses and not any(
            isinstance(response, SummaryResponse) or response.device_gone for response in responses.values()
        ):
            self._cut_off.add(replica.location.root)
        limit = self._reclaimer.limit(self._slowest_clock(responses))
        if self._forgettable(replica, responses, limit):
            return
        if self._defer_stale(replica, responses):
            return
        agreed = True
        for node in replica.peers:
            agreed &= self._sync_one(replica, node, responses[node], limit)
        if replica.mine is None:
            if agreed:
                self._give_up(replica)
            return
        if agreed:
            self._reclaim(replica, responses, limit)
        self.synced(replica)

    def _slowest_clock(self, responses: PeerResponses) -> float:
        """The earliest clock of all peers: a tombstone is old only if it is old by every clock."""
        clocks = [response.clock for response in responses.values() if isinstance(response, SummaryResponse)]
        return min([self.runtime.clock.now(), *clocks])

    def _sync_one(
        self, replica: LocalReplica, node: Device, response: SummaryResponse | ReplicaFailed, limit: str
    ) -> bool:
        """Whether both replicas agree now."""
        try:
            if isinstance(response, ReplicaFailed):
                raise response
            if response.is_absent and replica.mine is not None and self._is_old_and_deleted(replica.summary, limit):
                # It has forgotten it, and must not be reminded. A handoff gives what it has before it goes: only
                # primaries tell others of a deletion that nobody may have heard of yet.
                return True
            result = self._sync.run(replica, node, response, limit)
        except ReplicaFailed as failure:
            self._failed(replica.location, failure)
            if failure.device_gone and replica.mine is not None:
                self._sync_to_handoff(replica, node, limit)
            return False
        self._count(replica, result)
        return result.agreed

    def _sync_to_handoff(self, replica: LocalReplica, gone: Device, limit: str) -> None:
        """A handoff holds the replica of a device that is gone."""
        handoffs = list(islice(self.ring().handoffs(replica.partition), len(replica.primaries)))
        if not handoffs:
            return
        # All peers choose the same one for the same device, and another for another where there are enough.
        node = handoffs[replica.primaries.index(gone) % len(handoffs)]
        try:
            (response,) = self.client.compare(node, [_summary_request(replica)])
            self._count(replica, self._sync.run(replica, node, response, limit))
        except ReplicaFailed as failure:
            self._failed(replica.location, failure)

    def _count(self, replica: LocalReplica, result: SyncResult) -> None:
        self._report.count("unchanged" if result.agreed and not result.worked else "synced")
        if result.changed:
            self.totals_changed(replica.location)

    def _give_up(self, replica: LocalReplica) -> None:
        """This replica lies where it should not, and every primary has all of it: once they promise, it goes."""
        if not all(self._sync.give_up(replica, node) for node in replica.primaries):
            return
        now = self.ring().primaries(replica.partition)
        if now != replica.primaries or not replica.primaries:
            return  # the ring has just changed
        if self._remover.remove(replica.location, same_as(replica.summary)):
            self._report.count("removed")

    def _forgettable(self, replica: LocalReplica, responses: PeerResponses, limit: str) -> bool:
        """Remove the replica of a resource deleted long ago, if all primaries say the same or have forgotten it."""
        if not self._is_old_and_deleted(replica.summary, limit):
            return False
        for response in responses.values():
            if not isinstance(response, SummaryResponse) or response.trouble:
                return False
            if response.summary is not None and not self._is_old_and_deleted(response.summary, limit):
                return False
        before = replica.summary

        def allowed(now: Summary) -> bool:
            return same_as(before)(now) and self._is_old_and_deleted(now, limit)

        with self.store.opened(replica.location) as database:
            if not database.read(self.settled):
                return False
        removed = self._remover.remove(replica.location, allowed)
        self._report.count("reclaimed", int(removed))
        return removed

    @staticmethod
    def _is_old_and_deleted(summary: Summary, limit: str) -> bool:
        status = summary.status
        return status.deleted and summary.row_count == 0 and status.delete_timestamp < limit

    def _defer_stale(self, replica: LocalReplica, responses: PeerResponses) -> bool:
        """Do not sync a database that may have been deleted while its device was away; whether that is so.

        It may if no peer has it and nothing was written to it since. It goes to quarantine once all peers say that they
        have none, and one of them was in service when this device was last in contact; until all answer it is deferred.
        If none of them was in service, they get what may be the last replica. A database in a partition of a former
        ring is synced: the peers may just not have moved theirs.
        """
        away_since = self._away.get(replica.location.root)
        if away_since is None or int(replica.location.partition) != replica.partition:
            return False
        known = [each for each in responses.values() if isinstance(each, SummaryResponse) and each.is_absent]
        if not known or any(
            isinstance(each, SummaryResponse) and each.summary is not None for each in responses.values()
        ):
            return False
        with self.store.opened(replica.location) as database:
            since = Timestamp.from_seconds(away_since).internal
            if database.read(partial(self._reclaimer.is_used_since, since), long=True):
                return False
        if len(known) < len(responses):
            self._cut_off.add(replica.location.root)
            self._report.count("failed")
            self.runtime.log.warning("database deferred: it may have been deleted", file=replica.location.file)
            return True
        if any(each.note is not None and each.note.was_in_service_at(away_since) for each in known):
            self._quarantine_stale(replica)
            return True
        return False

    def _quarantine_stale(self, replica: LocalReplica) -> None:
        location = replica.location
        target = self.store.threads_of(location).call(files.move_aside, location.directory, location.quarantine)
        self._report.count("set_aside")
        self.runtime.log.error("database unknown to all others since its device was away", target=target)

    def _reclaim(self, replica: LocalReplica, responses: PeerResponses, limit: str) -> None:
        """Drop old tombstones, now and then."""
        if replica.summary.tombstone_digest == 0:
            return
        now, key = self.runtime.clock.now(), replica.location.file
        if now < self._next_looks.get(key, 0.0):
            return
        if len(self._next_looks) >= LOOKS_REMEMBERED_MAX:
            self._next_looks.clear()
        self._next_looks[key] = now + self.config.reclaim_age / RECLAIM_LOOKS
        others = [node for node, response in responses.items() if _may_have_older_rows(replica, response)]

        def resend_tombstones(rows: Sequence[Row]) -> None:
            for node in others:
                self._sync.resend_tombstones(replica, node, rows, limit)

        with self.store.opened(replica.location) as database:
            dropped = self._reclaimer.run(database, replica.summary.sequence, limit, resend_tombstones)
        self._report.count("tombstones_dropped", dropped)

    def _finish_removal(self, location: DatabaseLocation) -> None:
        try:
            self._remover.finish(location)
        except (DatabaseAbsent, *TROUBLES) as error:
            self._failed(location, error)

    def _failed(self, location: DatabaseLocation, error: Exception) -> None:
        self._report.count("failed")
        self.runtime.log.warning("database not replicated", file=location.file, reason=str(error))


def _summary_request(replica: LocalReplica) -> SummaryRequest:
    return SummaryRequest(replica.partition, replica.location.hash, replica.summary)


def _may_have_older_rows(replica: LocalReplica, response: SummaryResponse | ReplicaFailed) -> bool:
    if isinstance(response, ReplicaFailed) or response.summary is None:
        return False  # it has nothing, or this pass has failed
    return response.summary.live_digest != replica.summary.live_digest
