"""The container reconciler: moves objects out of policies in which they should not be; see `queue`.

An entry is dealt with in this order, and stays until all of it is done: the version is written to the right policy,
with the client's time and an offset; then it is deleted from the wrong one; then the entry goes. Doing it again, from
any point, by any server, comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any, Final

from objstore.config.container import ReconcilerConfig
from objstore.container.moving import Mover, moved_at, removed_at
from objstore.container.queue import ACCOUNT, Misplaced, parse_entry
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.db.status import NEVER, Status, merge_status
from objstore.direct import Direct, Reply
from objstore.errors import StoreError
from objstore.headers import Backend, Client
from objstore.paths import ResourcePath
from objstore.policies import UnknownPolicy
from objstore.quorum import quorum_size
from objstore.ring.surroundings import Surroundings
from objstore.rows import encode_rows
from objstore.system import concurrency
from objstore.system.concurrency import Task
from objstore.timestamps import Timestamp

# In each pass another one of the primaries of an object's container deals with it: none is waited for. With which they
# begin changes so often.
TURN_SECONDS: Final = 300


class ContainerReconciler:
    """A worker: each step deals with a page of the queue."""

    name: str = "container-reconciler"

    def __init__(self, config: ReconcilerConfig, surroundings: Surroundings, timeout_seconds: float) -> None:
        """`timeout_seconds` is how long a storage server may take to answer."""
        self._config = config
        cluster, rings, transport = surroundings.cluster, surroundings.rings, surroundings.transport
        self._policies = cluster.policies
        self._rings = rings
        self._runtime = surroundings.runtime
        self._is_mine = surroundings.is_mine
        self._direct = Direct(transport, cluster.hasher, timeout_seconds)
        self._mover = Mover(self._direct, rings, transport)
        self._report = PassReport(self.name, surroundings.recon, surroundings.runtime, "entries")
        self._work: Iterator[list[Misplaced]] | None = None
        self._turn = int(self._runtime.clock.now() // TURN_SECONDS)

    def step(self) -> Step:
        """The next page; IDLE at the end of the queue."""
        if self._work is None:
            self._report.begin()
            self._work = self._entries()
        entries = next(self._work, None)
        if entries is None:
            self._work = None
            self._turn += 1
            self._report.end()
            return Step.IDLE
        for start in range(0, len(entries), self._config.concurrency):
            tasks: list[Task[None]] = [
                concurrency.spawn(self._deal_with, entry) for entry in entries[start : start + self._config.concurrency]
            ]
            for task in tasks:
                task.wait()
        return Step.BUSY

    def _entries(self) -> Iterator[list[Misplaced]]:
        """The queue, oldest first, as far as it is this server's turn."""
        for containers in self._direct.pages(self._rings.account, ResourcePath(ACCOUNT)):
            for container in containers.entries:
                for page in self._direct.pages(self._rings.container, ResourcePath(ACCOUNT, container["name"])):
                    yield [entry for found in page.entries if (entry := self._entry(found)) is not None]

    def _entry(self, found: dict[str, Any]) -> Misplaced | None:
        try:
            entry = parse_entry(found["name"], found["hash"], found["content_type"])
        except (KeyError, ValueError) as error:
            self._runtime.log.warning("strange entry in the queue of misplaced objects", reason=str(error))
            return None
        _, nodes = self._direct.primaries(self._rings.container, entry.path.container_path)
        return entry if self._is_mine(nodes[self._turn % len(nodes)]) else None

    def _deal_with(self, entry: Misplaced) -> None:
        try:
            outcome = self._reconcile(entry)
        except (StoreError, OSError) as error:
            outcome = "failed"
            self._runtime.log.warning("misplaced object not moved", object=str(entry.path), reason=str(error))
        self._report.count(outcome)

    def _reconcile(self, entry: Misplaced) -> str:
        """What became of it, in a word for the figures."""
        replies = self._direct.send(self._rings.container, "HEAD", entry.path.container_path, {})
        status = agreed_status(list(replies.replies))
        if status is None:
            return "unknown_container"
        if status.deleted and not replies.with_status(2):
            return self._give_up(entry)
        if status.policy_index == entry.policy_index:
            # Whoever queued it may know of a life that these replicas have yet to hear of: it will not queue it again.
            return self._take_out(entry, "in_place") if status.life.outranks(entry.life) else self._give_up(entry)
        try:
            self._policies.by_index(status.policy_index)
            self._policies.by_index(entry.policy_index)
        except UnknownPolicy:
            return "unknown_policy"
        return self._put_right(entry, status.policy_index)

    def _put_right(self, entry: Misplaced, policy_index: int) -> str:
        path = entry.path
        there = self._mover.look(path, policy_index)
        if len([status for status in there.statuses if status < 500]) < quorum_size(len(there.statuses)):
            return "unreachable"
        if any(timestamp >= entry.timestamp for timestamp in _timestamps(there.replies)):
            return self._clear(entry, "superseded")
        if entry.deleted:
            if not self._mover.delete(path, policy_index, moved_at(entry.timestamp)):
                return "failed"
            return self._take_out(entry, "deleted")
        return self._move(entry, policy_index)

    def _move(self, entry: Misplaced, policy_index: int) -> str:
        source = self._mover.read(entry.path, entry.policy_index)
        if source is None:
            gone = self._mover.look(entry.path, entry.policy_index)
            if any(timestamp > entry.timestamp for timestamp in _timestamps(gone.replies)):
                return self._take_out(entry, "superseded")
            return self._give_up(entry)
        try:
            found = Timestamp.parse(source.headers[Backend.TIMESTAMP])
            if found < entry.timestamp:
                return "not_there_yet"
            if not self._mover.write(entry.path, policy_index, source, moved_at(found)):
                return "failed"
        finally:
            source.close()
        return self._clear(entry, "moved", found)

    def _clear(self, entry: Misplaced, outcome: str, found: Timestamp | None = None) -> str:
        """Delete the version from the wrong policy, and the entry."""
        newest = entry.timestamp if found is None else found
        if not entry.deleted and not self._mover.delete(entry.path, entry.policy_index, removed_at(newest)):
            return "failed"
        return self._take_out(entry, outcome)

    def _give_up(self, entry: Misplaced) -> str:
        """The container, its life or the version is not there. It may turn up: the entry is kept for a while."""
        if self._runtime.clock.now() - entry.timestamp.seconds < self._config.reclaim_age:
            return "waiting"
        return self._take_out(entry, "given_up")

    def _take_out(self, entry: Misplaced, outcome: str) -> str:
        headers = {Client.CONTENT_TYPE: "application/json", Backend.POLICY_INDEX: "0"}
        body = encode_rows([entry.removed_row])
        replies = self._direct.send(self._rings.container, "UPDATE", entry.queue, headers, body)
        return outcome if len(replies.with_status(2)) >= quorum_size(len(replies.replies)) else "failed"


