"""boto3: object lock, against each way to remove a version, or to shorten how long it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from tests.functional.client import Client
from tests.functional.clients.conftest import new_bucket
from tests.functional.clients.s3 import body_of, headers_of, new_name, refused, s3_client
from tests.functional.conftest import REPLICATION
from tests.functional.servers import Store
from tests.waiting import wait_until

DENIED = (403, "AccessDenied")
BYPASS = {"BypassGovernanceRetention": True}


@pytest.fixture
def locked(s3: Any, client: Client, policy: str) -> Iterator[str]:
    if policy == REPLICATION:
        name = new_name()
        s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    else:
        name = new_bucket(s3, policy)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    yield name
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        for each in page.get("Versions", []):
            what = {"Bucket": name, "Key": each["Key"], "VersionId": each["VersionId"]}
            s3.put_object_legal_hold(**what, LegalHold={"Status": "OFF"})
            s3.delete_object(**what, **BYPASS)
        for each in page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=name, Key=each["Key"], VersionId=each["VersionId"])
    s3.delete_bucket(Bucket=name)


def in_days(days: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


def governed(days: int = 1) -> dict[str, Any]:
    return {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": in_days(days)}


def _done(call: tuple[Callable[..., Any], dict[str, Any]]) -> bool:
    """Whether the store does it. It says so of what is absent, too; if it cannot say, it is asked again."""
    for _ in range(10):
        try:
            call[0](**call[1])
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "ServiceUnavailable":
                continue
            assert code in {"AccessDenied", "NoSuchVersion", "404"}
            return False
        return True
    raise AssertionError("it is not decided")


class TestBuckets:
    def test_versions_are_kept_for_good(self, s3: Any, client: Client, locked: str) -> None:
        assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"
        suspended = {"Status": "Suspended"}
        assert refused(s3.put_bucket_versioning, Bucket=locked, VersioningConfiguration=suspended) == (
            409,
            "InvalidBucketState",
        )
        assert client.post(locked, {"X-Versions-Enabled": "false"}).status == 409
        s3.put_bucket_versioning(Bucket=locked, VersioningConfiguration={"Status": "Enabled"})

    def test_configuration(self, s3: Any, locked: str, bucket: str) -> None:
        get, put = s3.get_object_lock_configuration, s3.put_object_lock_configuration
        assert get(Bucket=locked)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
        for unit in ("Days", "Years"):
            wanted = {
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", unit: 2}},
            }
            put(Bucket=locked, ObjectLockConfiguration=wanted)
            assert get(Bucket=locked)["ObjectLockConfiguration"] == wanted
        both = {"Mode": "GOVERNANCE", "Days": 1, "Years": 1}
        for default, code in (
            (both, "MalformedXML"),
            ({"Mode": "GOVERNANCE"}, "MalformedXML"),
            ({"Mode": "governance", "Days": 1}, "MalformedXML"),
            ({"Mode": "GOVERNANCE", "Days": 0}, "InvalidArgument"),
            ({"Mode": "GOVERNANCE", "Years": 101}, "InvalidArgument"),
        ):
            bad = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}
            assert refused(put, Bucket=locked, ObjectLockConfiguration=bad) == (400, code)
        enabled = {"ObjectLockEnabled": "Enabled"}
        assert refused(put, Bucket=bucket, ObjectLockConfiguration=enabled) == (409, "InvalidBucketState")
        assert refused(get, Bucket=bucket) == (404, "ObjectLockConfigurationNotFoundError")
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        put(Bucket=bucket, ObjectLockConfiguration=enabled)
        assert get(Bucket=bucket)["ObjectLockConfiguration"] == enabled

    def test_new_versions_get_the_default_retention(self, s3: Any, client: Client, locked: str) -> None:
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}
        configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=configuration)
        s3.put_object(Bucket=locked, Key="put", Body=b"1")
        s3.copy_object(Bucket=locked, Key="copied", CopySource=f"{locked}/put")
        upload = s3.create_multipart_upload(Bucket=locked, Key="parts")["UploadId"]
        part = s3.upload_part(Bucket=locked, Key="parts", UploadId=upload, PartNumber=1, Body=b"2")
        s3.complete_multipart_upload(
            Bucket=locked,
            Key="parts",
            UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )
        client.put(f"{locked}/swift", b"3")
        client.request("COPY", f"{locked}/swift", {"Destination": f"{locked}/swift-copy"})
        s3.put_object(Bucket=locked, Key="longer", Body=b"1", **governed(9))
        for key, days in (("put", 3), ("copied", 3), ("parts", 3), ("swift", 3), ("swift-copy", 3), ("longer", 9)):
            head = s3.head_object(Bucket=locked, Key=key)
            assert head["ObjectLockMode"] == "GOVERNANCE", key
            assert abs(head["ObjectLockRetainUntilDate"] - in_days(days)) < timedelta(seconds=30), key
            assert refused(s3.delete_object, Bucket=locked, Key=key, VersionId=head["VersionId"]) == DENIED, key


class TestVersions:
    def test_retention(self, s3: Any, locked: str) -> None:
        version = s3.put_object(Bucket=locked, Key="k", Body=b"x")["VersionId"]
        what = {"Bucket": locked, "Key": "k"}
        assert refused(s3.get_object_retention, **what) == (404, "NoSuchObjectLockConfiguration")
        s3.put_object_tagging(**what, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
        until = {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(5)}
        s3.put_object_retention(**what, Retention=until)
        assert s3.get_object_retention(**what)["Retention"] == until
        assert s3.get_object_tagging(**what)["TagSet"] == [{"Key": "a", "Value": "b"}]
        # Another change of metadata leaves the lock as it is.
        s3.put_object_tagging(**what, Tagging={"TagSet": []})
        assert s3.get_object_retention(**what)["Retention"] == until
        longer = until | {"RetainUntilDate": in_days(6)}
        s3.put_object_retention(**what, VersionId=version, Retention=longer)
        for weaker in (until, {}, longer | {"Mode": "COMPLIANCE"}):
            assert refused(s3.put_object_retention, **what, Retention=weaker) == DENIED
        s3.put_object_retention(**what, Retention=until, **BYPASS)
        assert refused(s3.delete_object, **what, VersionId=version) == DENIED
        marker = s3.delete_object(**what)
        assert marker["DeleteMarker"]
        s3.delete_object(**what, VersionId=version, **BYPASS)
        assert refused(s3.head_object, **what, VersionId=version) == (404, "404")

    def test_compliance_gets_longer_only(self, s3: Any, locked: str) -> None:
        soon = datetime.now(UTC) + timedelta(seconds=2)
        put = s3.put_object(
            Bucket=locked, Key="k", Body=b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=soon
        )
        what = {"Bucket": locked, "Key": "k", "VersionId": put["VersionId"]}
        for weaker in ({}, {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(5)}):
            assert refused(s3.put_object_retention, **what, Retention=weaker, **BYPASS) == DENIED
        assert refused(s3.delete_object, **what, **BYPASS) == DENIED
        assert body_of(s3.get_object(**what)) == b"x"

        def deletable() -> bool:
            try:
                s3.delete_object(**what)
            except ClientError:
                return False
            return True

        wait_until(deletable, "the end of the retention")
        assert refused(s3.head_object, **what) == (404, "404")

    def test_of_a_removal_and_a_lock_at_one_moment_one_is_done(self, store: Store, s3: Any, locked: str) -> None:
        """Whatever comes first: what was acknowledged as locked is there."""
        other = s3_client(store)
        for _ in range(25):
            version = s3.put_object(Bucket=locked, Key="k", Body=b"x")["VersionId"]
            what = {"Bucket": locked, "Key": "k", "VersionId": version}
            with ThreadPoolExecutor(2) as pool:
                held = {**what, "LegalHold": {"Status": "ON"}}
                removed, locks = pool.map(_done, [(s3.delete_object, what), (other.put_object_legal_hold, held)])
            assert removed is not locks
            assert _done((s3.head_object, what)) is locks

    def test_legal_hold(self, s3: Any, locked: str) -> None:
        version = s3.put_object(Bucket=locked, Key="k", Body=b"x", ObjectLockLegalHoldStatus="ON")["VersionId"]
        what = {"Bucket": locked, "Key": "k", "VersionId": version}
        assert s3.get_object_legal_hold(**what)["LegalHold"] == {"Status": "ON"}
        assert refused(s3.delete_object, **what, **BYPASS) == DENIED
        several = {"Objects": [{"Key": "k", "VersionId": version}]}
        errors = s3.delete_objects(Bucket=locked, Delete=several, **BYPASS)["Errors"]
        assert [(each["Code"], each["Key"], each["VersionId"]) for each in errors] == [("AccessDenied", "k", version)]
        s3.put_object_legal_hold(**what, LegalHold={"Status": "OFF"})
        assert "Errors" not in s3.delete_objects(Bucket=locked, Delete=several)

    def test_the_swift_api_keeps_to_it(self, s3: Any, client: Client, locked: str) -> None:
        held = s3.put_object(Bucket=locked, Key="k", Body=b"x", **governed(), ObjectLockLegalHoldStatus="ON")
        version = held["VersionId"]
        assert client.request("DELETE", f"{locked}/k", **{"version-id": version}).status == 403
        assert client.request("PUT", f"{locked}/k", **{"version-id": version}).status == 409
        assert client.post(f"{locked}/k", {"X-Object-Meta-A": "b", "X-Delete-After": "1"}).status == 202
        head = s3.head_object(Bucket=locked, Key="k")
        assert (head["Metadata"], head["ObjectLockLegalHoldStatus"]) == ({"a": "b"}, "ON")
        forged = {"X-Object-Transient-Sysmeta-Lock-Hold": "OFF", "X-Backend-Bypass-Governance": "true"}
        assert client.post(f"{locked}/k", forged).status == 202
        assert s3.head_object(Bucket=locked, Key="k")["ObjectLockLegalHoldStatus"] == "ON"
        assert client.request("DELETE", locked).status == 409
        report = client.request(
            "POST", "", {"Content-Type": "text/plain"}, f"{locked}/k\n{locked}".encode(), **{"bulk-delete": ""}
        )
        assert report.status == 200
        assert body_of(s3.get_object(Bucket=locked, Key="k", VersionId=version)) == b"x"

    def test_a_version_from_before_versions_were_kept(self, s3: Any, client: Client, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="k", Body=b"old")
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
        what = {"Bucket": bucket, "Key": "k", "VersionId": "null"}
        s3.put_object_legal_hold(**what, LegalHold={"Status": "ON"})
        assert refused(s3.delete_object, **what) == DENIED
        assert client.request("DELETE", f"{bucket}/k", **{"version-id": "null"}).status == 403
        assert body_of(s3.get_object(**what)) == b"old"
        s3.put_object_legal_hold(**what, LegalHold={"Status": "OFF"})


class TestRequests:
    def test_what_is_refused(self, s3: Any, locked: str, bucket: str) -> None:
        put = {"Key": "k", "Body": b""}
        assert refused(s3.put_object, Bucket=bucket, **put, ObjectLockLegalHoldStatus="ON") == (400, "InvalidRequest")
        assert refused(s3.put_object, Bucket=locked, **put, ObjectLockMode="GOVERNANCE") == (400, "InvalidArgument")
        assert refused(s3.put_object, Bucket=locked, **put, **governed(-1)) == (400, "InvalidArgument")
        bad = governed() | {"ObjectLockMode": "governance"}
        assert refused(s3.put_object, Bucket=locked, **put, **bad) == (400, "InvalidArgument")
        assert refused(s3.put_object, Bucket=locked, **put, ObjectLockLegalHoldStatus="on") == (400, "InvalidArgument")
        s3.put_object(Bucket=bucket, **put)
        what = {"Bucket": bucket, "Key": "k"}
        assert refused(s3.get_object_retention, **what) == (400, "InvalidRequest")
        assert refused(s3.put_object_legal_hold, **what, LegalHold={"Status": "ON"}) == (400, "InvalidRequest")
        s3.put_object(Bucket=locked, **put)
        for retention, code in (
            ({"Mode": "GOVERNANCE"}, "MalformedXML"),
            ({"Mode": "x", "RetainUntilDate": in_days(1)}, "MalformedXML"),
            ({"Mode": "GOVERNANCE", "RetainUntilDate": in_days(-1)}, "InvalidArgument"),
        ):
            assert refused(s3.put_object_retention, Bucket=locked, Key="k", Retention=retention) == (400, code)

    def test_uploads_begin_with_a_lock(self, s3: Any, locked: str) -> None:
        upload = s3.create_multipart_upload(Bucket=locked, Key="k", **governed(), ObjectLockLegalHoldStatus="ON")
        what = {"Bucket": locked, "Key": "k", "UploadId": upload["UploadId"]}
        etag = s3.upload_part(**what, PartNumber=1, Body=b"x")["ETag"]
        s3.complete_multipart_upload(**what, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
        headers = headers_of(s3.get_object(Bucket=locked, Key="k"))
        assert headers["x-amz-object-lock-mode"] == "GOVERNANCE"
        assert headers["x-amz-object-lock-legal-hold"] == "ON"

    def test_a_form_brings_a_lock(self, s3: Any, locked: str) -> None:
        moment = in_days(1)
        until = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        fields = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": until}
        conditions = [{name: value} for name, value in fields.items()]
        form = s3.generate_presigned_post(locked, "k", Fields=fields, Conditions=conditions)
        answer = requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=30)
        assert answer.status_code == 204
        head = s3.head_object(Bucket=locked, Key="k")
        assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", moment)

    def test_rights(self, store: Store, s3: Any, locked: str) -> None:
        """Who may delete, and set retentions, may not for that reason pass over a lock."""
        member = s3_client(store, "test:tester3", "testing3")
        actions = ["s3:PutObject", "s3:DeleteObjectVersion", "s3:PutObjectRetention"]
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::test:user/tester3"},
            "Action": actions,
            "Resource": f"arn:aws:s3:::{locked}/*",
        }
        s3.put_bucket_policy(Bucket=locked, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        version = member.put_object(Bucket=locked, Key="k", Body=b"x", **governed())["VersionId"]
        what = {"Bucket": locked, "Key": "k", "VersionId": version}
        assert refused(member.put_object, Bucket=locked, Key="k", Body=b"", ObjectLockLegalHoldStatus="ON") == DENIED
        assert refused(member.delete_object, **what, **BYPASS) == DENIED
        limit = {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}}
        denied = {**statement, "Effect": "Deny", "Action": "s3:PutObject", "Condition": limit}
        statements = [statement, denied]
        actions.append("s3:BypassGovernanceRetention")
        s3.put_bucket_policy(Bucket=locked, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
        assert refused(member.put_object, Bucket=locked, Key="k", Body=b"x", **governed(12)) == DENIED
        member.delete_object(**what, **BYPASS)
