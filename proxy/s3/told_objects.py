"""Events of what the Swift API writes: its operations on objects are wrapped, so that webhooks are told of them.

They name neither a user nor an address: the core's commands know none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from objstore.outbox import sequencer
from objstore.proxy.core.errors import CoreError
from objstore.proxy.core.objects import (
    CopyObject,
    DeleteObject,
    GetObject,
    ObjectOperations,
    OpenedObject,
    PostObject,
    PostResult,
    PutObject,
    PutResult,
)
from objstore.proxy.core.versions import public_id
from objstore.proxy.s3.bucket_events import BucketEvent, BucketEvents
from objstore.proxy.s3.buckets import Bucket
from objstore.proxy.s3.settings import BucketSettings
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.paths import ResourcePath
    from objstore.proxy.core.context import ProxyContext
    from objstore.proxy.core.info import StoredObjectInfo

T = TypeVar("T")


class ToldObjects(ObjectOperations):
    """The operations of `context`; writes in buckets with a notification configuration with events around them."""

    def __init__(self, context: ProxyContext) -> None:
        self._inner: Final = context.objects
        self._lookup: Final = context.lookup
        self._events: Final = BucketEvents(context, BucketSettings(context))

    def put(self, command: PutObject) -> PutResult:
        """See ObjectOperations. Raises OutboxFull, too."""
        return self._told("ObjectCreated:Put", command, lambda: self._inner.put(command), self._facts_of_new(command))

    def copy(self, command: CopyObject) -> PutResult:
        """See ObjectOperations. Raises OutboxFull, too."""
        facts = self._facts_of_new(command.target)
        return self._told("ObjectCreated:Copy", command.target, lambda: self._inner.copy(command), facts)

    def delete(self, command: DeleteObject) -> Timestamp:
        """See ObjectOperations. Raises OutboxFull, too."""
        name = "ObjectRemoved:DeleteMarkerCreated" if command.version_mode else "ObjectRemoved:Delete"

        def facts(deleted: Timestamp) -> dict[str, Any]:
            if command.version:
                return {"versionId": public_id(command.version)}
            return {"versionId": public_id(deleted.internal)} if command.version_mode == "keep" else {}

        return self._told(name, command, lambda: self._inner.delete(command), facts)

    def post(self, command: PostObject) -> PostResult:
        """See ObjectOperations."""
        return self._inner.post(command)

    def delete_later(
        self, owner: ResourcePath, paths: Sequence[ResourcePath], timestamp: Timestamp, transaction_id: str
    ) -> None:
        """See ObjectOperations."""
        self._inner.delete_later(owner, paths, timestamp, transaction_id)

    def head(self, command: GetObject) -> StoredObjectInfo:
        """See ObjectOperations."""
        return self._inner.head(command)

    def open(self, command: GetObject) -> OpenedObject:
        """See ObjectOperations."""
        return self._inner.open(command)

    def _told(
        self, name: str, command: PutObject | DeleteObject, work: Callable[[], T], facts: Callable[[T], dict[str, Any]]
    ) -> T:
        path, identifier = command.path, command.transaction_id
        bucket = Bucket(path.container_path, self._lookup.container(path.container_path, identifier))
        if not self._events.concern(bucket):
            return work()
        version = public_id(command.version) if isinstance(command, DeleteObject) and command.version else None
        event = BucketEvent(name, bucket, path.object, "", "", identifier, version)
        return self._events.carry_out(event, work, facts)

    def _facts_of_new(self, command: PutObject) -> Callable[[PutResult], dict[str, Any]]:
        def facts(made: PutResult) -> dict[str, Any]:
            """What cannot be read is left out, the event is told all the same."""
            found: dict[str, Any] = {"versionId": public_id(made.version)} if made.version else {}
            asked = GetObject(
                command.path,
                command.policy_index,
                newest=True,
                version=made.version,
                transaction_id=command.transaction_id,
            )
            try:
                info = self._inner.head(asked)
            except CoreError:
                return found | {"eTag": made.etag}
            stamp = sequencer(Timestamp.parse(info.timestamp))
            return found | {"size": info.size, "eTag": info.etag, "sequencer": stamp}

        return facts