def agreed_status(replies: list[Reply]) -> Status | None:
    """How a container stands, by what its replicas know together; None if too few answered."""
    answered = [reply for reply in replies if reply.status // 100 in (2, 4)]
    if len(answered) < quorum_size(len(replies)):
        return None
    known = [status_of(reply) for reply in answered if Backend.PUT_TIMESTAMP in reply.headers]
    return reduce(merge_status, known) if known else Status(NEVER, NEVER, "9")


def status_of(reply: Reply) -> Status:
    """The life of a container as one of its replicas answers for it."""
    headers = reply.headers
    return Status(
        created_at=headers[Backend.TIMESTAMP],
        put_timestamp=headers[Backend.PUT_TIMESTAMP],
        delete_timestamp=headers[Backend.DELETE_TIMESTAMP],
        status_changed_at=headers[Backend.STATUS_CHANGED_AT],
        policy_index=int(headers.get(Backend.POLICY_INDEX, "0")),
    )


def _timestamps(replies: tuple[Reply, ...]) -> list[Timestamp]:
    """When the versions that servers know of were written, deleted ones too."""
    return [
        Timestamp.parse(reply.headers[Backend.TIMESTAMP])
        for reply in replies
        if reply.status < 500 and Backend.TIMESTAMP in reply.headers
    ]
