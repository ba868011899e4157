"""boto3: who may use objects, by their own access lists, their tags, and the policy; and quotas."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.functional.client import Client
from tests.functional.clients.s3 import new_name, refused, s3_client
from tests.functional.servers import Store, call

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


@pytest.fixture(scope="module")
def nobody(store: Store) -> Any:
    """Without credentials."""
    return s3_client(store, "", "")


@pytest.fixture(scope="module")
def other_s3(store: Store) -> Any:
    """test2:tester2, of another account."""
    return s3_client(store, "test2:tester2", "testing2")


def granted(acl: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["Grantee"].get("ID", each["Grantee"].get("URI")), each["Permission"]) for each in acl["Grants"]]


def test_an_object_for_everybody(s3: Any, nobody: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="open", Body=b"1", ACL="public-read", Metadata={"a": "b"})
    s3.put_object(Bucket=bucket, Key="closed", Body=b"2")
    assert nobody.get_object(Bucket=bucket, Key="open")["Body"].read() == b"1"
    assert nobody.head_object(Bucket=bucket, Key="open")["Metadata"] == {"a": "b"}
    assert refused(nobody.get_object, Bucket=bucket, Key="closed") == (403, "AccessDenied")
    # Who may not list learns nothing of what is missing.
    assert refused(nobody.get_object, Bucket=bucket, Key="missing") == (403, "AccessDenied")
    assert refused(s3.get_object, Bucket=bucket, Key="missing") == (404, "NoSuchKey")
    assert refused(nobody.put_object, Bucket=bucket, Key="open", Body=b"3") == (403, "AccessDenied")
    assert granted(s3.get_object_acl(Bucket=bucket, Key="open")) == [
        ("AUTH_test", "FULL_CONTROL"),
        (ALL_USERS, "READ"),
    ]
    s3.put_object(Bucket=bucket, Key="open", Body=b"4")
    assert refused(nobody.get_object, Bucket=bucket, Key="open") == (403, "AccessDenied")


def test_lists_are_changed_and_not_copied(s3: Any, nobody: Any, other_s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="o", Body=b"1", Metadata={"a": "b"}, Tagging="t=1")
    before = s3.head_object(Bucket=bucket, Key="o")
    s3.put_object_acl(Bucket=bucket, Key="o", GrantRead='id="test2"', GrantReadACP='id="test2:tester2"')
    after = s3.head_object(Bucket=bucket, Key="o")
    assert [after[name] for name in ("ETag", "Metadata")] == [before[name] for name in ("ETag", "Metadata")]
    assert s3.get_object_tagging(Bucket=bucket, Key="o")["TagSet"] == [{"Key": "t", "Value": "1"}]
    assert other_s3.get_object(Bucket=bucket, Key="o")["Body"].read() == b"1"
    assert granted(other_s3.get_object_acl(Bucket=bucket, Key="o")) == [
        ("test2", "READ"),
        ("test2:tester2", "READ_ACP"),
    ]
    assert refused(other_s3.put_object_acl, Bucket=bucket, Key="o", ACL="private") == (403, "AccessDenied")
    source = {"Bucket": bucket, "Key": "o"}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert granted(s3.get_object_acl(Bucket=bucket, Key="copy")) == [("AUTH_test", "FULL_CONTROL")]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, ACL="public-read")
    assert nobody.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"1"
    s3.put_object_acl(Bucket=bucket, Key="copy", ACL="private")
    assert refused(nobody.get_object, Bucket=bucket, Key="copy") == (403, "AccessDenied")
    assert refused(s3.put_object_acl, Bucket=bucket, Key="missing", ACL="private") == (404, "NoSuchKey")


def test_versions_have_their_own_lists(s3: Any, nobody: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="o", Body=b"1", ACL="public-read")["VersionId"]
    s3.put_object(Bucket=bucket, Key="o", Body=b"2")
    assert refused(nobody.get_object, Bucket=bucket, Key="o") == (403, "AccessDenied")
    assert nobody.get_object(Bucket=bucket, Key="o", VersionId=first)["Body"].read() == b"1"
    s3.put_object_acl(Bucket=bucket, Key="o", VersionId=first, ACL="private")
    assert refused(nobody.get_object, Bucket=bucket, Key="o", VersionId=first) == (403, "AccessDenied")


def test_blocked_and_owned(s3: Any, bucket: str) -> None:
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    public = {"Bucket": bucket, "Key": "o", "ACL": "public-read"}
    assert refused(s3.put_object, **public, Body=b"1") == (403, "AccessDenied")
    s3.put_object(Bucket=bucket, Key="o", Body=b"1", ACL="bucket-owner-full-control")
    assert refused(s3.put_object_acl, **public) == (403, "AccessDenied")
    s3.delete_public_access_block(Bucket=bucket)
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=enforced)
    assert refused(s3.put_object, **public, Body=b"1") == (400, "AccessControlListNotSupported")
    assert refused(s3.put_object_acl, **public) == (400, "AccessControlListNotSupported")
    s3.put_object(Bucket=bucket, Key="o", Body=b"1", ACL="private")


def test_policies_see_tags_and_versions(s3: Any, other_s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="red", Body=b"1", Tagging="colour=red")
    s3.put_object(Bucket=bucket, Key="blue", Body=b"2", Tagging="colour=blue")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "test2"},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"StringEquals": {"s3:ExistingObjectTag/colour": "red"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    assert other_s3.get_object(Bucket=bucket, Key="red")["Body"].read() == b"1"
    assert refused(other_s3.get_object, Bucket=bucket, Key="blue") == (403, "AccessDenied")
    assert refused(other_s3.get_object, Bucket=bucket, Key="red", VersionId="null") == (403, "AccessDenied")
    assert refused(other_s3.delete_object, Bucket=bucket, Key="red") == (403, "AccessDenied")
    deleted = other_s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "red"}]})
    assert [each["Code"] for each in deleted["Errors"]] == ["AccessDenied"]
    source = {"Bucket": bucket, "Key": "blue"}
    assert refused(other_s3.copy_object, Bucket=bucket, Key="x", CopySource=source) == (403, "AccessDenied")


def test_quotas_of_the_swift_api_are_for_both(s3: Any, client: Client, bucket: str) -> None:
    assert (
        client.post(bucket, {"X-Container-Meta-Quota-Bytes": "10", "X-Container-Meta-Quota-Count": "2"}).status == 204
    )
    s3.put_object(Bucket=bucket, Key="a", Body=b"x" * 6)
    assert refused(s3.put_object, Bucket=bucket, Key="b", Body=b"x" * 6) == (403, "QuotaExceeded")
    source = {"Bucket": bucket, "Key": "a"}
    assert refused(s3.copy_object, Bucket=bucket, Key="b", CopySource=source) == (403, "QuotaExceeded")
    assert client.put(f"{bucket}/b", body=b"x" * 6).status == 413
    s3.put_object(Bucket=bucket, Key="b", Body=b"x" * 4)
    assert refused(s3.put_object, Bucket=bucket, Key="c", Body=b"") == (403, "QuotaExceeded")
    s3.delete_object(Bucket=bucket, Key="a")
    s3.put_object(Bucket=bucket, Key="c", Body=b"x" * 6)


def test_forms_keep_quotas(s3: Any, client: Client, bucket: str) -> None:
    assert client.post(bucket, {"X-Container-Meta-Quota-Bytes": "10"}).status == 204
    form = s3.generate_presigned_post(bucket, "o")
    for content, status in ((b"x" * 11, 403), (b"x" * 10, 204), (b"x", 403)):
        answer = requests.post(form["url"], data=form["fields"], files={"file": content}, timeout=30)
        assert answer.status_code == status
        assert status == 204 or "<Code>QuotaExceeded</Code>" in answer.text
    assert s3.head_object(Bucket=bucket, Key="o")["ContentLength"] == 10


def test_uploads_in_parts(s3: Any, nobody: Any, client: Client, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="o", ACL="public-read")["UploadId"]
    asked = {"Bucket": bucket, "Key": "o", "UploadId": upload}
    etag = s3.upload_part(**asked, PartNumber=1, Body=b"x" * 20)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    assert client.post(bucket, {"X-Container-Meta-Quota-Bytes": "10"}).status == 204
    assert refused(s3.complete_multipart_upload, **asked, MultipartUpload=parts) == (403, "QuotaExceeded")
    assert client.post(bucket, {"X-Container-Meta-Quota-Bytes": "20"}).status == 204
    s3.complete_multipart_upload(**asked, MultipartUpload=parts)
    assert nobody.get_object(Bucket=bucket, Key="o")["Body"].read() == b"x" * 20
    assert refused(nobody.create_multipart_upload, Bucket=bucket, Key="o") == (403, "AccessDenied")


def test_the_command_sets_quotas(store: Store, s3: Any, bucket: str) -> None:
    def quota(where: str, *options: str, user: str = "test:tester", key: str = "testing") -> tuple[int, Any]:
        words = ["quota", where, "--auth", f"{store.url}/auth/v1.0", "--user", user, "--key", key, *options]
        done = call(*words, "--json")
        return done.status, json.loads(done.stdout) if done.status == 0 else done.stderr

    status, found = quota(f"AUTH_test/{bucket}", "--bytes", "1KB", "--objects", "2")
    assert (status, found) == (0, {"bytes": {"used": 0, "limit": 1000}, "objects": {"used": 0, "limit": 2}})
    s3.put_object(Bucket=bucket, Key="k", Body=bytes(900))
    assert refused(s3.put_object, Bucket=bucket, Key="l", Body=bytes(900)) == (403, "QuotaExceeded")
    assert quota(f"AUTH_test/{bucket}", "--bytes", "none")[1]["bytes"] == {"used": 900, "limit": None}
    s3.put_object(Bucket=bucket, Key="l", Body=bytes(900))
    assert quota("AUTH_test")[1]["bytes"]["limit"] is None
    assert quota("AUTH_test", "--bytes", "1GB")[0] == 2  # it takes a reseller
    admin = {"user": "admin:admin", "key": "admin"}
    assert quota("AUTH_test", "--bytes", "1TB", **admin)[1]["bytes"]["limit"] == 10**12
    assert quota("AUTH_test", "--bytes", "none", **admin)[1]["bytes"]["limit"] is None
    status, told = quota(f"AUTH_test/{bucket}", "--bytes", "much")
    assert status == 2
    assert "'much' is no limit" in told


def test_what_is_shared_of_a_swift_container_is_found_by_name(
    store: Store, s3: Any, nobody: Any, client: Client
) -> None:
    name = new_name()
    assert client.put(name).status == 201
    upload = {"data": {"key": "a"}, "files": {"file": b"x"}, "timeout": 30}
    assert requests.post(f"{store.url}/{name}", **upload).status_code == 404
    s3.put_object(Bucket=name, Key="o", Body=b"1", ACL="public-read")
    assert nobody.get_object(Bucket=name, Key="o")["Body"].read() == b"1"
    assert requests.post(f"{store.url}/{name}", **upload).status_code == 403
    s3.put_bucket_acl(Bucket=name, ACL="public-read-write")
    assert requests.post(f"{store.url}/{name}", **upload).status_code == 204
    for key in ("a", "o"):
        s3.delete_object(Bucket=name, Key=key)
    s3.delete_bucket(Bucket=name)
