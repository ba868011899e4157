"""boto3: buckets, their settings, and who may use them; beside the Swift API, which sees the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.functional.client import Client
from tests.functional.clients.s3 import REGION, new_name, refused, s3_client
from tests.functional.conftest import remove
from tests.functional.servers import Store

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


@pytest.fixture(scope="module")
def other_s3(store: Store) -> Any:
    """test2:tester2, of another account."""
    return s3_client(store, "test2:tester2", "testing2")


@pytest.fixture(scope="module")
def member_s3(store: Store) -> Any:
    """test:tester3, a user of the account without rights of its own."""
    return s3_client(store, "test:tester3", "testing3")


@pytest.fixture(scope="module")
def nobody(store: Store) -> Any:
    """Without credentials."""
    return s3_client(store, "", "")


@pytest.fixture
def bucket(s3: Any, client: Client) -> Iterator[str]:
    name = new_name()
    s3.create_bucket(Bucket=name)
    yield name
    client.post(name, {"X-Container-Read": "", "X-Container-Write": ""})
    try:
        s3.delete_bucket_policy(Bucket=name)
    except s3.exceptions.NoSuchBucket:
        return
    s3.delete_public_access_block(Bucket=name)
    remove(client, name)


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(bucket: str, principal: Any, *actions: str, **more: Any) -> dict[str, Any]:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    return {"Effect": "Allow", "Principal": principal, "Action": list(actions), "Resource": resources} | more


class TestBuckets:
    def test_made_listed_and_deleted(self, s3: Any, client: Client) -> None:
        name = new_name()
        made = s3.create_bucket(Bucket=name)
        assert made["Location"] == f"/{name}"
        assert client.head(name).status == 204
        assert name in [each["Name"] for each in s3.list_buckets()["Buckets"]]
        head = s3.head_bucket(Bucket=name)
        assert (head["BucketRegion"], head["BucketArn"]) == (REGION, f"arn:aws:s3:::{name}")
        s3.delete_bucket(Bucket=name)
        assert refused(s3.head_bucket, Bucket=name) == (404, "404")
        assert refused(s3.list_objects_v2, Bucket=name) == (404, "NoSuchBucket")
        assert refused(s3.delete_bucket, Bucket=name) == (404, "NoSuchBucket")

    def test_a_name_is_one_accounts(self, s3: Any, other_s3: Any, bucket: str) -> None:
        assert refused(other_s3.create_bucket, Bucket=bucket) == (409, "BucketAlreadyExists")
        assert s3.create_bucket(Bucket=bucket)["Location"] == f"/{bucket}"
        s3.delete_bucket(Bucket=bucket)
        other_s3.create_bucket(Bucket=bucket)
        assert refused(s3.create_bucket, Bucket=bucket) == (409, "BucketAlreadyExists")
        other_s3.delete_bucket(Bucket=bucket)

    @pytest.mark.parametrize("name", ["ab", "Upper", "a_b", "a..b", "-ab", "ab-", "192.168.5.4", "x" * 64, "xn--a"])
    def test_bad_names(self, store: Store, name: str) -> None:
        import botocore.handlers

        client = s3_client(store)
        client.meta.events.unregister("before-parameter-build.s3", botocore.handlers.validate_bucket_name)
        assert refused(client.create_bucket, Bucket=name) == (400, "InvalidBucketName")

    def test_a_bucket_with_objects_stays(self, s3: Any, client: Client, bucket: str) -> None:
        assert client.put(f"{bucket}/o", body=b"x").status == 201
        assert refused(s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")

    def test_pages_of_buckets(self, s3: Any) -> None:
        prefix = new_name()
        names = [f"{prefix}-{number}" for number in range(5)]
        for name in names:
            s3.create_bucket(Bucket=name)
        pages = list(s3.get_paginator("list_buckets").paginate(Prefix=prefix, PaginationConfig={"PageSize": 2}))
        assert [[each["Name"] for each in page["Buckets"]] for page in pages] == [names[:2], names[2:4], names[4:]]
        assert s3.list_buckets(Prefix=prefix, BucketRegion="elsewhere")["Buckets"] == []
        assert refused(s3.list_buckets, ContinuationToken="x") == (400, "InvalidArgument")
        for name in names:
            s3.delete_bucket(Bucket=name)

    def test_places(self, s3: Any) -> None:
        name = new_name()
        elsewhere = {"LocationConstraint": "eu-west-9"}
        assert refused(s3.create_bucket, Bucket=name, CreateBucketConfiguration=elsewhere) == (
            400,
            "InvalidLocationConstraint",
        )
        tags = {"Tags": [{"Key": "team", "Value": "ü"}]}
        s3.create_bucket(Bucket=name, CreateBucketConfiguration=tags)
        assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == tags["Tags"]
        assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
        s3.delete_bucket(Bucket=name)

    def test_containers_of_the_swift_api_are_buckets(self, s3: Any, other_s3: Any, client: Client) -> None:
        name = f"Made_by Swift {new_name()}"
        assert client.put(name).status == 201
        assert name in [each["Name"] for each in s3.list_buckets()["Buckets"]]
        assert client.put(f"{name}/o", body=b"x").status == 201
        remove(client, name)
        name = new_name()
        assert client.put(name).status == 201
        s3.put_bucket_policy(Bucket=name, Policy=policy(allow(name, "*", "s3:ListBucket")))
        assert other_s3.list_objects_v2(Bucket=name)["Name"] == name
        assert refused(other_s3.create_bucket, Bucket=name) == (409, "BucketAlreadyExists")
        s3.delete_bucket(Bucket=name)

    def test_whoever_owns_it(self, s3: Any, bucket: str) -> None:
        assert refused(s3.list_objects_v2, Bucket=bucket, ExpectedBucketOwner="AUTH_other") == (403, "AccessDenied")
        s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner="AUTH_test")


class TestSettings:
    def test_versioning(self, s3: Any, client: Client, bucket: str) -> None:
        assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
        for status, shown in (("Enabled", "True"), ("Suspended", "False")):
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
            assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
            assert client.head(bucket).headers["x-versions-enabled"] == shown
        wrong = {"Status": "Perhaps"}
        assert refused(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=wrong) == (400, "MalformedXML")

    def test_tagging(self, s3: Any, bucket: str) -> None:
        assert refused(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")
        tags = [{"Key": "b", "Value": "1 + 1"}, {"Key": "a", "Value": ""}]
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
        assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
        twice = {"TagSet": tags[:1] * 2}
        assert refused(s3.put_bucket_tagging, Bucket=bucket, Tagging=twice) == (400, "InvalidTag")
        s3.delete_bucket_tagging(Bucket=bucket)
        assert refused(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")

    def test_a_setting_may_be_long(self, s3: Any, bucket: str) -> None:
        rules = [
            {"ID": f"{number}", "AllowedMethods": ["GET"], "AllowedOrigins": [f"https://{new_name()}.example"]}
            for number in range(100)
        ]
        for cut in (100, 99, 1):
            s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules[:cut]})
            assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == rules[:cut]
        s3.delete_bucket_cors(Bucket=bucket)
        assert refused(s3.get_bucket_cors, Bucket=bucket) == (404, "NoSuchCORSConfiguration")

    def test_settings_end_with_their_bucket(self, s3: Any, bucket: str) -> None:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(allow(bucket, "*", "s3:GetObject")))
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.delete_bucket(Bucket=bucket)
        s3.create_bucket(Bucket=bucket)
        assert refused(s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
        assert refused(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")
        assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)

    def test_what_is_not_set(self, s3: Any, bucket: str) -> None:
        absent = {
            s3.get_bucket_lifecycle_configuration: "NoSuchLifecycleConfiguration",
            s3.get_bucket_website: "NoSuchWebsiteConfiguration",
            s3.get_bucket_encryption: "ServerSideEncryptionConfigurationNotFoundError",
            s3.get_bucket_replication: "ReplicationConfigurationNotFoundError",
            s3.get_object_lock_configuration: "ObjectLockConfigurationNotFoundError",
            s3.get_public_access_block: "NoSuchPublicAccessBlockConfiguration",
            s3.get_bucket_ownership_controls: "OwnershipControlsNotFoundError",
            s3.get_bucket_policy_status: "NoSuchBucketPolicy",
        }
        for call, code in absent.items():
            assert refused(call, Bucket=bucket) == (404, code)
        assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
        assert "TopicConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)
        assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
        assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
        assert s3.list_bucket_inventory_configurations(Bucket=bucket)["IsTruncated"] is False
        assert refused(s3.get_bucket_inventory_configuration, Bucket=bucket, Id="x") == (404, "NoSuchConfiguration")
        s3.delete_bucket_website(Bucket=bucket)

    def test_what_the_store_does_not_act_on_is_refused(self, s3: Any, bucket: str) -> None:
        accelerate = {"Status": "Enabled"}
        call = s3.put_bucket_accelerate_configuration
        assert refused(call, Bucket=bucket, AccelerateConfiguration=accelerate) == (501, "NotImplemented")
        inventory = {"Id": "x", "IsEnabled": True, "IncludedObjectVersions": "All", "Schedule": {"Frequency": "Daily"}}
        inventory["Destination"] = {"S3BucketDestination": {"Bucket": "arn:aws:s3:::b", "Format": "CSV"}}
        call = s3.put_bucket_inventory_configuration
        assert refused(call, Bucket=bucket, Id="x", InventoryConfiguration=inventory) == (501, "NotImplemented")

    def test_requesters_pay(self, s3: Any, other_s3: Any, nobody: Any, bucket: str) -> None:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(allow(bucket, "*", "s3:GetObject", "s3:PutObject")))
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        named = {"Bucket": bucket, "Key": "k"}
        assert nobody.get_object(**named)["ResponseMetadata"]["HTTPStatusCode"] == 200
        s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
        assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "Requester"
        assert "RequestCharged" not in s3.get_object(**named)
        assert refused(nobody.get_object, **named, RequestPayer="requester") == (403, "AccessDenied")
        assert refused(other_s3.get_object, **named) == (403, "AccessDenied")
        assert other_s3.get_object(**named, RequestPayer="requester")["RequestCharged"] == "requester"
        assert other_s3.put_object(**named, Body=b"y", RequestPayer="requester")["RequestCharged"] == "requester"
        s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
        assert "RequestCharged" not in other_s3.get_object(**named)

    def test_ownership(self, s3: Any, bucket: str) -> None:
        rule = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
        call = s3.put_bucket_ownership_controls
        assert refused(call, Bucket=bucket, OwnershipControls=rule) == (400, "InvalidBucketAclWithObjectOwnership")
        s3.put_bucket_acl(Bucket=bucket, ACL="private")
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rule)
        assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == rule
        assert refused(s3.put_bucket_acl, Bucket=bucket, ACL="public-read") == (400, "AccessControlListNotSupported")
        s3.put_bucket_acl(Bucket=bucket, ACL="private")
        s3.delete_bucket_ownership_controls(Bucket=bucket)
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read")


class TestPolicies:
    def test_kept_as_given(self, s3: Any, other_s3: Any, bucket: str) -> None:
        text = policy(allow(bucket, {"AWS": "arn:aws:iam::test2:user/tester2"}, "s3:GetObject")) + "\n"
        s3.put_bucket_policy(Bucket=bucket, Policy=text)
        assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
        assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
        s3.delete_bucket_policy(Bucket=bucket)
        assert refused(s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
        for wrong in ("{}", "x", policy(allow("other", "*", "s3:GetObject")), policy(allow(bucket, "*", "s3:Nothing"))):
            assert refused(s3.put_bucket_policy, Bucket=bucket, Policy=wrong) == (400, "MalformedPolicy")

    def test_for_other_accounts(self, s3: Any, other_s3: Any, member_s3: Any, bucket: str) -> None:
        assert refused(other_s3.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(allow(bucket, {"AWS": "test2"}, "s3:ListBucket")))
        assert other_s3.list_objects_v2(Bucket=bucket)["Name"] == bucket
        assert refused(member_s3.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        assert refused(other_s3.get_bucket_policy, Bucket=bucket) == (403, "AccessDenied")

    def test_for_users_of_the_account(self, s3: Any, member_s3: Any, bucket: str) -> None:
        assert refused(member_s3.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        member = {"AWS": "arn:aws:iam::test:user/tester3"}
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(allow(bucket, member, "s3:ListBucket")))
        assert member_s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    def test_denials_bind_the_owner_who_can_repair_them(self, s3: Any, bucket: str) -> None:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(allow(bucket, "*", "s3:*", Effect="Deny")))
        assert refused(s3.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        with pytest.raises(ClientError) as error:
            s3.head_bucket(Bucket=bucket)
        metadata = error.value.response["ResponseMetadata"]
        assert (metadata["HTTPStatusCode"], metadata["HTTPHeaders"]["x-amz-bucket-region"]) == (403, REGION)
        s3.delete_bucket_policy(Bucket=bucket)
        s3.list_objects_v2(Bucket=bucket)

    def test_conditions(self, s3: Any, nobody: Any, bucket: str) -> None:
        own = allow(bucket, "*", "s3:ListBucket", Condition={"StringLike": {"s3:prefix": "open/*"}})
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(own))
        assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": True}
        assert nobody.list_objects_v2(Bucket=bucket, Prefix="open/x")["KeyCount"] == 0
        assert refused(nobody.list_objects_v2, Bucket=bucket, Prefix="closed/") == (403, "AccessDenied")
        assert refused(nobody.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")

    def test_public_access_blocks(self, s3: Any, nobody: Any, bucket: str) -> None:
        public = policy(allow(bucket, "*", "s3:ListBucket"))
        s3.put_bucket_policy(Bucket=bucket, Policy=public)
        nobody.list_objects_v2(Bucket=bucket)
        block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy"), False)
        block["RestrictPublicBuckets"] = True
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
        assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == block
        assert refused(nobody.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicPolicy": True})
        assert refused(s3.put_bucket_policy, Bucket=bucket, Policy=public) == (403, "AccessDenied")
        nobody.list_objects_v2(Bucket=bucket)
        s3.delete_public_access_block(Bucket=bucket)
        s3.put_bucket_policy(Bucket=bucket, Policy=public)


class TestAccessLists:
    def test_canned(self, s3: Any, nobody: Any, other_s3: Any, bucket: str) -> None:
        assert refused(nobody.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
        assert nobody.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        s3.put_bucket_acl(Bucket=bucket, ACL="authenticated-read")
        assert refused(nobody.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        assert other_s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        s3.put_bucket_acl(Bucket=bucket, ACL="private")
        assert refused(other_s3.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        assert refused(s3.put_bucket_acl, Bucket=bucket, ACL="open") == (400, "InvalidArgument")

    def test_of_a_new_bucket(self, s3: Any, nobody: Any) -> None:
        name = new_name()
        s3.create_bucket(Bucket=name, ACL="public-read")
        assert nobody.list_objects_v2(Bucket=name)["KeyCount"] == 0
        s3.create_bucket(Bucket=name)
        assert refused(nobody.list_objects_v2, Bucket=name) == (403, "AccessDenied")
        s3.delete_bucket(Bucket=name)

    def test_grants(self, s3: Any, other_s3: Any, bucket: str) -> None:
        s3.put_bucket_acl(Bucket=bucket, GrantRead='id="test2:tester2"', GrantReadACP='id="test2"')
        assert other_s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        grants = other_s3.get_bucket_acl(Bucket=bucket)["Grants"]
        assert [(each["Grantee"]["ID"], each["Permission"]) for each in grants] == [
            ("test2:tester2", "READ"),
            ("test2", "READ_ACP"),
        ]
        assert refused(other_s3.put_bucket_acl, Bucket=bucket, ACL="private") == (403, "AccessDenied")
        given = s3.get_bucket_acl(Bucket=bucket)
        full = {"Grantee": {"Type": "CanonicalUser", "ID": "test2"}, "Permission": "FULL_CONTROL"}
        document = {"Owner": given["Owner"], "Grants": [full]}
        s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=document)
        assert [each["Permission"] for each in s3.get_bucket_acl(Bucket=bucket)["Grants"]] == ["FULL_CONTROL"]
        other_s3.put_bucket_acl(Bucket=bucket, ACL="private")
        assert refused(other_s3.get_bucket_acl, Bucket=bucket) == (403, "AccessDenied")

    def test_ignored(self, s3: Any, nobody: Any, bucket: str) -> None:
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
        assert refused(nobody.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        assert len(s3.get_bucket_acl(Bucket=bucket)["Grants"]) == 1
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
        nobody.list_objects_v2(Bucket=bucket)
        assert refused(s3.put_bucket_acl, Bucket=bucket, ACL="public-read") == (403, "AccessDenied")

    def test_writing_is_the_swift_apis(self, s3: Any, client: Client, other: Client, bucket: str) -> None:
        path = f"/v1/{client.account}/{bucket}/o"
        token = {"X-Auth-Token": other.token}
        assert other.raw("PUT", path, token, b"x").status == 403
        s3.put_bucket_acl(Bucket=bucket, GrantWrite='id="test2:tester2"')
        assert client.head(bucket).headers["x-container-write"] == "test2:tester2"
        assert other.raw("PUT", path, token, b"x").status == 201
        assert client.post(bucket, {"X-Container-Write": "test:tester3"}).status == 204
        grants = s3.get_bucket_acl(Bucket=bucket)["Grants"]
        assert [(each["Grantee"]["ID"], each["Permission"]) for each in grants] == [("test:tester3", "WRITE")]

    def test_lists_of_the_swift_api(self, s3: Any, nobody: Any, member_s3: Any, client: Client, bucket: str) -> None:
        assert client.post(bucket, {"X-Container-Read": ".r:*,.rlistings,test:tester3"}).status == 204
        assert nobody.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        assert member_s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        given = s3.get_bucket_acl(Bucket=bucket)
        assert {each["Grantee"].get("URI", each["Grantee"].get("ID")) for each in given["Grants"]} == {
            "AUTH_test",
            ALL_USERS,
            "test:tester3",
        }
        s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": given["Owner"], "Grants": given["Grants"]})
        assert client.head(bucket).headers["x-container-read"] == ".r:*,.rlistings,test:tester3"
        s3.put_bucket_acl(Bucket=bucket, ACL="private")
        assert "x-container-read" not in client.head(bucket).headers
        assert refused(nobody.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        assert refused(member_s3.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")


class TestCors:
    def test_preflights_and_answers(self, s3: Any, store: Store, bucket: str) -> None:
        origin = {"Origin": "https://app.example"}
        asked = origin | {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-amz-meta-a"}
        anybody = Client(store.host, store.port)
        assert anybody.raw("OPTIONS", f"/{bucket}/o", asked).status == 403
        rule = {
            "AllowedMethods": ["PUT", "GET"],
            "AllowedOrigins": ["https://*.example"],
            "AllowedHeaders": ["x-amz-*"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 60,
        }
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
        answer = anybody.raw("OPTIONS", f"/{bucket}/o", asked)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["access-control-allow-methods"] == "PUT, GET"
        assert answer.headers["access-control-allow-headers"] == "x-amz-meta-a"
        assert answer.headers["access-control-max-age"] == "60"
        other_header = asked | {"Access-Control-Request-Headers": "content-type"}
        assert anybody.raw("OPTIONS", f"/{bucket}/o", other_header).status == 403
        assert anybody.raw("OPTIONS", f"/{bucket}/o", {}).status == 400
        refusal = anybody.raw("GET", f"/{bucket}", origin)
        assert refusal.status == 403
        assert refusal.headers["access-control-allow-origin"] == "https://app.example"
        assert refusal.headers["access-control-expose-headers"] == "ETag"
        elsewhere = anybody.raw("GET", f"/{bucket}", {"Origin": "https://app.test"})
        assert "access-control-allow-origin" not in elsewhere.headers
