"""Notifications of buckets: which events go to which webhook, and what the messages say.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import combinations
from typing import Any, Final
from urllib.parse import quote_plus

from msgspec import Struct

from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.xml import Element, ReceivedElement, parse

ROOT: Final = "NotificationConfiguration"
RULES_MAX: Final = 100
ID_LENGTH_MAX: Final = 255
PATTERN_LENGTH_MAX: Final = 1024
_CREATED: Final = "s3:ObjectCreated:"
_REMOVED: Final = "s3:ObjectRemoved:"
_EXPIRED: Final = "s3:LifecycleExpiration:"
EVENTS: Final = frozenset(
    {_CREATED + each for each in ("*", "Put", "Post", "Copy", "CompleteMultipartUpload")}
    | {_REMOVED + each for each in ("*", "Delete", "DeleteMarkerCreated")}
    | {_EXPIRED + each for each in ("*", "Delete", "DeleteMarkerCreated")}
    | {"s3:ObjectTagging:*", "s3:ObjectTagging:Put", "s3:ObjectTagging:Delete", "s3:ObjectAcl:Put"}
)
# Of AWS's events those that never happen here.
_NEVER: Final = re.compile(
    r"s3:(?:ReducedRedundancyLostObject|ObjectRestore:\S+|Replication:\S+|LifecycleTransition|IntelligentTiering)"
)
# What MinIO calls a webhook, with the store's own name beside it.
_ARN: Final = re.compile(r"arn:(?:objstore|minio|aws):sqs:[a-z0-9-]*:([A-Za-z0-9_-]+):webhook")


class NotificationRule(Struct, frozen=True):
    """Events that a webhook is told of, "s3:ObjectCreated:Put" or with "*" at the end, and the keys they are about."""

    id: str
    webhook: str
    events: frozenset[str]
    prefix: str = ""
    suffix: str = ""

    def covers(self, event: str, key: str) -> bool:
        """Whether the webhook is told of an event "ObjectCreated:Put" of a key."""
        group = event.partition(":")[0]
        named = f"s3:{event}" in self.events or f"s3:{group}:*" in self.events
        return named and key.startswith(self.prefix) and key.endswith(self.suffix)

    def overlaps(self, other: NotificationRule) -> bool:
        """Whether one event can fall under both."""
        shared = any(_matches(one, two) or _matches(two, one) for one in self.events for two in other.events)
        nested = self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)
        return shared and nested and (self.suffix.endswith(other.suffix) or other.suffix.endswith(self.suffix))


def _matches(pattern: str, event: str) -> bool:
    return pattern == event or (pattern.endswith("*") and event.startswith(pattern[:-1]))


@lru_cache(maxsize=1024)
def notification_rules(stored: bytes) -> tuple[NotificationRule, ...]:
    """The rules of a stored document."""
    return tuple(_rule(each) for each in parse(stored, ROOT))


def checked_notification(root: ReceivedElement) -> Element:
    """The document that is stored: every rule has an id. Raises S3Error, MalformedDocument."""
    rules = []
    for each in root:
        if each.name in ("TopicConfiguration", "CloudFunctionConfiguration", "EventBridgeConfiguration"):
            raise S3Error("NotImplemented", "Events go to webhooks only: QueueConfiguration with a webhook's ARN")
        if each.name != "QueueConfiguration":
            raise S3Error("MalformedXML")
        rules.append(_rule(each))
    if len(rules) > RULES_MAX:
        raise S3Error("InvalidArgument", f"A bucket has at most {RULES_MAX} notification configurations")
    if len({rule.id for rule in rules}) < len(rules):
        raise S3Error("InvalidArgument", "Same ID used for multiple configurations. IDs must be unique")
    if any(one.overlaps(other) for one, other in combinations(rules, 2)):
        reason = (
            "Configurations overlap. Configurations on the same bucket cannot share a common event type, "
            "unless their prefixes or suffixes exclude each other."
        )
        raise S3Error("InvalidArgument", reason)
    return _document(rules, [each.value("Queue") or "" for each in root])


def _rule(element: ReceivedElement) -> NotificationRule:
    if any(child.name not in ("Id", "Queue", "Event", "Filter") for child in element):
        raise S3Error("MalformedXML")
    arn, events = element.needed("Queue"), [child.text for child in element.all("Event")]
    webhook = _ARN.fullmatch(arn)
    if webhook is None:
        raise S3Error("InvalidArgument", "The ARN is not well formed", ArgumentName="Queue", ArgumentValue=arn)
    if not events:
        raise S3Error("MalformedXML")
    for event in events:
        if _NEVER.fullmatch(event):
            raise S3Error("NotImplemented", f"There are no events of this kind: {event}")
        if event not in EVENTS:
            reason = f"The event '{event}' is not supported for notifications"
            raise S3Error("InvalidArgument", reason, ArgumentName="Event", ArgumentValue=event)
    patterns = _patterns(element.find("Filter"))
    prefix, suffix = patterns.get("prefix", ""), patterns.get("suffix", "")
    identifier = element.value("Id") or _own_id(arn, events, prefix, suffix)
    if len(identifier) > ID_LENGTH_MAX:
        raise S3Error("InvalidArgument", f"An Id has at most {ID_LENGTH_MAX} characters", ArgumentName="Id")
    return NotificationRule(identifier, webhook[1], frozenset(events), prefix, suffix)


def _own_id(*said: object) -> str:
    return sha256(repr(said).encode()).hexdigest()[:32]


def _patterns(filter_: ReceivedElement | None) -> dict[str, str]:
    """The prefix and the suffix of a filter."""
    found: dict[str, str] = {}
    keys = None if filter_ is None else filter_.find("S3Key")
    for each in () if keys is None else keys.all("FilterRule"):
        name, value = each.needed("Name").lower(), each.value("Value") or ""
        if name not in ("prefix", "suffix"):
            raise S3Error("InvalidArgument", "filter rule name must be either prefix or suffix", ArgumentName="Name")
        if name in found:
            raise S3Error("InvalidArgument", f"Cannot specify more than one {name} rule in a filter.")
        if len(value.encode()) > PATTERN_LENGTH_MAX:
            raise S3Error("InvalidArgument", f"A {name} has at most {PATTERN_LENGTH_MAX} bytes", ArgumentName="Value")
        found[name] = value
    return found


def _document(rules: Sequence[NotificationRule], arns: Sequence[str]) -> Element:
    root = Element(ROOT)
    for rule, arn in zip(rules, arns, strict=True):
        queue = root.add("QueueConfiguration")
        queue.add("Id", rule.id)
        queue.add("Queue", arn)
        for event in sorted(rule.events):
            queue.add("Event", event)
        patterns = [("Prefix", rule.prefix), ("Suffix", rule.suffix)]
        if any(value for _, value in patterns):
            keys = queue.add("Filter").add("S3Key")
            for name, value in patterns:
                if value:
                    each = keys.add("FilterRule")
                    each.add("Name", name)
                    each.add("Value", value)
    return root


def webhooks_of(rules: Iterable[NotificationRule]) -> list[str]:
    """The webhooks that rules name, each once."""
    return list(dict.fromkeys(rule.webhook for rule in rules))


class EventSource(Struct, frozen=True):
    """What a request says of itself in the event that it causes."""

    region: str
    user: str
    address: str
    request_id: str
    bucket: str
    owner: str


def record(source: EventSource, rule_id: str, event: str, time: str, key: str) -> dict[str, Any]:
    """The record of an event; `time` is ISO 8601 with milliseconds. What the write made is put in once it is done."""
    return {
        "eventVersion": "2.1" if event.startswith(("ObjectCreated", "ObjectRemoved")) else "2.3",
        "eventSource": "aws:s3",
        "awsRegion": source.region,
        "eventTime": time,
        "eventName": event,
        "userIdentity": {"principalId": source.user},
        "requestParameters": {"sourceIPAddress": source.address},
        "responseElements": {"x-amz-request-id": source.request_id, "x-amz-id-2": source.request_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": rule_id,
            "bucket": {
                "name": source.bucket,
                "ownerIdentity": {"principalId": source.owner},
                "arn": f"arn:aws:s3:::{source.bucket}",
            },
            "object": {"key": quote_plus(key, safe="/")},
        },
    }


def message(made: dict[str, Any]) -> dict[str, Any]:
    """What a webhook is sent of an event."""
    return {"Records": [made]}


def trial_message(bucket: str, time: str, request_id: str) -> dict[str, Any]:
    """What a webhook is sent when a bucket begins to use it."""
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": time,
        "Bucket": bucket,
        "RequestId": request_id,
        "HostId": request_id,
    }
