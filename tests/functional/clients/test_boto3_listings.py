"""boto3: listings of buckets, whose objects the Swift API has made; and what other clients see without encoding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.functional.client import Answer, Client
from tests.functional.clients.s3 import REGION, new_name, refused
from tests.functional.conftest import remove
from tests.functional.servers import Store

# In the order of their bytes. Names that begin or end with slashes, dots, blanks, and characters XML has no words for.
NAMES = [
    "\t", "\r\n", " ", " blank ", "%41", "&<>\"'", "+", "..", "../x", "/", "//", "/a", "a", "a b", "a+b", "a-1",
    "a/", "a/1", "a/2/3", "a0", "b//c", "dir", "dir/", "dir/x", "z\x01\x1f", "ü", "ü/ü", "\ue000", "\U0001f600",
]  # fmt: skip
assert sorted(NAMES, key=str.encode) == NAMES


@pytest.fixture(scope="module")
def bucket(client: Client) -> Iterator[str]:
    """With NAMES."""
    name = new_name()
    assert client.put(name).status == 201
    for each in NAMES:
        assert client.put(f"{name}/{each}", body=b"x").status == 201
    yield name
    remove(client, name)


def keys_of(page: dict[str, Any]) -> list[str]:
    return [each["Key"] for each in page.get("Contents", [])]


def prefixes_of(page: dict[str, Any]) -> list[str]:
    return [each["Prefix"] for each in page.get("CommonPrefixes", [])]


def expected(prefix: str, delimiter: str, after: str = "") -> list[str]:
    """Keys and common prefixes, in order."""
    found: list[str] = []
    for name in NAMES:
        if not name.startswith(prefix) or name.encode() <= after.encode():
            continue
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        entry = name if cut < 0 else name[: cut + len(delimiter)]
        if entry not in found and not (cut >= 0 and entry == after):
            found.append(entry)
    return found


def test_all_keys(s3: Any, bucket: str) -> None:
    page = s3.list_objects_v2(Bucket=bucket)
    assert keys_of(page) == NAMES
    assert (page["KeyCount"], page["IsTruncated"], page["MaxKeys"]) == (len(NAMES), False, 1000)
    entry = page["Contents"][0]
    assert (entry["Size"], entry["StorageClass"]) == (1, "STANDARD")
    assert entry["ETag"] == '"9dd4e461268c8034f5c8564e155c67a6"'
    assert "Owner" not in entry
    owned = s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]
    assert owned["Owner"]["ID"] == "AUTH_test"
    first = s3.list_objects(Bucket=bucket)
    assert keys_of(first) == NAMES
    assert first["Contents"][0]["Owner"]["ID"] == "AUTH_test"
    assert "NextMarker" not in first


def test_times_are_those_of_the_objects(s3: Any, bucket: str, client: Client) -> None:
    listed = {each["Key"]: each["LastModified"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    for name in ("a", "ü"):
        shown = client.head(f"{bucket}/{name}").headers["last-modified"]
        assert listed[name].strftime("%a, %d %b %Y %H:%M:%S GMT") == shown


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["", "a", "a/", "/", "b/", "nothing", "ü"]),
    st.sampled_from(["", "/", "-", "//", "b", "ü"]),
    st.integers(1, 7),
    st.sampled_from(["", "a", "a/", "a/1", "b", "/"]),
)
def test_pages_hold_each_entry_once(s3: Any, bucket: str, prefix: str, delimiter: str, size: int, after: str) -> None:
    wanted = expected(prefix, delimiter, after)
    arguments = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter, "MaxKeys": size}
    found: list[str] = []
    page = s3.list_objects_v2(**arguments, StartAfter=after)
    while True:
        entries = sorted(keys_of(page) + prefixes_of(page), key=str.encode)
        assert page["KeyCount"] == len(entries) <= size
        found += entries
        if not page["IsTruncated"]:
            break
        assert len(entries) == size
        token = page["NextContinuationToken"]
        page = s3.list_objects_v2(**arguments, ContinuationToken=token)
        assert page["ContinuationToken"] == token
    assert "NextContinuationToken" not in page
    assert found == wanted
    found, marker = [], after
    while True:
        page = s3.list_objects(**arguments, Marker=marker)
        entries = sorted(keys_of(page) + prefixes_of(page), key=str.encode)
        found += entries
        if not page["IsTruncated"]:
            break
        assert ("NextMarker" in page) is bool(delimiter)
        marker = page.get("NextMarker", entries[-1])
    assert found == wanted


def test_sizes_of_pages(s3: Any, bucket: str) -> None:
    none = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (none["KeyCount"], none["IsTruncated"]) == (0, False)
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=5000)["MaxKeys"] == 1000
    exact = s3.list_objects_v2(Bucket=bucket, MaxKeys=len(NAMES))
    assert (len(keys_of(exact)), exact["IsTruncated"]) == (len(NAMES), False)
    for wrong in (-1, 1 << 40):
        assert refused(s3.list_objects_v2, Bucket=bucket, MaxKeys=wrong) == (400, "InvalidArgument")
    for token in ("", "x", "ümlaut"):
        assert refused(s3.list_objects_v2, Bucket=bucket, ContinuationToken=token) == (400, "InvalidArgument")


def signed(store: Store, target: str) -> Answer:
    """A GET without what boto3 adds to queries."""
    request = AWSRequest("GET", f"{store.url}{target}")
    S3SigV4Auth(Credentials("test:tester", "testing"), "s3", REGION).add_auth(request)
    host, port = store.url.removeprefix("http://").split(":")
    return Client(host, int(port)).raw("GET", target, dict(request.headers))


def test_without_encoding(store: Store, bucket: str) -> None:
    page = signed(store, f"/{bucket}?" + urlencode({"list-type": 2})).text
    assert "<EncodingType>" not in page
    assert "<Key>&#9;</Key>" in page and "<Key>&#13;&#10;</Key>" in page
    assert "<Key>z&#1;&#31;</Key>" in page
    assert "<Key>&amp;&lt;&gt;&quot;'</Key>" in page
    assert signed(store, f"/{bucket}?encoding-type=base64").status == 400
    encoded = signed(store, f"/{bucket}?" + urlencode({"encoding-type": "url", "prefix": "a", "delimiter": "+"})).text
    assert "<Key>a+b</Key>" in encoded and "<CommonPrefixes><Prefix>a%2B</Prefix></CommonPrefixes>" in encoded
    assert "<Delimiter>%2B</Delimiter>" in encoded


@pytest.fixture
def versioned(s3: Any, client: Client) -> Iterator[str]:
    name = new_name()
    s3.create_bucket(Bucket=name)
    assert client.put(f"{name}/before", body=b"0").status == 201
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for content in (b"1", b"22", b"333"):
        for key in ("a", "dir/b", "dir/c"):
            assert client.put(f"{name}/{key}", body=content).status == 201
    assert client.delete(f"{name}/a").status == 204
    yield name
    for row in client.rows(name, versions="true"):
        client.request("DELETE", f"{name}/{row['name']}", **{"version-id": row["version_id"]})
    remove(client, name)


def entries_of(page: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted(
        (each["Key"], each["VersionId"]) for kind in ("Versions", "DeleteMarkers") for each in page.get(kind, [])
    )


def test_versions(s3: Any, versioned: str) -> None:
    page = s3.list_object_versions(Bucket=versioned)
    (marker,) = page["DeleteMarkers"]
    assert (marker["Key"], marker["IsLatest"]) == ("a", True)
    assert [(each["Key"], each["Size"], each["IsLatest"]) for each in page["Versions"]] == [
        ("a", 3, False), ("a", 2, False), ("a", 1, False), ("before", 1, True),
        ("dir/b", 3, True), ("dir/b", 2, False), ("dir/b", 1, False),
        ("dir/c", 3, True), ("dir/c", 2, False), ("dir/c", 1, False),
    ]  # fmt: skip
    assert [each["VersionId"] for each in page["Versions"] if each["Key"] == "before"] == ["null"]
    assert keys_of(s3.list_objects_v2(Bucket=versioned)) == ["before", "dir/b", "dir/c"]
    wanted = entries_of(page)
    for size in (1, 2, 3, 4):
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=versioned, PaginationConfig={"PageSize": size})
        assert sorted(entry for each in pages for entry in entries_of(each)) == wanted
    rolled = s3.list_object_versions(Bucket=versioned, Delimiter="/", MaxKeys=6)
    assert prefixes_of(rolled) == ["dir/"]
    assert (len(entries_of(rolled)), rolled["IsTruncated"]) == (5, False)
    behind = s3.list_object_versions(Bucket=versioned, KeyMarker="a", MaxKeys=1)
    assert [key for key, _ in entries_of(behind)] == ["before"]
    for wrong in ({"VersionIdMarker": "null"}, {"VersionIdMarker": "wrong", "KeyMarker": "a"}):
        assert refused(s3.list_object_versions, Bucket=versioned, **wrong) == (400, "InvalidArgument")
