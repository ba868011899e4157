"""Temporary credentials: boto3's STS client, and what the sessions may do."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.functional.clients.s3 import REGION, refused
from tests.functional.servers import Store

ROLE = "arn:aws:iam::test:role/tester3"


def client_of(store: Store, service: str, key: str = "test:tester", secret: str = "testing", token: str = "") -> Any:
    return boto3.client(
        service,
        endpoint_url=store.url,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token or None,
        config=Config(retries={"total_max_attempts": 1}),
    )


def with_credentials(store: Store, answer: dict[str, Any], service: str = "s3") -> Any:
    given = answer["Credentials"]
    return client_of(store, service, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


@pytest.fixture(scope="module")
def sts(store: Store) -> Any:
    return client_of(store, "sts")


@pytest.fixture
def cat(s3: Any, bucket: str) -> Iterator[str]:
    s3.put_object(Bucket=bucket, Key="cat", Body=b"meow")
    yield bucket


def reading(bucket: str) -> str:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def test_a_session_has_the_rights_of_its_user(store: Store, sts: Any, cat: str) -> None:
    answer = sts.get_session_token()
    session = with_credentials(store, answer)
    assert session.get_object(Bucket=cat, Key="cat")["Body"].read() == b"meow"
    session.put_object(Bucket=cat, Key="dog", Body=b"bark")
    assert with_credentials(store, answer, "sts").get_caller_identity()["Arn"] == "arn:aws:iam::test:user/tester"
    url = session.generate_presigned_url("get_object", Params={"Bucket": cat, "Key": "dog"})
    with urllib.request.urlopen(url, timeout=30) as got:
        assert got.read() == b"bark"
    assert refused(with_credentials(store, answer, "sts").get_session_token) == (403, "AccessDenied")
    other = sts.get_session_token()["Credentials"]["SessionToken"]
    answer["Credentials"]["SessionToken"] = other
    assert refused(with_credentials(store, answer).list_buckets) == (400, "InvalidToken")


def test_a_policy_takes_from_the_rights(store: Store, sts: Any, cat: str) -> None:
    answer = sts.assume_role(RoleArn="arn:xxx:xxx:xxx:xxxx", RoleSessionName="engine", Policy=reading(cat))
    session = with_credentials(store, answer)
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::test:assumed-role/tester/engine"
    assert session.get_object(Bucket=cat, Key="cat")["Body"].read() == b"meow"
    assert refused(session.put_object, Bucket=cat, Key="cat", Body=b"") == (403, "AccessDenied")
    assert refused(session.list_objects_v2, Bucket=cat) == (403, "AccessDenied")
    assert refused(session.list_buckets) == (403, "AccessDenied")
    assert refused(session.create_bucket, Bucket=cat + "-2") == (403, "AccessDenied")
    # A session that it opens has no more rights.
    wide = with_credentials(store, answer, "sts").assume_role(RoleArn="arn:xxx:xxx:xxx:xxxx", RoleSessionName="two")
    assert refused(with_credentials(store, wide).list_objects_v2, Bucket=cat) == (403, "AccessDenied")


def test_a_role_is_a_user(store: Store, sts: Any, s3: Any, cat: str) -> None:
    session = with_credentials(store, sts.assume_role(RoleArn=ROLE, RoleSessionName="batch"))
    assert refused(session.get_object, Bucket=cat, Key="cat") == (403, "AccessDenied")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ROLE},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{cat}/*",
        "Condition": {"StringEquals": {"aws:userid": "test:tester3:batch"}},
    }
    s3.put_bucket_policy(Bucket=cat, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    assert session.get_object(Bucket=cat, Key="cat")["Body"].read() == b"meow"
    assume = client_of(store, "sts", "test:tester3", "testing3").assume_role
    assert refused(assume, RoleArn="arn:aws:iam::test:role/tester", RoleSessionName="up") == (403, "AccessDenied")
    assert refused(sts.assume_role, RoleArn="arn:aws:iam::test:role/none", RoleSessionName="up")[0] == 403
    assert refused(sts.assume_role, RoleArn="arn:aws:iam::admin:role/admin", RoleSessionName="up")[0] == 403


def test_what_is_refused(store: Store, sts: Any) -> None:
    arguments = {"RoleArn": ROLE, "RoleSessionName": "batch"}
    for changes, code in (
        ({"DurationSeconds": 43_201}, "ValidationError"),
        ({"Policy": "{}"}, "MalformedPolicyDocument"),
        ({"Policy": "[" * 2048}, "MalformedPolicyDocument"),
        ({"RoleSessionName": "a b"}, "ValidationError"),
    ):
        assert refused(sts.assume_role, **(arguments | changes)) == (400, code)
    assert refused(sts.get_federation_token, Name="name") == (400, "InvalidAction")
    wrong = client_of(store, "sts", secret="wrong")
    assert refused(wrong.get_caller_identity) == (403, "SignatureDoesNotMatch")
    assert refused(client_of(store, "sts", "nobody").get_caller_identity) == (403, "InvalidClientTokenId")
    assert client_of(store, "sts", "test2:tester2", "testing2").get_caller_identity()["Account"] == "test2"
