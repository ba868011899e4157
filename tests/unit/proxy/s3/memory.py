"""The core of a proxy in memory, as far as buckets need it: containers, and objects with conditional writes."""

from __future__ import annotations

from hashlib import md5
from random import Random
from types import SimpleNamespace
from typing import Any

from objstore.conditions import ObjectState
from objstore.config.proxy import AuthConfig, CacheConfig, ReadOnlyConfig, S3Config
from objstore.limits import Limits
from objstore.outbox import OutboxEntry
from objstore.paths import ResourcePath
from objstore.proxy.core.containers import GetContainer, WriteContainer
from objstore.proxy.core.errors import ContainerNotFound, ObjectNotFound, PreconditionFailed, QuorumNotReached
from objstore.proxy.core.info import ABSENT, PRESENT, AccountInfo, ContainerInfo, StoredMetadata, StoredObjectInfo
from objstore.proxy.core.objects import DeleteObject, GetObject, OpenedObject, PutObject, PutResult
from objstore.proxy.core.outbox import Intent
from objstore.timestamps import Timestamp
from tests.doubles import ManualClock

# Tells the webhook "hook" of what is made, removed or expires, if its key begins with "a".
NOTIFICATION = (
    b'<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><QueueConfiguration><Id>i</Id>'
    b"<Queue>arn:objstore:sqs::hook:webhook</Queue><Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event>"
    b"<Event>s3:LifecycleExpiration:*</Event>"
    b"<Filter><S3Key><FilterRule><Name>Prefix</Name><Value>a</Value></FilterRule></S3Key></Filter>"
    b"</QueueConfiguration></NotificationConfiguration>"
)


class MemoryOutbox:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, OutboxEntry]] = []
        self.is_there = True

    def intend(self, webhook: str, entry: OutboxEntry, _transaction_id: str) -> Intent:
        if not self.is_there:
            raise QuorumNotReached(ResourcePath(".s3", "events"))
        self.told.append(("intend", entry))
        return Intent(webhook, "n", entry)

    def settle(self, intent: Intent, _transaction_id: str) -> None:
        self.told.append(("settle", intent.entry))

    def withdraw(self, intent: Intent, _transaction_id: str) -> None:
        self.told.append(("withdraw", intent.entry))

    @property
    def steps(self) -> list[str]:
        return [step for step, _ in self.told]


class MemoryCore:
    """`context` is given to what is tested. before_write: called before each write of an object."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_700_000_000.0)
        self.stored: dict[ResourcePath, tuple[bytes, StoredObjectInfo]] = {}
        self.made: dict[ResourcePath, ContainerInfo] = {}
        self.accounts: dict[str, AccountInfo] = {}
        self.before_write = lambda: None
        self.reads = 0
        self.context: Any = SimpleNamespace(
            objects=SimpleNamespace(put=self._put, open=self._open, delete=self._delete, head=self._head),
            containers=SimpleNamespace(head=self._container, put=self._make, post=self._change),
            lookup=SimpleNamespace(container=self._lookup, account=self._account),
            runtime=SimpleNamespace(clock=self.clock, random=Random(1)),
            config=SimpleNamespace(cache=CacheConfig(), auth=AuthConfig(), s3=S3Config(), read_only=ReadOnlyConfig()),
            outbox=None,
            cluster=SimpleNamespace(limits=Limits(), webhooks=()),
        )

    def put_object(self, path: ResourcePath, metadata: StoredMetadata) -> None:
        info = StoredObjectInfo(0, "e", "text/plain", self.clock.timestamp().normal, "", metadata=metadata)
        self.stored[path] = (b"", info)

    def _account(self, name: str, _transaction_id: str) -> AccountInfo:
        return self.accounts.get(name, AccountInfo(PRESENT))

    def _lookup(self, path: ResourcePath, _transaction_id: str) -> ContainerInfo:
        return self.made.get(path, ContainerInfo(ABSENT))

    def _container(self, command: GetContainer) -> ContainerInfo:
        if command.path not in self.made:
            raise ContainerNotFound(command.path)
        return self.made[command.path]

    def _make(self, command: WriteContainer) -> bool:
        new = command.path not in self.made
        self.made.setdefault(command.path, ContainerInfo(PRESENT))
        self._change(command)
        return new

    def _change(self, command: WriteContainer) -> None:
        info = self.made[command.path]
        kept = {name: value for name, value in (info.sysmeta | command.sysmeta).items() if value}
        self.made[command.path] = ContainerInfo(
            PRESENT,
            sysmeta=kept,
            read_acl=info.read_acl if command.read_acl is None else command.read_acl or None,
            write_acl=info.write_acl if command.write_acl is None else command.write_acl or None,
        )

    def _check(self, command: PutObject | DeleteObject) -> None:
        self.before_write()
        found = self.stored.get(command.path)
        state = None if found is None else ObjectState(found[1].etag, found[1].size, 0)
        if command.conditions is not None and command.conditions.refuse(state):
            raise PreconditionFailed

    def _put(self, command: PutObject) -> PutResult:
        self._check(command)
        content = command.body.read()
        etag = md5(content, usedforsecurity=False).hexdigest()
        info = StoredObjectInfo(len(content), etag, command.content_type, command.timestamp.normal, "")
        self.stored[command.path] = (content, info)
        return PutResult(etag, command.timestamp)

    def _head(self, command: GetObject) -> StoredObjectInfo:
        if command.path not in self.stored:
            raise ObjectNotFound(command.path)
        return self.stored[command.path][1]

    def _open(self, command: GetObject) -> OpenedObject:
        self.reads += 1
        return OpenedObject(self._head(command), self.stored[command.path][0])

    def _delete(self, command: DeleteObject) -> Timestamp:
        self._check(command)
        if self.stored.pop(command.path, None) is None:
            raise ObjectNotFound(command.path)
        return command.timestamp
