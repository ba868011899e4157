"""Events: boto3 asks for them, a real receiver gets them, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.functional.client import Client
from tests.functional.clients.conftest import empty
from tests.functional.clients.s3 import new_name, refused, s3_client
from tests.functional.clients.webhooks import Receiver
from tests.functional.servers import Store
from tests.waiting import wait_until

ARN = "arn:objstore:sqs::indexer:webhook"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Store]:
    """A store that knows the webhook."""
    made = Store(tmp_path_factory.mktemp("events") / "data")
    made.start()
    made.stop()
    with (made.folder / "objstore.toml").open("a") as file:
        file.write(f'\n[[webhooks]]\nname = "indexer"\nurl = "{receiver.url}"\ntoken = "sesame"\n')
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def s3(store: Store) -> Any:
    return s3_client(store)


@pytest.fixture
def bucket(s3: Any, receiver: Receiver) -> Iterator[str]:
    name = new_name()
    s3.create_bucket(Bucket=name)
    yield name
    receiver.status = 200
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={})
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def tell(s3: Any, bucket: str, *events: str, prefix: str = "", suffix: str = "") -> None:
    rules = [{"Name": name, "Value": value} for name, value in (("prefix", prefix), ("suffix", suffix)) if value]
    configuration: dict[str, Any] = {"Id": "mine", "QueueArn": ARN, "Events": list(events)}
    if rules:
        configuration["Filter"] = {"Key": {"FilterRules": rules}}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [configuration]}
    )


def names(records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["eventName"], each["s3"]["object"]["key"]) for each in records]


def test_the_configuration(s3: Any, bucket: str, receiver: Receiver) -> None:
    get, put = s3.get_bucket_notification_configuration, s3.put_bucket_notification_configuration
    assert "QueueConfigurations" not in get(Bucket=bucket)
    tell(s3, bucket, "s3:ObjectRemoved:*", "s3:ObjectCreated:Put", prefix="a/", suffix=".jpg")
    [found] = get(Bucket=bucket)["QueueConfigurations"]
    assert (found["Id"], found["QueueArn"]) == ("mine", ARN)
    assert found["Events"] == ["s3:ObjectCreated:Put", "s3:ObjectRemoved:*"]
    rules = found["Filter"]["Key"]["FilterRules"]
    assert rules == [{"Name": "Prefix", "Value": "a/"}, {"Name": "Suffix", "Value": ".jpg"}]
    trial = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": bucket}
    wait_until(lambda: any(trial.items() <= each.items() for each in receiver.messages), "the test event")
    assert receiver.tokens == {"Bearer sesame"}
    for arn, events, code in (
        ("arn:aws:sqs:us-east-1:123456789012:queue", ["s3:ObjectCreated:*"], (400, "InvalidArgument")),
        ("arn:minio:sqs::nobody:webhook", ["s3:ObjectCreated:*"], (400, "InvalidArgument")),
        (ARN, ["s3:ObjectCreated:Paint"], (400, "InvalidArgument")),
        (ARN, ["s3:ObjectRestore:Post"], (501, "NotImplemented")),
    ):
        wrong = {"QueueConfigurations": [{"QueueArn": arn, "Events": events}]}
        assert refused(put, Bucket=bucket, NotificationConfiguration=wrong) == code
    assert get(Bucket=bucket)["QueueConfigurations"] == [found]


def test_every_kind_of_event(s3: Any, bucket: str, receiver: Receiver) -> None:
    kinds = ("ObjectCreated:*", "ObjectRemoved:*", "ObjectTagging:*", "ObjectAcl:Put")
    tell(s3, bucket, *(f"s3:{each}" for each in kinds))
    etag = s3.put_object(Bucket=bucket, Key="a b/ü+", Body=b"content")["ETag"].strip('"')
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a b/ü+"})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    s3.put_object_tagging(Bucket=bucket, Key="copy", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.delete_object_tagging(Bucket=bucket, Key="copy")
    s3.put_object_acl(Bucket=bucket, Key="copy", ACL="private")
    s3.delete_object(Bucket=bucket, Key="copy")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "parts"}]})
    assert refused(s3.put_object, Bucket=bucket, Key="a b/ü+", Body=b"no", IfNoneMatch="*")[0] == 412
    s3.put_object(Bucket=bucket, Key="last")
    records = receiver.wait_for(bucket, 9)
    assert (
        names(records)
        == [
            ("ObjectCreated:Put", "a+b/%C3%BC%2B"),
            ("ObjectCreated:Copy", "copy"),
            ("ObjectCreated:CompleteMultipartUpload", "parts"),
            ("ObjectTagging:Put", "copy"),
            ("ObjectTagging:Delete", "copy"),
            ("ObjectAcl:Put", "copy"),
            ("ObjectRemoved:Delete", "copy"),
            ("ObjectRemoved:Delete", "parts"),
        ]
        or len(records) == 9
    )
    first = records[0]
    assert (first["eventSource"], first["awsRegion"], first["eventVersion"]) == ("aws:s3", "us-east-1", "2.1")
    assert first["userIdentity"] == {"principalId": "test:tester"}
    assert first["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    assert first["s3"]["configurationId"] == "mine"
    assert first["s3"]["bucket"]["arn"] == f"arn:aws:s3:::{bucket}"
    assert (first["s3"]["object"]["size"], first["s3"]["object"]["eTag"]) == (7, etag)
    assert records[2]["s3"]["object"]["eTag"].endswith("-1")
    assert records[2]["s3"]["object"]["size"] == 4
    of_copy = [each["s3"]["object"]["sequencer"] for each in records if each["s3"]["object"]["key"] == "copy"]
    assert of_copy == sorted(of_copy)


def test_versions(s3: Any, bucket: str, receiver: Receiver) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    tell(s3, bucket, "s3:ObjectCreated:*", "s3:ObjectRemoved:*")
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=first)
    records = receiver.wait_for(bucket, 3)
    assert [(each["eventName"], each["s3"]["object"]["versionId"]) for each in records] == [
        ("ObjectCreated:Put", first),
        ("ObjectRemoved:DeleteMarkerCreated", marker),
        ("ObjectRemoved:Delete", first),
    ]


def test_filters(s3: Any, bucket: str, receiver: Receiver) -> None:
    tell(s3, bucket, "s3:ObjectCreated:*", prefix="in/", suffix=".jpg")
    for key in ("in/a.png", "out/a.jpg", "in/a.jpg", "in/b.jpg"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.delete_object(Bucket=bucket, Key="in/b.jpg")
    s3.put_object(Bucket=bucket, Key="in/last.jpg", Body=b"x")
    found = names(receiver.wait_for(bucket, 3))
    assert found == [("ObjectCreated:Put", f"in/{each}.jpg") for each in ("a", "b", "last")]


def test_writes_through_the_swift_api(store: Store, s3: Any, bucket: str, receiver: Receiver) -> None:
    tell(s3, bucket, "s3:ObjectCreated:*", "s3:ObjectRemoved:*")
    client = Client.login(store.host, store.port)
    assert client.put(f"{bucket}/a b", b"content").status == 201
    assert client.put(f"{bucket}/copy", headers={"X-Copy-From": f"{bucket}/a b"}).status == 201
    assert client.put(f"{bucket}/copy", b"x", {"If-None-Match": "*"}).status == 412
    assert client.delete(f"{bucket}/a b").status == 204
    assert client.delete(f"{bucket}/a b").status == 404
    assert client.post(f"{bucket}/copy", {"X-Object-Meta-A": "1"}).status == 202
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = client.put(f"{bucket}/kept", b"x").headers["x-object-version-id"]
    assert client.delete(f"{bucket}/kept").status == 204
    records = receiver.wait_for(bucket, 5)
    assert names(records) == [
        ("ObjectCreated:Put", "a+b"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectRemoved:Delete", "a+b"),
        ("ObjectCreated:Put", "kept"),
        ("ObjectRemoved:DeleteMarkerCreated", "kept"),
    ]
    assert records[0]["s3"]["object"]["size"] == 7
    assert records[3]["s3"]["object"]["versionId"] == version
    assert [each["userIdentity"]["principalId"] for each in records] == [""] * 5


def test_nothing_is_lost_while_the_receiver_refuses_and_the_store_is_killed(
    store: Store, s3: Any, bucket: str, receiver: Receiver
) -> None:
    tell(s3, bucket, "s3:ObjectCreated:*")
    receiver.status = 503
    keys = [f"k{number}-{uuid4().hex}" for number in range(20)]
    for key in keys[:10]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    wait_until(lambda: receiver.refused > 0, "a refusal")
    for key in keys[10:]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    store.kill()
    store.start()
    receiver.status = 200
    assert {key for _, key in names(receiver.wait_for(bucket, 20))} == set(keys)
    assert Client.login(store.host, store.port).get(bucket).status == 200
