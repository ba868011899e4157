"""The container reconciler: moves misplaced objects to their container's policy; `queue` describes entries.

An entry is dealt with in this order, and stays until all of it is done: the version is written to the right policy,
content and metadata each with the client's time and an offset, unless a quorum of its servers has as new ones; then it
is deleted from the wrong one; then the entry goes. A deletion is repeated in the right policy with its own time. Doing
it again, from any point, by any server, comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import reduce
from typing import Any, Final

from objstore.config.container import ReconcilerConfig
from objstore.container.moving import Mover, VersionTimes, version_of
from objstore.container.queue import ACCOUNT, Misplaced, is_mark, parse_entry, removed_at
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.db.status import NEVER, Status, merge_status
from objstore.direct import Direct, NodeResponse, NodeResponses, account_headers
from objstore.errors import StoreError
from objstore.headers import Backend, Client
from objstore.paths import ResourcePath
from objstore.policies import UnknownPolicy
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ObjectRow, encode_rows
from objstore.system import concurrency
from objstore.system.concurrency import Task
from objstore.timestamps import TICKS_MAX, Timestamp

# In each pass another one of the primaries of an object's container deals with it: none is waited for. With which they
# begin changes so often.
TURN_SECONDS: Final = 300
_UNKNOWN: Final = Status(NEVER, NEVER, delete_timestamp=Timestamp(TICKS_MAX).internal)


class ContainerReconciler:
    """A worker: each step deals with a page of the queue."""

    name: str = "container-reconciler"

    def __init__(self, config: ReconcilerConfig, context: DaemonContext, timeout_seconds: float) -> None:
        """`timeout_seconds` is how long a storage server may take to answer."""
        self._config = config
        cluster, rings, transport = context.cluster, context.rings, context.transport
        self._policies = cluster.policies
        self._rings = rings
        self._runtime = context.runtime
        self._is_mine = context.is_mine
        self._direct = Direct(transport, cluster.hasher, timeout_seconds)
        self._mover = Mover(self._direct, rings, transport)
        self._report = PassReport(self.name, context.recon, context.runtime, "entries")
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
                queue, is_empty = ResourcePath(ACCOUNT, container["name"]), True
                for page in self._direct.pages(self._rings.container, queue):
                    is_empty = False
                    yield [entry for found in page.entries if (entry := self._entry(found)) is not None]
                if is_empty:
                    self._remove(queue, container.get("last_modified", ""))

    def _remove(self, queue: ResourcePath, last_modified: str) -> None:
        """Delete a queue that was made long ago; one that is not empty refuses."""
        try:
            moment = Timestamp.from_isoformat(last_modified).seconds + self._config.reclaim_age
        except ValueError as error:
            self._runtime.log.warning("strange queue of misplaced objects", queue=str(queue), reason=str(error))
            return
        if moment < self._runtime.clock.now():
            partition, nodes = self._direct.primaries(self._rings.account, queue.account_path)
            headers = {Client.TIMESTAMP: Timestamp.from_seconds(moment).internal, **account_headers(partition, nodes)}
            self._direct.send(self._rings.container, "DELETE", queue, headers)

    def _entry(self, found: dict[str, Any]) -> Misplaced | None:
        try:
            entry = parse_entry(found["name"], found["hash"], found["last_modified"])
        except (KeyError, ValueError) as error:
            self._runtime.log.warning("strange entry in the queue of misplaced objects", reason=str(error))
            return None
        _, nodes = self._direct.primaries(self._rings.container, entry.path.container_path)
        return entry if self._is_mine(nodes[self._turn % len(nodes)]) else None

    def _deal_with(self, entry: Misplaced) -> None:
        try:
            outcome = self._reconcile(entry)
        except (StoreError, OSError, KeyError, ValueError) as error:
            outcome = "failed"
            self._runtime.log.warning(
                "misplaced object not moved", object=str(entry.path), reason=f"{type(error).__name__}: {error}"
            )
        self._report.count(outcome)

    def _reconcile(self, entry: Misplaced) -> str:
        """The outcome, in a word for the metrics."""
        replies = self._direct.send(self._rings.container, "HEAD", entry.path.container_path, {})
        if replies.answered < replies.quorum:
            return "unknown_container"
        known = known_statuses(replies)
        status = reduce(merge_status, known) if known else _UNKNOWN
        if status.deleted and not replies.with_status(2):
            return self._give_up(entry, replies)
        if status.policy_index == entry.policy_index:
            # A replica queues it once in an incarnation: a quorum must have left that one for good.
            if sum(each.incarnation.supersedes(entry.incarnation) for each in known) < replies.quorum:
                return self._give_up(entry, replies)
            return self._take_out(entry, "in_place")
        try:
            self._policies.by_index(status.policy_index)
            self._policies.by_index(entry.policy_index)
        except UnknownPolicy:
            return "unknown_policy"
        return self._put_right(entry, status.policy_index)

    def _put_right(self, entry: Misplaced, policy_index: int) -> str:
        there = self._mover.look(entry, policy_index)
        if there.answered < there.quorum:
            return "unreachable"
        if entry.deleted:
            # A kept version is removed whatever the times are.
            if not entry.version and _has_as_new(there, entry.written):
                return self._take_out(entry, "superseded")
            if not self._mover.delete(entry, policy_index, entry.written):
                return "failed"
            return self._take_out(entry, "deleted")
        if entry.version and (removals := _removals(there)):
            # What it left itself when it was moved from there goes in time; until then it cannot come back.
            return "waiting" if is_mark(max(removals)) else self._clear(entry, entry.written, "superseded")
        if entry.marker:
            if not _has_as_new(there, entry.written) and not self._mover.mark(entry, policy_index):
                return "failed"
            return self._clear(entry, entry.written, "moved")
        return self._move(entry, policy_index, there)

    def _move(self, entry: Misplaced, policy_index: int, there: NodeResponses) -> str:
        here = self._mover.look(entry, entry.policy_index)
        if here.answered < here.quorum:
            return "unreachable"
        source = self._mover.read(entry, entry.policy_index)
        if source is None:
            return self._miss(entry, there, here)
        with closing(source):
            found = version_of(source.headers)
            # A version that one server has reaches the others, unless it is lost with that server.
            is_older = found.data < entry.written or found.newest < entry.timestamp
            is_awaited = is_older and (self._is_young(entry) or not _have_all_answered(here))
            if is_awaited or _is_outdated(found, here):
                return "not_there_yet"
            is_superseded = _has_as_new(there, found.data)
            if not is_superseded and not self._mover.write(entry, policy_index, source):
                return "failed"
            was_deleted = is_superseded and not there.with_status(2)
            if was_deleted and found.newest > found.data and is_mark(max(_written(there))) and self._is_young(entry):
                return "not_there_yet"  # that content is on its way back here, and may need the metadata
            if not was_deleted and not self._mover.post(entry, policy_index, source):
                return "failed"
        # A POST may have come meanwhile, to what was long in moving.
        if _is_outdated(found, self._mover.look(entry, entry.policy_index)):
            return "not_there_yet"
        return self._clear(entry, found.data, "superseded" if is_superseded else "moved")

    def _miss(self, entry: Misplaced, there: NodeResponses, here: NodeResponses) -> str:
        """The version is not there, or cannot be read."""
        if here.with_status(2):
            return "unreachable"
        if any(timestamp > entry.written for timestamp in _written(here)):
            return self._take_out(entry, "superseded")
        if _has_as_new(there, entry.written):
            return self._clear(entry, entry.written, "superseded")
        if kept := self._kept(entry, here):
            return kept
        # With its row the container would never be empty, and nothing to be seen in it.
        if not self._update(entry.path, entry.tombstone_row):
            return "failed"
        return self._take_out(entry, "given_up")

    def _clear(self, entry: Misplaced, written: Timestamp, outcome: str) -> str:
        """Delete the content of that time from the wrong policy, and the entry."""
        if not self._mover.delete(entry, entry.policy_index, removed_at(written)):
            return "failed"
        return self._take_out(entry, outcome)

    def _is_young(self, entry: Misplaced) -> bool:
        return self._runtime.clock.now() - entry.queued_at.seconds < self._config.reclaim_age

    def _give_up(self, entry: Misplaced, replies: NodeResponses) -> str:
        """The container is gone, or its incarnation is not known."""
        return self._kept(entry, replies) or self._take_out(entry, "given_up")

    def _kept(self, entry: Misplaced, replies: NodeResponses) -> str:
        """Why an entry is kept of what may turn up: it is young, or a server that may know is away; "" if it is not."""
        if self._is_young(entry):
            return "waiting"
        return "" if _have_all_answered(replies) else "unreachable"

    def _take_out(self, entry: Misplaced, outcome: str) -> str:
        return outcome if self._update(entry.queue, entry.removed_row) else "failed"

    def _update(self, path: ResourcePath, row: ObjectRow) -> bool:
        """Whether a quorum of a container's servers has taken a row."""
        replies = self._direct.update(self._rings.container, path.container_path, encode_rows([row]))
        return len(replies.with_status(2)) >= replies.quorum


