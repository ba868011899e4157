"""Events of requests: the handlers of writes are wrapped, so that webhooks are told of what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from objstore.outbox import sequencer
from objstore.proxy.core.errors import CoreError
from objstore.proxy.core.objects import GetObject
from objstore.proxy.core.versions import public_id
from objstore.proxy.s3.bucket_events import BucketEvent, BucketEvents, deletion_event
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.reading import ObjectReader, given_version
from objstore.proxy.s3.operations import Operation
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.http.messages import Response
    from objstore.proxy.s3.application import Handler
    from objstore.proxy.s3.buckets import Bucket
    from objstore.proxy.s3.context import S3Context
    from objstore.proxy.s3.request import S3Request

T = TypeVar("T")
REMOVED: Final = "ObjectRemoved"
POSTED: Final = "ObjectCreated:Post"
_EVENTS: Final = {
    Operation.PUT_OBJECT: "ObjectCreated:Put",
    Operation.COPY_OBJECT: "ObjectCreated:Copy",
    Operation.COMPLETE_MULTIPART_UPLOAD: "ObjectCreated:CompleteMultipartUpload",
    Operation.DELETE_OBJECT: REMOVED,
    Operation.PUT_OBJECT_TAGGING: "ObjectTagging:Put",
    Operation.DELETE_OBJECT_TAGGING: "ObjectTagging:Delete",
    Operation.PUT_OBJECT_ACL: "ObjectAcl:Put",
}


class EventStage:
    """Goes around the handlers of writes."""

    def __init__(self, context: S3Context) -> None:
        self._events: Final = BucketEvents(context.proxy, context.settings)
        self._reader: Final = ObjectReader(context.proxy, context.authorizer)

    def around_all(self, handlers: Mapping[Operation, Handler]) -> dict[Operation, Handler]:
        """The handlers, those of writes with events."""
        return {
            operation: self.around(_EVENTS[operation], handler) if operation in _EVENTS else handler
            for operation, handler in handlers.items()
        }

    def around(self, name: str, handler: Handler) -> Handler:
        """The handler of a write of one object, with an event."""

        def handle(request: S3Request) -> Response:
            if not self.concerns(request):
                return handler(request)
            version = request.params.get("versionId")

            def version_of(made: Response) -> str:
                return made.headers.get("x-amz-version-id") or version or ""

            return self.carry_out(request, name, request.key, version, lambda: handler(request), version_of)

        return handle

    def concerns(self, request: S3Request) -> bool:
        """Whether webhooks are told of anything in the bucket of a request."""
        return self._events.concern(request.container)

    def carry_out(
        self,
        request: S3Request,
        name: str,
        key: str,
        version_id: str | None,
        work: Callable[[], T],
        version_of: Callable[[T], str],
    ) -> T:
        """Do the work, a write of a key; `version_of` gives the id of the version that it has made or removed.

        Raises what the work raises; and OutboxFull, QuorumNotReached, when nothing has been done.
        """
        bucket, identity = request.container, request.identity
        if name == REMOVED:
            name = f"{REMOVED}:{deletion_event(bucket, version_id)}"
        event = BucketEvent(
            name,
            bucket,
            key,
            "" if identity is None else identity.user,
            request.environ.get("REMOTE_ADDR", ""),
            request.transaction_id,
            version_id,
        )
        return self._events.carry_out(event, work, lambda made: self._facts(request, event, version_of(made)))

    def _facts(self, request: S3Request, event: BucketEvent, version_id: str) -> dict[str, Any]:
        """What the event says of the object; what cannot be read is left out, the event is told all the same."""
        facts: dict[str, Any] = {"versionId": version_id} if version_id else {}
        if event.name.startswith(REMOVED):
            return facts
        bucket = event.bucket
        command = GetObject(
            bucket.path.with_object(event.key),
            bucket.info.policy_index,
            newest=True,
            version=given_version(version_id) if version_id else "",
            transaction_id=request.transaction_id,
        )
        try:
            info = self._reader.head(request, command)
        except (CoreError, S3Error):
            return facts
        if not event.changes_metadata:
            facts |= {"size": info.size, "sequencer": sequencer(Timestamp.parse(info.timestamp))}
        if bucket.info.versioning and not version_id:
            facts["versionId"] = public_id(info.version)
        return facts | {"eTag": info.etag}

    def check(self, request: S3Request, _bucket: Bucket, document: bytes) -> None:
        """Refuse a configuration that names unknown webhooks, and have those that it names told. Raises S3Error."""
        skips = (request.header("x-amz-skip-destination-validation") or "").lower() == "true"
        self._events.check_targets(request.bucket, document, request.transaction_id, with_trial=not skips)
