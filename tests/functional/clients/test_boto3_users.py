"""Policies of users and groups, which commands change while the store runs; hostile requests beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.functional.client import Client
from tests.functional.clients.s3 import refused, s3_client
from tests.functional.clients.test_boto3_sts import client_of, with_credentials
from tests.functional.servers import Store, call
from tests.functional.test_s3_credentials import key_of, user
from tests.waiting import wait_until

DENIED = (403, "AccessDenied")


@pytest.fixture
def anna(store: Store) -> Iterator[tuple[str, str]]:
    """A user of the account, who may nothing: the access key."""
    key = key_of(user(store, "add", "test:anna", "--no-admin", "--group", "readers"))

    def is_known() -> bool:
        """To whatever process a new connection comes."""
        return all(refused(s3_client(store, *key).list_buckets) == DENIED for _ in range(10))

    wait_until(is_known, "every process knows the key", 20.0)
    yield key
    user(store, "remove", "test:anna")
    wait_until(lambda: refused(s3_client(store, *key).list_buckets)[1] == "InvalidAccessKeyId", "anna is gone", 10.0)


def policy(store: Store, *words: str) -> None:
    outcome = call("policy", *words, "--data", str(store.folder))
    assert outcome.status == 0, outcome.stderr


def put_policy(store: Store, folder: Path, name: str, *statements: dict[str, Any]) -> None:
    document = folder / "policy.json"
    document.write_text(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    policy(store, "put", name, str(document))


def test_policies_of_users(store: Store, s3: Any, bucket: str, anna: tuple[str, str], tmp_path: Path) -> None:
    s3.put_object(Bucket=bucket, Key="anna/cat", Body=b"meow")
    s3.put_object(Bucket=bucket, Key="bert/cat", Body=b"meow")
    as_anna = s3_client(store, *anna)
    assert refused(as_anna.get_object, Bucket=bucket, Key="anna/cat") == DENIED
    own = {"Effect": "Allow", "Action": "s3:*Object", "Resource": f"arn:aws:s3:::{bucket}/${{aws:username}}/*"}
    role = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::test:role/tester3"}
    put_policy(store, tmp_path, "test:own", own, role)
    put_policy(store, tmp_path, "test:no-deletes", {"Effect": "Deny", "Action": "s3:Delete*", "Resource": "*"})
    policy(store, "attach", "test:own", "--group", "readers")

    def reads() -> bool:
        try:
            as_anna.head_object(Bucket=bucket, Key="anna/cat")
            for _ in range(10):  # each on a connection of its own, which may come to another process
                s3_client(store, *anna).head_object(Bucket=bucket, Key="anna/cat")
        except as_anna.exceptions.ClientError:
            return False
        return True

    wait_until(reads, "every process knows the policy", 20.0)
    as_anna.put_object(Bucket=bucket, Key="anna/dog", Body=b"bark")
    assert refused(as_anna.get_object, Bucket=bucket, Key="bert/cat") == DENIED
    as_anna.delete_object(Bucket=bucket, Key="anna/dog")
    assume = client_of(store, "sts", *anna).assume_role
    assert with_credentials(store, assume(RoleArn="arn:aws:iam::test:role/tester3", RoleSessionName="up"))
    assert refused(assume, RoleArn="arn:aws:iam::test:role/tester", RoleSessionName="up") == DENIED
    policy(store, "attach", "test:no-deletes", "--user", "anna")

    def deletes() -> bool:
        try:
            s3_client(store, *anna).delete_object(Bucket=bucket, Key="anna/dog")
        except as_anna.exceptions.ClientError:
            return False
        return True

    wait_until(lambda: not any(deletes() for _ in range(10)), "every process knows what is denied", 20.0)
    policy(store, "remove", "test:own")
    policy(store, "remove", "test:no-deletes")


def test_headers_of_the_store_cannot_be_smuggled(store: Store, s3: Any, client: Client, bucket: str) -> None:
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    smuggled = {
        "X-Object-Sysmeta-Composite-Etag": "e",
        "X-Object-Transient-Sysmeta-Lock-Hold": "ON",
        "X-Backend-Storage-Policy-Index": "7",
        "X-Backend-Timestamp": "1.0",
        "X-Timestamp": "1.0",
        "X-Object-Manifest": f"{bucket}/secret",
        "X-Symlink-Target": f"{bucket}/secret",
        "X-Copy-From": f"/{bucket}/secret",
        "X-Delete-After": "1",
    }
    assert requests.put(url, data=b"mine", headers=smuggled, timeout=30).status_code == 200
    head = client.head(f"{bucket}/k")
    names = {name.lower() for name in head.headers}
    assert not names & {"x-object-manifest", "x-symlink-target", "x-delete-at"}
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"mine"
    for header in ({"x-amz-copy-source": f"/{bucket}/secret"}, {"x-amz-meta-a": "b"}, {"x-amz-acl": "public-read"}):
        refusal = requests.put(url, data=b"", headers=header, timeout=30)
        assert refusal.status_code == 403
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"mine"
    s3.put_object(Bucket=bucket, Key="m", Body=b"", Metadata={"x-object-sysmeta-a": "b", "sysmeta-c": "d"})
    assert set(s3.head_object(Bucket=bucket, Key="m")["Metadata"]) == {"x-object-sysmeta-a", "sysmeta-c"}


def test_large_and_deep_documents_are_refused(store: Store, s3: Any, bucket: str) -> None:
    for document in (" " * (1 << 20), "[" * 1_000_000, '{"Statement":' * 50_000):
        assert refused(s3.put_bucket_policy, Bucket=bucket, Policy=document)[1] in ("MalformedPolicy", "MalformedXML")
    bomb = b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><Tagging>&b;</Tagging>'
    url = s3.generate_presigned_url("put_bucket_tagging", Params={"Bucket": bucket, "Tagging": {"TagSet": []}})
    for body in (bomb, b"<Tagging>" + b"<a>" * 200_000, b"<Tagging>" + b" " * (3 << 20) + b"</Tagging>"):
        answer = requests.put(url, data=body, timeout=30)
        assert answer.status_code == 400 and b"<Error>" in answer.content
    headers = {f"x-amz-meta-{number}": "a" * 8000 for number in range(1250)}
    with suppress(requests.ConnectionError):  # the server closes the connection on a client that still sends
        assert requests.get(f"{store.url}/{bucket}", headers=headers, timeout=30).status_code >= 400
    s3.head_bucket(Bucket=bucket)
