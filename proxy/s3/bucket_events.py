"""Events of buckets that tell webhooks: put into their outboxes before a write begins, and settled after it.

Other buckets pay nothing: there is no such setting in what is known of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from objstore.outbox import OutboxEntry, sequencer, with_facts
from objstore.proxy.core.outbox import Intent
from objstore.proxy.s3.errors import S3Error, is_foreseen, refusal_of
from objstore.proxy.s3.notification import (
    EventSource,
    NotificationRule,
    message,
    notification_rules,
    record,
    trial_message,
    webhooks_of,
)
from objstore.proxy.s3.settings_table import NOTIFICATION
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext
    from objstore.proxy.s3.buckets import Bucket
    from objstore.proxy.s3.settings import BucketSettings

T = TypeVar("T")


class BucketEvent(Struct, frozen=True):
    """Something that is about to be done in a bucket, as "ObjectCreated:Put". version_id: the one that is removed."""

    name: str
    bucket: Bucket
    key: str
    user: str
    address: str
    request_id: str
    version_id: str | None = None

    @property
    def shows(self) -> bool:
        """Whether the object's newest timestamp will tell that it was done."""
        return self.name.startswith("ObjectCreated") or (self.version_id is None and not self.changes_metadata)

    @property
    def changes_metadata(self) -> bool:
        return self.name.startswith(("ObjectTagging", "ObjectAcl"))


class BucketEvents:
    """Puts events of one process into outboxes."""

    def __init__(self, context: ProxyContext, settings: BucketSettings) -> None:
        self._settings: Final = settings
        self._outbox: Final = context.outbox
        self._webhooks: Final = frozenset(each.name for each in context.cluster.webhooks)
        self._region: Final = context.config.s3.region
        self._clock: Final = context.runtime.clock

    def concern(self, bucket: Bucket) -> bool:
        """Whether webhooks are told of anything in a bucket."""
        return self._settings.is_set(bucket, NOTIFICATION)

    def carry_out(self, event: BucketEvent, work: Callable[[], T], facts_of: Callable[[T], dict[str, Any]]) -> T:
        """Do the work; `facts_of` gives what the event says of the object then.

        Raises what the work raises; and OutboxFull, QuorumNotReached, when nothing has been done.
        """
        rules = self._rules(event)
        if not rules:
            return work()
        intents = self._intend(event, rules)
        try:
            result = work()
        except Exception as error:
            if is_foreseen(error) and refusal_of(error).status < 500:
                for intent in intents:
                    self._outbox.withdraw(intent, event.request_id)
            raise
        facts = {"sequencer": sequencer(self._clock.timestamp()), **facts_of(result)}
        for intent in intents:
            entry = replace(intent.entry, message=with_facts(intent.entry.message, facts))
            self._outbox.settle(replace(intent, entry=entry), event.request_id)
        return result

    def _rules(self, event: BucketEvent) -> list[NotificationRule]:
        stored = self._settings.read(event.bucket, NOTIFICATION, event.request_id)
        rules = () if stored is None else notification_rules(stored)
        return [rule for rule in rules if rule.webhook in self._webhooks and rule.covers(event.name, event.key)]

    def _intend(self, event: BucketEvent, rules: Sequence[NotificationRule]) -> list[Intent]:
        bucket, time, intents = event.bucket, _time(self._clock.timestamp()), []
        source = EventSource(self._region, event.user, event.address, event.request_id, bucket.name, bucket.owner)
        for rule in rules:
            entry = OutboxEntry(
                message(record(source, rule.id, event.name, time, event.key)),
                str(bucket.path.with_object(event.key)),
                bucket.info.policy_index,
                shows=event.shows,
            )
            intents.append(self._outbox.intend(rule.webhook, entry, event.request_id))
        return intents

    def check_targets(self, bucket: str, document: bytes, request_id: str, *, with_trial: bool) -> None:
        """Refuse a configuration that names unknown webhooks, and have those that it names told of it.

        Raises S3Error InvalidArgument, and OutboxFull, QuorumNotReached.
        """
        rules = notification_rules(document)
        for rule in rules:
            if rule.webhook not in self._webhooks:
                reason = "Unable to validate the following destination configurations"
                raise S3Error("InvalidArgument", reason, ArgumentName="Queue", ArgumentValue=rule.webhook)
        for webhook in webhooks_of(rules) if with_trial else ():
            told = trial_message(bucket, _time(self._clock.timestamp()), request_id)
            self._outbox.settle(self._outbox.intend(webhook, OutboxEntry(told), request_id), request_id)


def deletion_event(bucket: Bucket, version_id: str | None) -> str:
    """What a deletion does: where versions are kept, it adds a delete marker unless it names one."""
    return "DeleteMarkerCreated" if version_id is None and bucket.info.versioning else "Delete"


def _time(timestamp: Timestamp) -> str:
    return f"{timestamp.isoformat[:23]}Z"
