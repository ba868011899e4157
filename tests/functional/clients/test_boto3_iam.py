"""IAM through boto3: users, keys, groups and policies that are made while the store runs, and what they may then do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.functional.clients.s3 import refused, s3_client
from tests.functional.clients.test_boto3_sts import client_of, reading
from tests.functional.servers import Store

DENIED = (403, "AccessDenied")


@pytest.fixture(scope="module")
def iam(store: Store) -> Any:
    return client_of(store, "iam")


def on_new_connections(store: Store, key: dict[str, str], bucket: str) -> set[bytes | tuple[int, str]]:
    """What a user is answered by whatever processes new connections come to."""
    found: set[bytes | tuple[int, str]] = set()
    for _ in range(8):
        client = s3_client(store, key["AccessKeyId"], key["SecretAccessKey"])
        try:
            found.add(client.get_object(Bucket=bucket, Key="cat")["Body"].read())
        except client.exceptions.ClientError as error:
            answer = error.response
            found.add((answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]))
    return found


def test_the_life_of_a_user(store: Store, s3: Any, iam: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="cat", Body=b"meow")
    made = iam.create_user(UserName="iris")["User"]
    assert (made["Arn"], made["Path"]) == ("arn:aws:iam::test:user/iris", "/")
    assert refused(iam.create_user, UserName="iris") == (409, "EntityAlreadyExists")
    key = iam.create_access_key(UserName="iris")["AccessKey"]
    # Every change counts at once, for every process.
    assert on_new_connections(store, key, bucket) == {DENIED}
    policy = iam.create_policy(PolicyName="reading", PolicyDocument=reading(bucket))["Policy"]
    iam.attach_user_policy(UserName="iris", PolicyArn=policy["Arn"])
    assert on_new_connections(store, key, bucket) == {b"meow"}
    attached = iam.list_attached_user_policies(UserName="iris")["AttachedPolicies"]
    assert attached == [{"PolicyName": "reading", "PolicyArn": "arn:aws:iam::test:policy/reading"}]
    assert iam.get_policy(PolicyArn=policy["Arn"])["Policy"]["AttachmentCount"] == 1
    version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId="v1")["PolicyVersion"]
    assert version["Document"] == json.loads(reading(bucket))
    assert refused(iam.delete_policy, PolicyArn=policy["Arn"]) == (409, "DeleteConflict")
    iam.detach_user_policy(UserName="iris", PolicyArn=policy["Arn"])
    iam.delete_policy(PolicyArn=policy["Arn"])
    assert on_new_connections(store, key, bucket) == {DENIED}
    iam.update_access_key(UserName="iris", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert on_new_connections(store, key, bucket) == {(403, "InvalidAccessKeyId")}
    (listed,) = iam.list_access_keys(UserName="iris")["AccessKeyMetadata"]
    assert listed["Status"] == "Inactive" and "SecretAccessKey" not in listed
    assert refused(iam.delete_user, UserName="iris") == (409, "DeleteConflict")
    iam.delete_access_key(UserName="iris", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="iris")
    assert refused(iam.get_user, UserName="iris") == (404, "NoSuchEntity")
    assert iam.get_user()["User"]["UserName"] == "tester"
    assert {"tester", "tester3"} <= {user["UserName"] for user in iam.list_users()["Users"]}


def test_groups_and_their_policies(store: Store, s3: Any, iam: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="cat", Body=b"meow")
    iam.create_user(UserName="gina")
    key = iam.create_access_key(UserName="gina")["AccessKey"]
    iam.create_group(GroupName="readers")
    iam.put_group_policy(GroupName="readers", PolicyName="inline", PolicyDocument=reading(bucket))
    assert iam.get_group_policy(GroupName="readers", PolicyName="inline")["PolicyDocument"]["Statement"]
    iam.add_user_to_group(GroupName="readers", UserName="gina")
    assert [user["UserName"] for user in iam.get_group(GroupName="readers")["Users"]] == ["gina"]
    assert [group["GroupName"] for group in iam.list_groups_for_user(UserName="gina")["Groups"]] == ["readers"]
    assert on_new_connections(store, key, bucket) == {b"meow"}
    full = "arn:aws:iam::aws:policy/AmazonS3FullAccess"
    iam.attach_group_policy(GroupName="readers", PolicyArn=full)
    assert iam.list_entities_for_policy(PolicyArn=full)["PolicyGroups"][0]["GroupName"] == "readers"
    as_gina = s3_client(store, key["AccessKeyId"], key["SecretAccessKey"])
    as_gina.put_object(Bucket=bucket, Key="dog", Body=b"bark")
    assert refused(client_of(store, "iam", key["AccessKeyId"], key["SecretAccessKey"]).list_users) == DENIED
    iam.detach_group_policy(GroupName="readers", PolicyArn=full)
    iam.delete_group_policy(GroupName="readers", PolicyName="inline")
    iam.remove_user_from_group(GroupName="readers", UserName="gina")
    iam.delete_group(GroupName="readers")
    iam.delete_access_key(UserName="gina", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="gina")
    assert refused(as_gina.list_buckets) == (403, "InvalidAccessKeyId")
    assert refused(client_of(store, "iam", "test:tester3", "testing3").create_user, UserName="x") == DENIED
    assert refused(iam.list_roles) == (400, "InvalidAction")
