"""Events: a write in a bucket that tells webhooks puts one into their outboxes before it begins, and settles it after.

Other buckets pay nothing: there is no such setting in what is known of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec.structs import replace

from objstore.outbox import OutboxEntry, sequencer, with_facts
from objstore.proxy.core.errors import CoreError
from objstore.proxy.core.objects import GetObject
from objstore.proxy.core.versions import public_id
from objstore.proxy.s3.errors import S3Error, is_foreseen, refusal_of
from objstore.proxy.s3.handlers.reading import ObjectReader, given_version
from objstore.proxy.s3.notification import (
    EventSource,
    NotificationRule,
    message,
    notification_rules,
    record,
    trial_message,
    webhooks_of,
)
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.settings_table import NOTIFICATION
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.http.messages import Response
    from objstore.proxy.core.outbox import Intent
    from objstore.proxy.s3.application import Handler
    from objstore.proxy.s3.buckets import Bucket
    from objstore.proxy.s3.context import S3Context
    from objstore.proxy.s3.request import S3Request

T = TypeVar("T")
_EVENTS: Final = {
    Operation.PUT_OBJECT: "ObjectCreated:Put",
    Operation.COPY_OBJECT: "ObjectCreated:Copy",
    Operation.COMPLETE_MULTIPART_UPLOAD: "ObjectCreated:CompleteMultipartUpload",
    Operation.DELETE_OBJECT: "ObjectRemoved:Delete",
    Operation.PUT_OBJECT_TAGGING: "ObjectTagging:Put",
    Operation.DELETE_OBJECT_TAGGING: "ObjectTagging:Delete",
    Operation.PUT_OBJECT_ACL: "ObjectAcl:Put",
}
POSTED: Final = "ObjectCreated:Post"
DELETED: Final = "ObjectRemoved:Delete"
_MARKED: Final = "ObjectRemoved:DeleteMarkerCreated"


class EventStage:
    """Goes around the handlers of writes."""

    def __init__(self, context: S3Context) -> None:
        proxy = context.proxy
        self._settings: Final = context.settings
        self._outbox: Final = proxy.outbox
        self._webhooks: Final = frozenset(each.name for each in proxy.cluster.webhooks)
        self._region: Final = proxy.config.s3.region
        self._clock: Final = proxy.runtime.clock
        self._log: Final = proxy.runtime.log
        self._reader: Final = ObjectReader(proxy, context.authorizer)

    def around_all(self, handlers: Mapping[Operation, Handler]) -> dict[Operation, Handler]:
        """The handlers, those of writes with events."""
        return {
            operation: self.around(_EVENTS[operation], handler) if operation in _EVENTS else handler
            for operation, handler in handlers.items()
        }

    def around(self, event: str, handler: Handler) -> Handler:
        """The handler of a write of one object, with an event."""

        def handle(request: S3Request) -> Response:
            if not self.concerns(request):
                return handler(request)
            version = request.params.get("versionId")
            return self.carry_out(
                request,
                event,
                request.key,
                version,
                lambda: handler(request),
                lambda made: _version_made(made, version),
            )

        return handle

    def concerns(self, request: S3Request) -> bool:
        """Whether webhooks are told of anything in the bucket of a request."""
        return self._settings.is_set(request.container, NOTIFICATION)

    def carry_out(
        self,
        request: S3Request,
        event: str,
        key: str,
        version_id: str | None,
        work: Callable[[], T],
        version_of: Callable[[T], str],
    ) -> T:
        """Do the work, a write of a key; `version_of` gives the id of the version that it has made or removed.

        Raises what the work raises; and OutboxFull, QuorumNotReached, when nothing has been done.
        """
        bucket = request.container
        rules = self._rules(bucket, request.transaction_id)
        if event == DELETED and version_id is None and bucket.info.versioning:
            event = _MARKED
        covering = [rule for rule in rules if rule.webhook in self._webhooks and rule.covers(event, key)]
        if not covering:
            return work()
        intents = self._intend(request, event, key, version_id, covering)
        try:
            result = work()
        except Exception as error:
            if is_foreseen(error) and refusal_of(error).status < 500:
                for intent in intents:
                    self._outbox.withdraw(intent, request.transaction_id)
            raise
        facts = self._facts(request, event, key, version_of(result))
        for intent in intents:
            entry = replace(intent.entry, message=with_facts(intent.entry.message, facts))
            self._outbox.settle(replace(intent, entry=entry), request.transaction_id)
        return result

    def _rules(self, bucket: Bucket, transaction_id: str) -> tuple[NotificationRule, ...]:
        stored = self._settings.read(bucket, NOTIFICATION, transaction_id)
        return () if stored is None else notification_rules(stored)

    def _intend(
        self, request: S3Request, event: str, key: str, version_id: str | None, rules: list[NotificationRule]
    ) -> list[Intent]:
        bucket, environ, identity = request.container, request.environ, request.identity
        source = EventSource(
            self._region,
            "" if identity is None else identity.user,
            environ.get("REMOTE_ADDR", ""),
            request.transaction_id,
            bucket.name,
            bucket.owner,
        )
        time, intents = _time(self._clock.timestamp()), []
        for rule in rules:
            entry = OutboxEntry(
                message(record(source, rule.id, event, time, key)),
                str(bucket.path.with_object(key)),
                bucket.info.policy_index,
                shows=event.startswith("ObjectCreated") or (event.startswith("ObjectRemoved") and version_id is None),
            )
            intents.append(self._outbox.intend(rule.webhook, entry, request.transaction_id))
        return intents

    def _facts(self, request: S3Request, event: str, key: str, version_id: str) -> dict[str, Any]:
        """What the event says of the object; what cannot be read is left out, the event is told all the same."""
        facts: dict[str, Any] = {"sequencer": sequencer(self._clock.timestamp())}
        if version_id:
            facts["versionId"] = version_id
        if event.startswith("ObjectRemoved"):
            return facts
        bucket = request.container
        version = given_version(version_id) if version_id else ""
        command = GetObject(
            bucket.path.with_object(key),
            bucket.info.policy_index,
            newest=True,
            version=version,
            transaction_id=request.transaction_id,
        )
        try:
            info = self._reader.head(request, command)
        except (CoreError, S3Error):
            return facts
        if event.startswith("ObjectCreated"):
            facts |= {"size": info.size, "sequencer": sequencer(Timestamp.parse(info.timestamp))}
        if bucket.info.versioning and not version_id:
            facts["versionId"] = public_id(info.version)
        return facts | {"eTag": info.etag}

    def check(self, request: S3Request, _bucket: Bucket, document: bytes) -> None:
        """Refuse a configuration that names unknown webhooks, and have those that it names told. Raises S3Error."""
        rules = notification_rules(document)
        for rule in rules:
            if rule.webhook not in self._webhooks:
                reason = "Unable to validate the following destination configurations"
                raise S3Error("InvalidArgument", reason, ArgumentName="Queue", ArgumentValue=rule.webhook)
        if (request.header("x-amz-skip-destination-validation") or "").lower() == "true":
            return
        identifier = request.transaction_id
        for webhook in webhooks_of(rules):
            told = trial_message(request.bucket, _time(self._clock.timestamp()), identifier)
            self._outbox.settle(self._outbox.intend(webhook, OutboxEntry(told), identifier), identifier)


def _time(timestamp: Timestamp) -> str:
    return f"{timestamp.isoformat[:23]}Z"


def _version_made(response: Response, version_id: str | None) -> str:
    """The id of the version that a write of one object has made, changed or removed."""
    return response.headers.get("x-amz-version-id") or version_id or ""
