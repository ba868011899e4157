"""The object expirer: deletes objects whose X-Delete-At has passed.

Object servers write a queue entry whenever they store an object that expires. An entry is a row of a container of
`.expiring_objects`, named "1700000000-AUTH_test/photos/cat.jpg": the object expires at that second, unless a later
write has changed it. The entry of a kept version is named "1700000000-!VERSION/AUTH_test/photos/cat.jpg"; what is
deleted is that version alone. The entry alone deletes nothing: the expirer asks all primaries of the object, and each
of them decides by its own clock whether the object has expired. So one clock that is wrong by hours deletes nothing too
soon.

Every object server reads the whole queue. The hash of the object's path says which server deletes an entry first; if
the entry is still there after TURN_SECONDS, the next server deletes it too, so a server that is down holds nothing up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, ClassVar, Final

from msgspec import Struct

from objstore.config.object import DelayConfig, ExpirerConfig
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.direct import Direct, NodeResponse, account_headers, container_headers
from objstore.errors import StoreError
from objstore.expiry import ASYNC_DELETED, EXPIRY_ACCOUNT
from objstore.headers import Backend, Client
from objstore.object.file_names import NULL
from objstore.paths import ResourcePath
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ObjectRow, encode_rows
from objstore.system import concurrency
from objstore.timestamps import OFFSET_MAX, Timestamp

_NAME: Final = re.compile(
    r"(?P<due>\d{1,10})-(?:!(?P<version>\d{10}\.\d{5}(?:_[0-9a-f]{16})?)/)?(?P<path>[^/]+/[^/]+/.+)",
    re.ASCII | re.DOTALL,
)


class QueueEntry(Struct, frozen=True):
    """A write made at `timestamp` said that `path`, or its kept `version`, expires at `due`.

    unconditional: a client wants what was written until `timestamp` deleted, whether it expires or not.
    """

    queue: ResourcePath
    name: str
    due: int
    path: ResourcePath
    timestamp: Timestamp
    version: str = ""
    unconditional: bool = False

    @property
    def removed_row(self) -> ObjectRow:
        # Takes out a row that was written at this timestamp, whatever its offset, and none that was written later.
        moment = Timestamp(self.timestamp.ticks, OFFSET_MAX).internal
        return ObjectRow(self.name, moment, 0, "application/deleted", "noetag", deleted=True)


class Action(Enum):
    """What the expirer does about an entry."""

    DELETE = "deleted"
    DROP = "dropped"  # a later write has replaced or deleted the object, or changed when it expires
    WAIT = "waiting"


class ExpiryDecision(Struct, frozen=True):
    """An action; `timestamp` is that of the tombstone that DELETE writes."""

    action: Action
    timestamp: str = ""


_WAIT: Final = ExpiryDecision(Action.WAIT)
_DROP: Final = ExpiryDecision(Action.DROP)


def parse_entry(queue: ResourcePath, listed: Mapping[str, Any]) -> QueueEntry | None:
    """The entry of a row of the queue's listing; None if the row is not an entry."""
    match = _NAME.fullmatch(str(listed.get("name", "")))
    if match is None:
        return None
    try:
        listed_at = Timestamp.from_isoformat(str(listed["last_modified"]))
        path = ResourcePath.parse("/" + match["path"])
    except (KeyError, ValueError):
        return None
    unconditional = listed.get("content_type") == ASYNC_DELETED
    return QueueEntry(queue, match[0], int(match["due"]), path, listed_at, match["version"] or "", unconditional)


def decide(entry: QueueEntry, replies: Sequence[NodeResponse], now: float, reclaim_seconds: float) -> ExpiryDecision:
    """Decide from the answers of all primaries of the object to HEAD with X-Backend-Open-Expired.

    - A primary does not answer: it may hold a newer write than the others, so wait for it.
    - The newest version is as new as the entry and expires at another time: a later write has changed it, so drop.
    - The newest version expires when the entry says, and every server that holds it says that it has expired: delete.
      The tombstone gets the moment of expiry, so that it is kept long enough to be replicated, but is newer than the
      version.
    - No primary has a version as new as the entry: a handoff may still bring it. Wait, but not beyond the reclaim age.
    """
    if any(reply.status not in (200, 404) for reply in replies):
        return _WAIT
    asked = entry.timestamp.internal
    gone = max((reply.headers.get(Backend.TIMESTAMP, "") for reply in replies if reply.status == 404), default="")
    holders = [reply for reply in replies if reply.status == 200]
    newest = max(map(_version, holders), default=("", ""))
    if newest[0] > gone:
        current = [reply for reply in holders if _version(reply) == newest]
        if all(reply.headers.get(Client.DELETE_AT) == str(entry.due) for reply in current):
            if all(Backend.EXPIRED in reply.headers for reply in current):
                return ExpiryDecision(Action.DELETE, _tombstone(entry.due, newest[0]))
            return _WAIT
        seen = max(newest)
    else:
        seen = gone
    return _DROP if seen >= asked or now > entry.due + reclaim_seconds else _WAIT


