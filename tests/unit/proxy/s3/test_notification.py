"""Notification configurations: which are refused, which events and keys each covers, and what is stored."""

from __future__ import annotations

import pytest

from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.notification import (
    EventSource,
    NotificationRule,
    checked_notification,
    notification_rules,
    record,
)
from objstore.proxy.s3.xml import NAMESPACE, document, parse

ARN = "arn:objstore:sqs::indexer:webhook"


def queue(*events: str, prefix: str = "", suffix: str = "", arn: str = ARN, more: str = "") -> str:
    filters = "".join(
        f"<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>"
        for name, value in (("prefix", prefix), ("Suffix", suffix))
        if value
    )
    body = f"<Queue>{arn}</Queue>" + "".join(f"<Event>s3:{event}</Event>" for event in events) + more
    return f"<QueueConfiguration>{body}<Filter><S3Key>{filters}</S3Key></Filter></QueueConfiguration>"


def stored(*queues: str) -> bytes:
    text = f"<NotificationConfiguration>{''.join(queues)}</NotificationConfiguration>"
    return document(checked_notification(parse(text.encode(), "NotificationConfiguration")), NAMESPACE)


def test_rules_come_back_with_ids_of_their_own() -> None:
    one, two = notification_rules(
        stored(
            queue("ObjectCreated:*", prefix="a/", suffix=".jpg"),
            queue("ObjectRemoved:*", arn="arn:minio:sqs:eu-1:B:webhook"),
        )
    )
    assert (one.webhook, one.prefix, one.suffix, one.events) == ("indexer", "a/", ".jpg", {"s3:ObjectCreated:*"})
    assert two.webhook == "B"
    assert one.id and two.id and one.id != two.id
    assert notification_rules(stored()) == ()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (queue(), "MalformedXML"),
        (queue("ObjectCreated:Paint"), "InvalidArgument"),
        (queue("ObjectRestore:Completed"), "NotImplemented"),
        (queue("Replication:*"), "NotImplemented"),
        (queue("ObjectCreated:*", arn="arn:aws:sns:eu-1:1:topic"), "InvalidArgument"),
        (queue("ObjectCreated:*", more="<Else/>"), "MalformedXML"),
        (queue("ObjectCreated:*", more=f"<Id>{'x' * 256}</Id>"), "InvalidArgument"),
        ("<TopicConfiguration/>", "NotImplemented"),
        ("<EventBridgeConfiguration/>", "NotImplemented"),
        ("<Else/>", "MalformedXML"),
        (queue("ObjectCreated:*") + queue("ObjectCreated:Put"), "InvalidArgument"),
        (queue("ObjectCreated:*", prefix="a") + queue("ObjectCreated:Put", prefix="ab"), "InvalidArgument"),
        (queue("ObjectCreated:*", more="<Id>i</Id>") + queue("ObjectAcl:Put", more="<Id>i</Id>"), "InvalidArgument"),
    ],
)
def test_what_is_no_configuration(body: str, code: str) -> None:
    with pytest.raises(S3Error) as error:
        stored(body)
    assert error.value.code == code


def test_rules_that_exclude_each_other() -> None:
    assert len(notification_rules(stored(*(queue("ObjectCreated:*", prefix=each) for each in ("a/", "b/"))))) == 2
    assert len(notification_rules(stored(*(queue("ObjectCreated:*", suffix=each) for each in (".a", ".b"))))) == 2
    assert len(notification_rules(stored(queue("ObjectCreated:Put"), queue("ObjectCreated:Copy")))) == 2


@pytest.mark.parametrize(
    ("event", "key", "covered"),
    [
        ("ObjectCreated:Put", "a/k.jpg", True),
        ("ObjectCreated:Copy", "a/k.jpg", True),
        ("ObjectRemoved:Delete", "a/k.jpg", True),
        ("ObjectRemoved:DeleteMarkerCreated", "a/k.jpg", False),
        ("ObjectCreated:Put", "k.jpg", False),
        ("ObjectCreated:Put", "a/k.png", False),
    ],
)
def test_what_a_rule_covers(event: str, key: str, covered: bool) -> None:
    events = frozenset({"s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"})
    assert NotificationRule("i", "w", events, "a/", ".jpg").covers(event, key) is covered


def test_records_name_keys_as_forms_do() -> None:
    source = EventSource("us-east-1", "test:tester", "10.0.0.1", "tx1", "photos", "AUTH_test")
    made = record(source, "mine", "ObjectTagging:Put", "2026-11-29T08:00:00.000Z", "a b/ü+")
    assert made["s3"]["object"]["key"] == "a+b/%C3%BC%2B"
    assert (made["eventVersion"], made["eventName"]) == ("2.3", "ObjectTagging:Put")
    assert made["responseElements"] == {"x-amz-request-id": "tx1", "x-amz-id-2": "tx1"}
