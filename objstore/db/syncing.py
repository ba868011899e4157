"""Bringing one database and one peer's replica to the same state."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, Generic

from msgspec import Struct
from msgspec.structs import replace

from objstore.config.databases import DatabaseReplicatorConfig
from objstore.db.database import Database
from objstore.db.description import Description, Row
from objstore.db.location import Location
from objstore.db.merging import BatchReader, Merger
from objstore.db.messages import Answer, Batch, Merged
from objstore.db.peers import PeerFailed, Peers
from objstore.db.planning import Plan, decide, was_turned_back
from objstore.db.snapshots import Snapshots
from objstore.db.store import DatabaseStore
from objstore.db.summary import Summary
from objstore.devices import Device
from objstore.http.errors import HttpError
from objstore.http.transport import NodeFailure
from objstore.mounts import DeviceFull, DeviceRoot
from objstore.runtime import Runtime

# A snapshot is written to the disk, read, sent, and written at the other end before the answer comes.
WHOLE_TIMEOUT_SECONDS: Final = 600.0


class Subject(Struct, frozen=True):
    """A database that is being looked after: where it lies, where the ring wants it, how it stood."""

    location: Location
    partition: int  # that of the ring, which is another than the location's where it was put down wrongly
    primaries: tuple[Device, ...]
    mine: Device | None  # the primary that this replica is, None for one that is to be given up
    summary: Summary

    @property
    def peers(self) -> tuple[Device, ...]:
        """The other primaries."""
        return tuple(node for node in self.primaries if node != self.mine)


class Outcome(Struct, frozen=True):
    """How the replica of a peer stands after a sync.

    `agreed`: it holds all that this one held when the pass came to it, and the other way round.
    """

    agreed: bool
    worked: bool = True
    changed: bool = False  # the totals here


class Sync(Generic[Row]):
    """Syncs databases of one kind with peers."""

    def __init__(
        self,
        config: DatabaseReplicatorConfig,
        description: Description[Row],
        store: DatabaseStore[Row],
        devices: DeviceRoot,
        peers: Peers[Row],
        runtime: Runtime,
    ) -> None:
        self._config = config
        self._store = store
        self._peers = peers
        self._runtime = runtime
        self._merger = Merger(description, runtime)
        self._reader = BatchReader(description)
        self._snapshots = Snapshots(description, store, devices, runtime)

    def run(self, subject: Subject, node: Device, answer: Answer, forgotten_before: str) -> Outcome:
        """Do what is needed. Raises PeerFailed, and as operations on databases do. On `forgotten_before` see Batch."""
        if answer.trouble:
            raise PeerFailed(node, 0, answer.trouble)
        mine, theirs = subject.summary, answer.summary
        if theirs is not None and was_turned_back(mine, theirs):
            self._take_new_id(subject)
            return Outcome(agreed=False)
        plan = decide(mine, theirs, subject.mine is not None)
        if plan.nothing:
            return Outcome(agreed=True, worked=False)
        plan = replace(plan, forgotten_before=forgotten_before)
        if plan.strayed:
            self._runtime.log.warning("replicas have strayed", file=subject.location.file, peer=node.address)
        with self._store.opened(subject.location) as database:
            if self._wants_whole(plan, mine):
                return self._send_whole(subject, node, database, plan)
            return self._exchange(subject, node, database, plan, theirs)

    def give_up(self, subject: Subject, node: Device) -> bool:
        """Ask a primary to promise that it keeps all that is here; whether it holds it. Raises as `run`."""
        with self._store.opened(subject.location) as database:
            batch = self._reader.read(database, subject.summary.sequence, 1)
        if batch.rows or batch.sequence != subject.summary.sequence:
            return False
        merged = self._merge(subject, node, replace(batch, leaving=True))
        return merged.held

    def remind(self, subject: Subject, node: Device, rows: Sequence[Row], forgotten_before: str) -> None:
        """Have a peer delete what older rows it has of these tombstones. Raises PeerFailed."""
        mine = subject.summary
        batch = Batch(mine.id, 0, 0, mine.sequence, {}, mine.status, [], list(rows), forgotten_before=forgotten_before)
        self._merge(subject, node, batch)

    def _wants_whole(self, plan: Plan, mine: Summary) -> bool:
        if plan.push_from is None or plan.strayed:
            return False
        batches = 1 if plan.create else self._config.max_diffs
        return mine.sequence - plan.push_from > batches * self._config.per_diff

    def _send_whole(self, subject: Subject, node: Device, database: Database, plan: Plan) -> Outcome:
        location = subject.location
        request = self._peers.whole(node, subject.partition, location.path)
        try:
            transport = self._peers.transport
            status = self._snapshots.send(database, location, transport, request, WHOLE_TIMEOUT_SECONDS)
        except DeviceFull:
            # No room for a copy: a full device must be emptied all the same.
            return self._exchange(subject, node, database, plan, None)
        except NodeFailure as failure:
            raise PeerFailed(node, 0, failure.reason) from failure
        if status not in (201, 202):
            raise PeerFailed(node, status, f"a whole database was answered with {status}")
        self._runtime.log.info("database sent", file=location.file, peer=node.address, device=node.device)
        return Outcome(agreed=False)  # the next pass looks at what has become of it

    def _exchange(
        self, subject: Subject, node: Device, database: Database, plan: Plan, theirs: Summary | None
    ) -> Outcome:
        agreed, changed = True, False
        both_ways = subject.mine is not None
        if plan.push_from is not None:
            merged, agreed = self._push(subject, node, database, plan)
            theirs = merged.summary
            if both_ways:
                changed = self._merger.merge_state(database, theirs.status, merged.items)
        if plan.pull_from is not None:
            complete, pulled = self._pull(subject, node, database, plan)
            agreed, changed = agreed and complete, changed or pulled
        if plan.agree and theirs is not None:
            self._merger.agree(database, theirs)
        return Outcome(agreed, changed=changed)

    def _push(self, subject: Subject, node: Device, database: Database, plan: Plan) -> tuple[Merged, bool]:
        """Send rows; what the peer answered last, and whether it now holds all that was here."""
        after = plan.push_from or 0
        batches, batches_max = 0, self._batches_max(plan)
        while True:
            batch = self._reader.read(database, after, self._config.per_diff)
            batch = replace(batch, create=plan.create and after == 0, forgotten_before=plan.forgotten_before)
            merged = self._merge(subject, node, batch)
            after, batches = batch.upto, batches + 1
            if batch.complete or not merged.held or batches >= batches_max:
                return merged, batch.complete and merged.held

    def _pull(self, subject: Subject, node: Device, database: Database, plan: Plan) -> tuple[bool, bool]:
        """Fetch rows; whether all have come, and whether totals changed here."""
        after, changed = plan.pull_from or 0, False
        for _ in range(self._batches_max(plan)):
            batch = self._peers.rows(node, subject.partition, subject.location.path, after, self._config.per_diff)
            try:
                batch = replace(self._merger.checked(batch), forgotten_before=plan.forgotten_before)
            except HttpError as error:
                raise PeerFailed(node, 0, f"bad rows: {error.reason}") from error
            changed |= self._merger.merge(database, batch).totals_changed
            if batch.complete:
                return True, changed
            after = batch.upto
        return False, changed

    def _batches_max(self, plan: Plan) -> int:
        """The rest follows in the next pass; but who has strayed begins anew each time, and would never see the end."""
        return sys.maxsize if plan.strayed else self._config.max_diffs

    def _merge(self, subject: Subject, node: Device, batch: Batch[Row]) -> Merged:
        return self._peers.merge(node, subject.partition, subject.location.path, batch)

    def _take_new_id(self, subject: Subject) -> None:
        new_id = self._store.new_id(subject.location.file)
        with self._store.opened(subject.location) as database:
            database.write(lambda connection: connection.execute("UPDATE resource SET id = ?", (new_id,)).rowcount)
        self._runtime.log.warning("database was turned back, and got a new id", file=subject.location.file)