def _version(reply: NodeResponse) -> tuple[str, str]:
    """When the object was written, and when it was last posted to."""
    return reply.headers.get(Backend.DATA_TIMESTAMP, ""), reply.headers.get(Backend.TIMESTAMP, "")


def _tombstone(due: int, data_timestamp: str) -> str:
    data = Timestamp.parse(data_timestamp)
    return max(Timestamp.from_seconds(due), Timestamp(data.ticks, data.offset + 1)).internal


# One server alone deletes an entry for so long, then the next one does, too.
TURN_SECONDS: Final = 300.0
# A queue container is named after the start of a day, or up to a hundred seconds before: after that day it gets no new
# entries.
QUEUE_SECONDS: Final = 2 * 86_400
POLICIES_REMEMBERED_MAX: Final = 10_000
_QUEUE_HEADERS: Final = {"Content-Type": "application/json", Backend.POLICY_INDEX: "0"}


@dataclass(eq=False)
class PolicyNotKnown(StoreError):
    """The servers of a container do not answer, or do not agree on its policy."""

    message: ClassVar[str] = "the servers of {container} do not say what policy it has"

    container: str


class ObjectExpirer:
    """A worker: each step deals with a few entries that are due."""

    name: str = "object-expirer"

    def __init__(
        self, config: ExpirerConfig, context: DaemonContext, delays: Sequence[DelayConfig], timeout_seconds: float
    ) -> None:
        """`timeout_seconds` is how long a storage server may take to answer."""
        self._config = config
        self._cluster = context.cluster
        self._rings = context.rings
        self._runtime = context.runtime
        self._is_mine = context.is_mine
        self._direct = Direct(context.transport, context.cluster.hasher, timeout_seconds)
        self._report = PassReport(self.name, context.recon, context.runtime, "entries")
        self._delays = {(each.account, each.container): each.delay for each in delays}
        self._policies: dict[ResourcePath, int | None] = {}
        self._due: Iterator[QueueEntry] | None = None

    def step(self) -> Step:
        """The next few entries; IDLE at the end of the queue."""
        if self._due is None:
            self._report.begin()
            self._policies.clear()
            self._due = self._entries()
        entries = list(islice(self._due, self._config.concurrency))
        if not entries:
            self._due = None
            self._report.end()
            return Step.IDLE
        tasks = [concurrency.spawn(self._deal_with, entry) for entry in entries]
        finished: dict[ResourcePath, list[ObjectRow]] = {}
        for entry, task in zip(entries, tasks, strict=True):
            action = task.wait()
            self._report.count(action.value)
            if action is not Action.WAIT:
                finished.setdefault(entry.queue, []).append(entry.removed_row)
        for queue, rows in finished.items():
            # A server that misses the update gets it from the other replicas; at worst the entry is looked at again.
            self._direct.send(self._rings.container, "UPDATE", queue, _QUEUE_HEADERS, encode_rows(rows))
        return Step.BUSY

    def _entries(self) -> Iterator[QueueEntry]:
        """All entries that are due and that this server deletes now."""
        now = self._runtime.clock.now()
        share = self._share()
        for queue in self._queues(now):
            is_empty = None
            for entry in self._listed(queue, now):
                is_empty = False
                if entry is not None and self._is_due(entry, now, share):
                    yield entry
            if is_empty is None and int(queue.container) + QUEUE_SECONDS + self._config.reclaim_age < now:
                self._remove(queue)

    def _queues(self, now: float) -> Iterator[ResourcePath]:
        for page in self._direct.pages(self._rings.account, ResourcePath(EXPIRY_ACCOUNT)):
            for listed in page.entries:
                name = str(listed.get("name", ""))
                if name.isascii() and name.isdecimal() and int(name) <= now:
                    yield ResourcePath(EXPIRY_ACCOUNT, name)

    def _listed(self, queue: ResourcePath, now: float) -> Iterator[QueueEntry | None]:
        """The entries of a queue up to now, in order; None for a row that is no entry, and for a page not read."""
        marker = ""
        while True:
            page = self._direct.page(self._rings.container, queue, marker)
            if page is None:
                self._report.count("failed")
                yield None
                return
            if not page.entries:
                return
            for listed in page.entries:
                entry = parse_entry(queue, listed)
                yield entry
                if entry is not None and entry.due > now:
                    return
            marker = page.entries[-1]["name"]

    def _share(self) -> tuple[int, list[int]]:
        """How many servers divide the entries among them, and which of these numbers this process stands for."""
        if self._config.processes:
            return self._config.processes, [self._config.process]
        ring = self._rings.object(self._cluster.policies.default.index)
        servers = sorted({(device.ip, device.port) for device in ring.devices})
        mine = {(device.ip, device.port) for device in ring.devices if self._is_mine(device)}
        return len(servers), [number for number, server in enumerate(servers) if server in mine]

    def _is_due(self, entry: QueueEntry, now: float, share: tuple[int, list[int]]) -> bool:
        count, mine = share
        if not mine:
            return False
        path = entry.path
        delay = self._delays.get((path.account, path.container), self._delays.get((path.account, ""), 0.0))
        first = int.from_bytes(self._cluster.hasher.digest(path), "big") % count
        turn = min((number - first) % count for number in mine)
        if self._config.processes:
            return turn == 0 and entry.due + delay <= now
        return entry.due + delay + turn * TURN_SECONDS <= now

    def _deal_with(self, entry: QueueEntry) -> Action:
        try:
            policy = self._policy_of(entry.path.container_path)
            if policy is None:
                # Only the container tells the policy. Only empty containers are deleted: the object was deleted before.
                is_old = entry.due + self._config.reclaim_age < self._runtime.clock.now()
                return Action.DROP if is_old else Action.WAIT
            return self._delete_if_due(entry, policy)
        except Exception as error:  # one entry must not keep the others waiting
            self._runtime.log.warning("object not expired", name=entry.path, reason=str(error))
            return Action.WAIT

    def _delete_if_due(self, entry: QueueEntry, policy: int) -> Action:
        if entry.unconditional:
            return Action.DELETE if self._delete(entry, policy, entry.timestamp.internal) else Action.WAIT
        ring = self._rings.object(policy)
        headers = {Backend.POLICY_INDEX: str(policy), Backend.VERSION_ID: entry.version or NULL}
        seen = self._direct.send(ring, "HEAD", entry.path, {**headers, Backend.OPEN_EXPIRED: "true"})
        verdict = decide(entry, seen.replies, self._runtime.clock.now(), self._config.reclaim_age)
        if verdict.action is not Action.DELETE:
            return verdict.action
        return Action.DELETE if self._delete(entry, policy, verdict.timestamp) else Action.WAIT

    def _delete(self, entry: QueueEntry, policy: int, timestamp: str) -> bool:
        """Whether every primary has the tombstone or, of an unconditional entry, something newer."""
        partition, nodes = self._direct.primaries(self._rings.container, entry.path.container_path)
        headers = {
            Backend.POLICY_INDEX: str(policy),
            Client.TIMESTAMP: timestamp,
            Backend.BELATED: "true",
            Backend.VERSION_ID: entry.version or NULL,
        }
        if not entry.unconditional:
            headers[Client.IF_DELETE_AT] = str(entry.due)
        each = container_headers(partition, nodes)
        answered = self._direct.send(self._rings.object(policy), "DELETE", entry.path, headers, each=each)
        done = entry.unconditional or 204 in answered.statuses
        return done and all(status < 500 for status in answered.statuses)

    def _policy_of(self, container: ResourcePath) -> int | None:
        """The policy of a container, None if there is no such container. Raises PolicyNotKnown.

        While its replicas differ, an object may have a newer version in another policy, and is left alone.
        """
        if container in self._policies:
            return self._policies[container]
        replies = self._direct.send(self._rings.container, "HEAD", container, {}).replies
        there = [reply for reply in replies if reply.status // 100 == 2]
        found = {int(reply.headers.get(Backend.POLICY_INDEX, "0")) for reply in there}
        if len(found) > 1 or (not there and any(reply.status != 404 for reply in replies)):
            raise PolicyNotKnown(str(container))
        policy = found.pop() if found else None
        if len(self._policies) >= POLICIES_REMEMBERED_MAX:
            self._policies.clear()
        self._policies[container] = policy
        return policy

    def _remove(self, queue: ResourcePath) -> None:
        """Delete a queue container that stays empty; the servers refuse it if it is not."""
        partition, nodes = self._direct.primaries(self._rings.account, queue.account_path)
        moment = Timestamp.from_seconds(int(queue.container) + QUEUE_SECONDS).internal
        headers = {Client.TIMESTAMP: moment, **account_headers(partition, nodes)}
        self._direct.send(self._rings.container, "DELETE", queue, headers)
