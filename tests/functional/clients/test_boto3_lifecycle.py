"""boto3: lifecycle rules, and a store of its own whose daemon keeps to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.functional.clients.s3 import headers_of, new_name, refused, s3_client
from tests.functional.servers import Store
from tests.waiting import wait_until

PAST = datetime(2020, 1, 1, tzinfo=UTC)
ALL: dict[str, Any] = {"ID": "all", "Status": "Enabled", "Filter": {}}
ENABLED = {"Status": "Enabled"}


@pytest.fixture(scope="module")
def aging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a store that looks for what is due all the time."""
    store = Store(Path(tmp_path_factory.mktemp("aging")) / "data")
    store.start()
    store.stop()
    with (store.folder / "proxy.toml").open("a") as file:
        file.write('\n[lifecycle]\ninterval = "200ms"\n')
    store.start()
    yield s3_client(store)
    store.kill()


def put(s3: Any, bucket: str, *rules: dict[str, Any]) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def keys(s3: Any, bucket: str) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def versions(s3: Any, bucket: str) -> dict[str, list[str]]:
    found = s3.list_object_versions(Bucket=bucket)
    return {kind: [each["Key"] for each in found.get(kind, [])] for kind in ("Versions", "DeleteMarkers")}


class TestRules:
    def test_stored_as_they_came(self, s3: Any, bucket: str) -> None:
        get = s3.get_bucket_lifecycle_configuration
        assert refused(get, Bucket=bucket) == (404, "NoSuchLifecycleConfiguration")
        both = {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 5}
        rules = [
            {"ID": "1", "Status": "Enabled", "Filter": {"And": both}, "Expiration": {"Days": 3}},
            {"ID": "2", "Status": "Disabled", "Filter": {"Prefix": "b"}, "Expiration": {"Date": PAST}},
            {"ID": "3", "Status": "Enabled", "Prefix": "", "Expiration": {"ExpiredObjectDeleteMarker": True}},
            {
                "ID": "4",
                "Status": "Enabled",
                "Filter": {"ObjectSizeLessThan": 10},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 4},
            },
            {**ALL, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
        ]
        put(s3, bucket, *rules)
        answer = get(Bucket=bucket)
        assert answer["Rules"] == rules
        assert answer["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
        put(s3, bucket, {"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}})
        assert get(Bucket=bucket)["Rules"][0]["ID"]
        s3.delete_bucket_lifecycle(Bucket=bucket)
        assert refused(get, Bucket=bucket) == (404, "NoSuchLifecycleConfiguration")

    @pytest.mark.parametrize(
        ("rule", "code"),
        [
            ({}, "InvalidRequest"),
            ({"Expiration": {"Days": 0}}, "InvalidArgument"),
            ({"Expiration": {"Days": 1, "Date": PAST}}, "MalformedXML"),
            ({"Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}}, "MalformedXML"),
            ({"Expiration": {"Date": PAST + timedelta(hours=1)}}, "InvalidArgument"),
            ({"Expiration": {"Days": 1}, "ID": "x" * 256}, "InvalidArgument"),
            ({"Expiration": {"Days": 1}, "Status": "on"}, "MalformedXML"),
            ({"Expiration": {"Days": 1}, "Prefix": "a"}, "MalformedXML"),
            ({"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}, "NotImplemented"),
            ({"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}}, "InvalidArgument"),
        ],
    )
    def test_what_is_refused(self, s3: Any, bucket: str, rule: dict[str, Any], code: str) -> None:
        with pytest.raises(ClientError) as error:
            put(s3, bucket, {**ALL, **rule})
        assert error.value.response["Error"]["Code"] == code

    def test_answers_tell_when_an_object_expires(self, s3: Any, bucket: str) -> None:
        put(s3, bucket, {**ALL, "ID": "a b", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 2}})
        moment = datetime.now(UTC)
        due = (moment + timedelta(days=3)).replace(hour=0, minute=0, second=0, microsecond=0)
        expected = f'expiry-date="{due:%a, %d %b %Y} 00:00:00 GMT", rule-id="a%20b"'
        stored = s3.put_object(Bucket=bucket, Key="x/1", Body=b"1")
        read, head = s3.get_object(Bucket=bucket, Key="x/1"), s3.head_object(Bucket=bucket, Key="x/1")
        copied = s3.copy_object(Bucket=bucket, Key="x/2", CopySource=f"{bucket}/x/1")
        if datetime.now(UTC).date() == moment.date():
            assert [each["Expiration"] for each in (stored, read, head, copied)] == [expected] * 4
        assert "x-amz-expiration" not in headers_of(s3.put_object(Bucket=bucket, Key="y", Body=b"1"))


class TestDaemon:
    def test_what_is_due_goes_and_the_rest_stays(self, aging: Any) -> None:
        plain, kept = new_name(), new_name()
        aging.create_bucket(Bucket=plain)
        aging.create_bucket(Bucket=kept, ObjectLockEnabledForBucket=True)
        for key in ("a/1", "a/2", "b/1"):
            aging.put_object(Bucket=plain, Key=key, Body=b"12345")
            aging.put_object(Bucket=kept, Key=key, Body=b"12345")
        aging.put_object_tagging(Bucket=plain, Key="a/2", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
        aging.delete_object(Bucket=kept, Key="only-a-marker")
        tagged = {"And": {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "v"}]}}
        put(aging, plain, {**ALL, "Filter": tagged, "Expiration": {"Date": PAST}})
        put(
            aging,
            kept,
            {**ALL, "Filter": {"Prefix": "a/"}, "Expiration": {"Date": PAST}},
            {**ALL, "ID": "markers", "Expiration": {"ExpiredObjectDeleteMarker": True}},
        )
        wait_until(lambda: keys(aging, plain) == ["a/1", "b/1"], "the tagged object is gone")
        gone = {"Versions": ["a/1", "a/2", "b/1"], "DeleteMarkers": ["a/1", "a/2"]}
        wait_until(lambda: versions(aging, kept) == gone, "markers before what is due")
        # Rules that change are followed at once, not tomorrow.
        put(aging, plain, {**ALL, "Expiration": {"Date": PAST}})
        wait_until(lambda: keys(aging, plain) == [], "all is gone")
