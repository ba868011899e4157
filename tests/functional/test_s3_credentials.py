"""Who asks over the S3 API: boto3 with good, bad, old and unknown credentials; users made while the store runs."""

from __future__ import annotations

import datetime
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import boto3
import botocore.auth
import botocore.crt.auth
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from objstore.followed import CHECK_INTERVAL_SECONDS
from tests.functional.client import Client
from tests.functional.servers import Store, call
from tests.waiting import elapse, wait_until

# The answer tells what was signed, and what with.
SECRET_WORDS = ("testing", "wJalr")


def s3(store: Store, key: str = "test:tester", secret: str = "testing", version: str = "s3v4", **more: Any) -> Any:
    config = Config(signature_version=version, retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=more.pop("region", "us-east-1"),
        config=config,
        **more,
    )


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    assert not any(word in str(caught.value.response) for word in SECRET_WORDS)
    code: str = caught.value.response["Error"]["Code"]
    return code


@contextmanager
def clock_off_by(seconds: float) -> Iterator[None]:
    """The client's clock is wrong."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    with (
        mock.patch.object(botocore.auth, "get_current_datetime", lambda **_: moment),
        mock.patch.object(botocore.crt.auth, "get_current_datetime", lambda **_: moment),
        mock.patch.object(botocore.auth, "formatdate", lambda **_: moment.strftime("%a, %d %b %Y %H:%M:%S GMT")),
    ):
        yield


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_good_and_bad_credentials(store: Store, container: str, version: str) -> None:
    assert container in [each["Name"] for each in s3(store, version=version).list_buckets()["Buckets"]]
    assert code_of(s3(store, secret="wrong", version=version).list_buckets) == "SignatureDoesNotMatch"
    assert code_of(s3(store, "nobody", version=version).list_buckets) == "InvalidAccessKeyId"
    assert code_of(s3(store, aws_session_token="token", version=version).list_buckets) == "InvalidToken"
    for seconds in (-901, 901):
        with clock_off_by(seconds):
            assert code_of(s3(store, version=version).list_buckets) == "RequestTimeTooSkewed"
    with clock_off_by(600):
        s3(store, version=version).list_buckets()


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "auto"])
def test_any_region(store: Store, region: str) -> None:
    s3(store, region=region).list_buckets()


def test_each_user_sees_the_own_account(store: Store, container: str) -> None:
    names = [each["Name"] for each in s3(store, "test2:tester2", "testing2").list_buckets()["Buckets"]]
    assert container not in names


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned(store: Store, container: str, client: Client, version: str) -> None:
    client.put(f"{container}/a b+c", body=b"x")
    presign = s3(store, version=version).generate_presigned_url
    url = presign("list_objects_v2", Params={"Bucket": container, "Prefix": "a b+"}, ExpiresIn=60)
    status, body = fetch(url)
    assert status == 200 and b"<Key>a+b%2Bc</Key>" in body
    assert fetch(url.replace("a%20b", "a%20c"))[0] == (403 if version == "s3v4" else 200)
    assert b"<Code>SignatureDoesNotMatch</Code>" in fetch(url.replace(container, container[:-1]))[1]
    assert fetch(url, Authorization="Bearer x")[0] == 400
    assert fetch(url, x_amz_acl="private")[0] == 403


def test_presigned_and_expired(store: Store, container: str) -> None:
    presign = s3(store).generate_presigned_url
    with clock_off_by(-100):
        url = presign("list_objects_v2", Params={"Bucket": container}, ExpiresIn=60)
    status, body = fetch(url)
    assert status == 403 and b"<Message>Request has expired</Message>" in body and b"<ServerTime>" in body
    url = presign("list_objects_v2", Params={"Bucket": container}, ExpiresIn=8 * 86_400)
    status, body = fetch(url)
    assert status == 400 and b"<Code>AuthorizationQueryParametersError</Code>" in body


def user(store: Store, *words: str) -> str:
    outcome = call("user", *words, "--data", str(store.folder))
    assert outcome.status == 0, outcome.stderr
    return outcome.stdout


def key_of(shown: str) -> tuple[str, str]:
    """Id and secret, as the command tells them."""
    words = [line.split() for line in shown.splitlines()]
    return words[1][-1], words[2][-1]


def accepted(store: Store, key: tuple[str, str]) -> bool:
    try:
        s3(store, *key).list_buckets()
    except ClientError as error:
        assert error.response["Error"]["Code"] in ("InvalidAccessKeyId", "SignatureDoesNotMatch")
        return False
    return True


def becomes(store: Store, key: tuple[str, str], *, good: bool) -> None:
    """All workers take or refuse the key soon: so many answers in a row agree."""
    wait_until(lambda: all(accepted(store, key) is good for _ in range(6)), f"{key[0]} is good: {good}", 10.0)


def test_users_while_the_store_runs(store: Store) -> None:
    first = key_of(user(store, "add", "photos:alice"))
    becomes(store, first, good=True)
    s3(store, *first).create_bucket(Bucket="photos-of-alice")
    # The same user over the other API, with the secret as key.
    elapse(CHECK_INTERVAL_SECONDS, "each API looks at the file at most once in so long")
    swift = Client.login(store.host, store.port, "photos:alice", first[1])
    assert swift.account == "AUTH_photos"
    assert swift.head("photos-of-alice").status == 204

    second = key_of(user(store, "rotate", "photos:alice"))
    becomes(store, first, good=False)
    becomes(store, second, good=True)
    assert [each["Name"] for each in s3(store, *second).list_buckets()["Buckets"]] == ["photos-of-alice"]

    user(store, "disable", "photos:alice")
    becomes(store, second, good=False)
    user(store, "disable", "photos:alice", "--undo")
    becomes(store, second, good=True)
    s3(store, *second).delete_bucket(Bucket="photos-of-alice")
    listed = {row["user"]: row for row in json.loads(user(store, "list", "--json"))}
    assert listed["photos:alice"]["from"] == "objstore user" and listed["test:tester"]["from"] == "users.toml"
    for secret in (first[1], second[1]):
        assert secret not in store.log