def known_statuses(replies: NodeResponses) -> list[Status]:
    """How each of the replicas that answered and have it knows it."""
    return [
        status_of(reply) for reply in replies.replies if reply.status < 500 and Backend.PUT_TIMESTAMP in reply.headers
    ]


def status_of(reply: NodeResponse) -> Status:
    """The incarnation of a container as one of its replicas answers for it."""
    headers = reply.headers
    return Status(
        created_at=headers[Backend.TIMESTAMP],
        put_timestamp=headers[Backend.PUT_TIMESTAMP],
        delete_timestamp=headers[Backend.DELETE_TIMESTAMP],
        status_changed_at=headers[Backend.STATUS_CHANGED_AT],
        policy_index=int(headers.get(Backend.POLICY_INDEX, "0")),
    )


def _written(replies: NodeResponses) -> list[Timestamp]:
    """When the contents that servers have were written, or deleted; metadata does not count."""
    answered = [reply.headers for reply in replies.replies if reply.status < 500]
    found = [headers.get(Backend.DATA_TIMESTAMP) or headers.get(Backend.TIMESTAMP) for headers in answered]
    return [Timestamp.parse(moment) for moment in found if moment]


def _removals(replies: NodeResponses) -> list[Timestamp]:
    """When a kept version was removed, as servers know it."""
    gone = [reply.headers for reply in replies.replies if reply.status == 404]
    found = [headers.get(Backend.TIMESTAMP) for headers in gone if Backend.DELETE_MARKER not in headers]
    return [Timestamp.parse(moment) for moment in found if moment]


def _has_as_new(replies: NodeResponses, timestamp: Timestamp) -> bool:
    """Whether a quorum has content that is so new, or a deletion."""
    return sum(written >= timestamp for written in _written(replies)) >= replies.quorum


def _is_outdated(version: VersionTimes, replies: NodeResponses) -> bool:
    """Whether any server has something newer, be it content or metadata."""
    held = [version_of(reply.headers) for reply in replies.with_status(2)]
    return any(each.data > version.data or each.newest > version.newest or each.typed > version.typed for each in held)


def _have_all_answered(replies: NodeResponses) -> bool:
    return replies.answered == len(replies.replies)
