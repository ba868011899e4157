"""Brings one database and a peer's replica to the same state: decides from their summaries, then exchanges rows."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Generic

from msgspec import Struct
from msgspec.structs import replace

from objstore.config.sections import DatabaseReplicatorConfig
from objstore.db.database import Database
from objstore.db.location import ResourceLocation
from objstore.db.merging import BatchReader, Merger
from objstore.db.messages import (
    BATCH_BYTES_MAX,
    COMPARED_ACCOUNT,
    MERGE_RESULT,
    METHOD,
    SUMMARY_RESPONSES,
    MergeResult,
    RowBatch,
    SummaryRequest,
    SummaryResponse,
    SyncStep,
    batch_decoder,
    encode,
)
from objstore.db.schema import Row, TableSchema
from objstore.db.snapshots import Snapshots
from objstore.db.store import DatabaseStore
from objstore.db.summary import Summary, summary_of
from objstore.devices import Device
from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.transport import (
    BackendRequest,
    BackendResponse,
    NodeFailure,
    ReplicaFailed,
    Transport,
    decoded,
    good_content,
)
from objstore.mounts import DeviceFull, DeviceRoot
from objstore.paths import ResourcePath
from objstore.runtime import Runtime


class SyncPlan(Struct, frozen=True):
    """The steps of a sync with one peer.

    `push_from` and `pull_from` are sequences after which rows are missing there or here. With `create` the peer has no
    replica. `agree` means that the rows are equal, and that this is not noted here yet. `strayed` means that rows
    differ although each has merged all of the other's: one is damaged. RowBatch explains `forgotten_before`.
    """

    create: bool = False
    push_from: int | None = None
    pull_from: int | None = None
    agree: bool = False
    strayed: bool = False
    forgotten_before: str = ""

    @property
    def nothing(self) -> bool:
        """Whether both are in the same state, and know it."""
        return not (self.create or self.agree) and self.push_from is None and self.pull_from is None


def decide(mine: Summary, theirs: Summary | None, both_ways: bool) -> SyncPlan:
    """Decide what one pass does; a handoff that is to be removed only sends (`both_ways` is false)."""
    if theirs is None:
        return SyncPlan(create=True, push_from=0)
    known_there, known_here = theirs.points.get(mine.id, 0), mine.points.get(theirs.id, 0)
    if mine.same_rows(theirs):
        push = None if mine.same_state(theirs) else known_there
        return SyncPlan(push_from=push, agree=both_ways and known_here < theirs.sequence)
    push = known_there if known_there < mine.sequence or not mine.same_state(theirs) else None
    pull = known_here if both_ways and known_here < theirs.sequence else None
    if known_there >= mine.sequence and known_here >= theirs.sequence and mine.live_digest != theirs.live_digest:
        # Tombstones may differ, since each replica drops old ones when it comes to them. Live rows may not.
        return SyncPlan(push_from=0, pull_from=0 if both_ways else None, strayed=True)
    return SyncPlan(push_from=push, pull_from=pull)


def was_turned_back(mine: Summary, theirs: Summary) -> bool:
    """Whether the peer has merged sequences that were not given out here: an older copy of the file was put back.

    New rows would get sequences again that the peer believes to have.
    """
    return theirs.points.get(mine.id, 0) > mine.sequence


_HEADERS: Final[Mapping[str, str]] = {Client.CONTENT_TYPE: "application/json"}


class DatabaseReplicationClient(Generic[Row]):
    def __init__(self, schema: TableSchema[Row], transport: Transport, timeout_seconds: float) -> None:
        self.transport = transport
        self.timeout_seconds = timeout_seconds
        self._batches = batch_decoder(schema)

    def compare(self, node: Device, requests: Sequence[SummaryRequest]) -> list[SummaryResponse]:
        """Ask a device for the summaries of some databases. Raises ReplicaFailed."""
        request = self._request(SyncStep.COMPARE, node, 0, ResourcePath(COMPARED_ACCOUNT))
        body = self._ask(request, encode(requests))
        responses = decoded(SUMMARY_RESPONSES, node, body)
        if len(responses) != len(requests):
            raise ReplicaFailed(node, 0, f"{len(responses)} responses to {len(requests)} requests")
        return responses

    def merge(self, node: Device, partition: int, path: ResourcePath, batch: RowBatch[Row]) -> MergeResult:
        """Have a batch merged. Raises ReplicaFailed."""
        body = self._ask(self._request(SyncStep.MERGE, node, partition, path), encode(batch))
        return decoded(MERGE_RESULT, node, body)

    def rows(self, node: Device, partition: int, path: ResourcePath, after: int, limit: int) -> RowBatch[Row]:
        """Rows of a peer. Raises ReplicaFailed."""
        request = self._request(SyncStep.ROWS, node, partition, path, f"&after={after}&limit={limit}")
        body = self._ask(request, b"")
        return decoded(self._batches, node, body)

    def whole(self, node: Device, partition: int, path: ResourcePath) -> BackendRequest:
        return self._request(SyncStep.WHOLE, node, partition, path)

    def snapshot(self, node: Device, partition: int, digest: str) -> BackendResponse | None:
        """The database of a hash, None if the peer has none. The caller closes it. Raises ReplicaFailed."""
        path = ResourcePath(COMPARED_ACCOUNT)
        request = self._request(SyncStep.SNAPSHOT, node, partition, path, f"&hash={digest}")
        try:
            response = self.transport.request(request, b"", WHOLE_TIMEOUT_SECONDS)
        except NodeFailure as failure:
            raise ReplicaFailed(node, 0, failure.reason) from failure
        if response.status == 200:
            return response
        response.close()
        if response.status == 404:
            return None
        raise ReplicaFailed(node, response.status, f"a snapshot was refused with {response.status}")

    def _request(
        self, kind: SyncStep, node: Device, partition: int, path: ResourcePath, more: str = ""
    ) -> BackendRequest:
        return BackendRequest(METHOD, node.on_replication, partition, path, _HEADERS, f"step={kind.value}{more}")

    def _ask(self, request: BackendRequest, body: bytes) -> bytes:
        try:
            response = self.transport.request(request, body, self.timeout_seconds)
            return good_content(request.node, response, BATCH_BYTES_MAX)
        except NodeFailure as failure:
            raise ReplicaFailed(request.node, 0, failure.reason) from failure


# A snapshot is written to the disk, read, sent, and written at the other end before the response comes.
WHOLE_TIMEOUT_SECONDS: Final = 600.0


class LocalReplica(Struct, frozen=True):
    """A database that is being looked after: where it lies, where the ring wants it, how it stood."""

    location: ResourceLocation
    partition: int  # that of the ring, which is another than the location's where it was put down wrongly
    primaries: tuple[Device, ...]
    mine: Device | None  # the primary that this replica is, None for one that is to be given up
    summary: Summary

    @property
    def peers(self) -> tuple[Device, ...]:
        return tuple(node for node in self.primaries if node != self.mine)


class SyncResult(Struct, frozen=True):
    """How the replica of a peer stands after a sync.

    `agreed`: it holds all that this one held when the pass came to it, and the other way round.
    """

    agreed: bool
    worked: bool = True
    changed: bool = False  # the totals here


class Sync(Generic[Row]):
    def __init__(
        self,
        config: DatabaseReplicatorConfig,
        schema: TableSchema[Row],
        store: DatabaseStore[Row],
        devices: DeviceRoot,
        peers: DatabaseReplicationClient[Row],
        runtime: Runtime,
    ) -> None:
        self._config = config
        self._store = store
        self._peers = peers
        self._runtime = runtime
        self._merger = Merger(schema, runtime)
        self._reader = BatchReader(schema)
        self._snapshots = Snapshots(schema, store, devices, runtime)

    def run(self, replica: LocalReplica, node: Device, response: SummaryResponse, forgotten_before: str) -> SyncResult:
        """Do what is needed. Raises ReplicaFailed, and as operations on databases do."""
        if response.trouble:
            raise ReplicaFailed(node, 0, response.trouble)
        mine, theirs = replica.summary, response.summary
        if theirs is not None and was_turned_back(mine, theirs):
            self._take_new_id(replica, theirs)
            return SyncResult(agreed=False)
        plan = decide(mine, theirs, replica.mine is not None)
        if plan.nothing:
            return SyncResult(agreed=True, worked=False)
        plan = replace(plan, forgotten_before=forgotten_before)
        if plan.strayed:
            self._runtime.log.warning("replicas have strayed", file=replica.location.file, peer=node.address)
        with self._store.opened(replica.location) as database:
            if self._wants_whole(plan, mine):
                return self._send_whole(replica, node, database, plan)
            return self._exchange(replica, node, database, plan, theirs)

    def give_up(self, replica: LocalReplica, node: Device) -> bool:
        """Ask a primary to promise that it keeps all that is here; whether it holds it. Raises as `run`."""
        with self._store.opened(replica.location) as database:
            batch = self._reader.read(database, replica.summary.sequence, 1)
        if batch.rows or batch.sequence != replica.summary.sequence:
            return False
        merged = self._merge(replica, node, replace(batch, leaving=True))
        return merged.held

    def resend_tombstones(
        self, replica: LocalReplica, node: Device, rows: Sequence[Row], forgotten_before: str
    ) -> None:
        """Have a peer delete what older rows it has of these tombstones. Raises ReplicaFailed."""
        mine = replica.summary
        batch = RowBatch(
            mine.id, 0, 0, mine.sequence, {}, mine.status, [], list(rows), forgotten_before=forgotten_before
        )
        self._merge(replica, node, batch)

    def _wants_whole(self, plan: SyncPlan, mine: Summary) -> bool:
        if plan.push_from is None or plan.strayed:
            return False
        batches = 1 if plan.create else self._config.max_diffs
        return mine.sequence - plan.push_from > batches * self._config.per_diff

    def _send_whole(self, replica: LocalReplica, node: Device, database: Database, plan: SyncPlan) -> SyncResult:
        location = replica.location
        request = self._peers.whole(node, replica.partition, location.path)
        try:
            transport = self._peers.transport
            status = self._snapshots.send(database, location, transport, request, WHOLE_TIMEOUT_SECONDS)
        except DeviceFull:
            # No room for a copy: a full device must be emptied all the same.
            return self._exchange(replica, node, database, plan, None)
        except NodeFailure as failure:
            raise ReplicaFailed(node, 0, failure.reason) from failure
        if status not in (201, 202):
            raise ReplicaFailed(node, status, f"a whole database was answered with {status}")
        self._runtime.log.info("database sent", file=location.file, peer=node.address, device=node.device)
        return SyncResult(agreed=False)  # the next pass looks at what has become of it

    def _exchange(
        self, replica: LocalReplica, node: Device, database: Database, plan: SyncPlan, theirs: Summary | None
    ) -> SyncResult:
        agreed, changed = True, False
        both_ways = replica.mine is not None
        if plan.push_from is not None:
            merged, agreed = self._push(replica, node, database, plan)
            theirs = merged.summary
            if both_ways:
                changed = self._merger.merge_state(database, theirs.status, merged.items)
        if plan.pull_from is not None:
            complete, pulled = self._pull(replica, node, database, plan)
            agreed, changed = agreed and complete, changed or pulled
        if plan.agree and theirs is not None:
            self._merger.agree(database, theirs)
        return SyncResult(agreed, changed=changed)

    def _push(
        self, replica: LocalReplica, node: Device, database: Database, plan: SyncPlan
    ) -> tuple[MergeResult, bool]:
        """Send rows; what the peer answered last, and whether it now holds all that was here."""
        after = plan.push_from or 0
        batches, batches_max = 0, self._batches_max(plan)
        while True:
            batch = self._reader.read(database, after, self._config.per_diff)
            batch = replace(batch, create=plan.create and after == 0, forgotten_before=plan.forgotten_before)
            merged = self._merge(replica, node, batch)
            after, batches = batch.upto, batches + 1
            if batch.complete or not merged.held or batches >= batches_max:
                return merged, batch.complete and merged.held

    def _pull(self, replica: LocalReplica, node: Device, database: Database, plan: SyncPlan) -> tuple[bool, bool]:
        """Fetch rows; whether all have come, and whether totals changed here."""
        after, changed = plan.pull_from or 0, False
        for _ in range(self._batches_max(plan)):
            batch = self._peers.rows(node, replica.partition, replica.location.path, after, self._config.per_diff)
            try:
                batch = replace(self._merger.checked(batch), forgotten_before=plan.forgotten_before)
            except HttpError as error:
                raise ReplicaFailed(node, 0, f"bad rows: {error.reason}") from error
            changed |= self._merger.merge(database, batch).totals_changed
            if batch.complete:
                return True, changed
            after = batch.upto
        return False, changed

    def _batches_max(self, plan: SyncPlan) -> int:
        """More batches follow in the next pass; but strayed replicas begin anew each time, and need all at once."""
        return sys.maxsize if plan.strayed else self._config.max_diffs

    def _merge(self, replica: LocalReplica, node: Device, batch: RowBatch[Row]) -> MergeResult:
        return self._peers.merge(node, replica.partition, replica.location.path, batch)

    def _take_new_id(self, replica: LocalReplica, theirs: Summary) -> None:
        """Unless the peer only has rows that were written here after `replica` was looked at."""
        new_id = self._store.new_id(replica.location.file)

        def run(connection: sqlite3.Connection) -> bool:
            turned_back = was_turned_back(summary_of(connection), theirs)
            if turned_back:
                connection.execute("UPDATE resource SET id = ?", (new_id,))
            return turned_back

        with self._store.opened(replica.location) as database:
            if not database.write(run):
                return
        self._runtime.log.warning("database was turned back, and got a new id", file=replica.location.file)
