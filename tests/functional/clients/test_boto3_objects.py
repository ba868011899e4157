"""boto3: objects, as its defaults send them; and what the Swift API sees of them, and the reverse."""

from __future__ import annotations

import io
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from typing import Any

import pytest

from objstore.checksums import Algorithm, checksums_of
from objstore.proxy.s3.handlers.checksums import ALGORITHMS
from tests.functional.client import Client
from tests.functional.clients.s3 import body_of, headers_of, refused, s3_client
from tests.functional.servers import Store

# boto3 drops connections whose request was refused before its body was sent.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# Longer than what is sent in one message to the storage servers.
SMALL, LARGE = b"content " * 20, bytes(range(256)) * 1500
ODD_KEYS = [
    "..", "../up", "a/../b", "./a", "//", "a//b", "/leading", "trailing/", "dir", "dir/x", " blank ", "a+b c", "%41",
    "?q#f", "quote'\"<&>", "tab\tnewline\r\n", "\x01\x1f\x7f", "ünïcode/ß", "\U0001f600", "x" * 1024, "versioning",
    "v1/a/b",
]  # fmt: skip


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("streamed", [False, True], ids=["bytes", "file"])
def test_what_is_put_is_got(s3: Any, bucket: str, content: bytes, streamed: bool) -> None:
    body = io.BytesIO(content) if streamed else content
    stored = s3.put_object(Bucket=bucket, Key="k", Body=body)
    etag = f'"{md5(content).hexdigest()}"'
    assert (stored["ETag"], stored["ChecksumType"]) == (etag, "FULL_OBJECT")
    assert "x-amz-version-id" not in headers_of(stored)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert body_of(got) == content
    assert (got["ETag"], got["ContentLength"], got["ContentType"]) == (etag, len(content), "binary/octet-stream")
    assert got["AcceptRanges"] == "bytes"
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ETag"], head["ContentLength"], head["LastModified"]) == (etag, len(content), got["LastModified"])
    assert abs(got["LastModified"] - datetime.now(UTC)) < timedelta(minutes=1)
    assert "x-amz-storage-class" not in headers_of(head)


@pytest.mark.parametrize("key", ODD_KEYS, ids=ascii)
def test_every_key_names_an_object(s3: Any, client: Client, bucket: str, key: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert body_of(s3.get_object(Bucket=bucket, Key=key)) == key.encode()
    s3.copy_object(Bucket=bucket, Key=key + "2" if len(key) < 1000 else "y", CopySource={"Bucket": bucket, "Key": key})
    assert client.get(f"{bucket}/{key}").body == key.encode()
    s3.delete_object(Bucket=bucket, Key=key)
    assert refused(s3.get_object, Bucket=bucket, Key=key) == (404, "NoSuchKey")
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 1


def test_keys_have_a_limit(s3: Any, bucket: str) -> None:
    assert refused(s3.put_object, Bucket=bucket, Key="x" * 1025) == (400, "KeyTooLongError")
    assert refused(s3.put_object, Bucket=bucket, Key="ü" * 513) == (400, "KeyTooLongError")


def test_metadata_comes_back(s3: Any, client: Client, bucket: str) -> None:
    sent = {
        "Metadata": {"plain": "1", "under_score": "2", "dash-es": "3"},
        "ContentType": "text/plain; charset=utf-8",
        "CacheControl": "no-cache",
        "ContentDisposition": 'attachment; filename="x"',
        "ContentEncoding": "br",
        "ContentLanguage": "de",
        "StorageClass": "STANDARD_IA",
        "WebsiteRedirectLocation": "/elsewhere",
    }
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, Tagging="a=1&b=2", **sent)
    for got in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        assert {name: got[name] for name in sent} == sent
        assert headers_of(got)["x-amz-tagging-count"] == "2"
    seen = client.head(f"{bucket}/k")
    assert seen.headers["x-object-meta-under-score"] == "2"
    assert seen.headers["content-encoding"] == "br"
    assert not [name for name in seen.headers if "sysmeta" in name.lower() or name.lower().startswith("x-amz-")]
    too_much = {str(number): "x" * 240 for number in range(9)}
    assert refused(s3.put_object, Bucket=bucket, Key="k", Metadata=too_much) == (400, "MetadataTooLarge")
    assert refused(s3.put_object, Bucket=bucket, Key="k", StorageClass="BEST") == (400, "InvalidStorageClass")


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksums(s3: Any, bucket: str, algorithm: Algorithm, content: bytes) -> None:
    value, field = checksums_of([algorithm], content)[algorithm], f"Checksum{algorithm}"
    # By header; and computed by boto3, in a trailer where the body is a file.
    for body in (content, io.BytesIO(content)):
        stored = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
        assert (stored[field], stored["ChecksumType"]) == (value, "FULL_OBJECT")
    stored = s3.put_object(Bucket=bucket, Key="k", Body=content, **{field: value})
    assert stored[field] == value
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[field], head["ChecksumType"]) == (value, "FULL_OBJECT")
    part = s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-3", ChecksumMode="ENABLED")
    assert field not in part
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])
    assert attributes["Checksum"] == {field: value, "ChecksumType": "FULL_OBJECT"}
    wrong = {field: checksums_of([algorithm], b"else")[algorithm]}
    assert refused(s3.put_object, Bucket=bucket, Key="wrong", Body=content, **wrong) == (400, "BadDigest")
    assert refused(s3.put_object, Bucket=bucket, Key="wrong", Body=content, **{field: "?"}) == (400, "InvalidRequest")
    assert refused(s3.head_object, Bucket=bucket, Key="wrong") == (404, "404")


def test_content_md5(s3: Any, bucket: str) -> None:
    right, wrong = (b64encode(md5(each).digest()).decode() for each in (SMALL, b"else"))
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, ContentMD5=right)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=SMALL, ContentMD5=wrong) == (400, "BadDigest")
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=SMALL, ContentMD5="x") == (400, "InvalidDigest")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-3", 0, 3),
        ("bytes=5-", 5, 159),
        ("bytes=-7", 153, 159),
        ("bytes=-1000", 0, 159),
        ("bytes=150-999", 150, 159),
    ],
)
def test_ranges(s3: Any, bucket: str, asked: str, first: int, last: int) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    got, head = (call(Bucket=bucket, Key="k", Range=asked) for call in (s3.get_object, s3.head_object))
    assert body_of(got) == SMALL[first : last + 1]
    for each in (got, head):
        assert each["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert (each["ContentRange"], each["ContentLength"]) == (f"bytes {first}-{last}/160", last - first + 1)


def test_ranges_that_ask_for_nothing(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    for asked in ("bytes=0-3,5-7", "bytes=5-3", "bytes=x", "lines=0-3"):
        assert body_of(s3.get_object(Bucket=bucket, Key="k", Range=asked)) == SMALL
        assert s3.head_object(Bucket=bucket, Key="k", Range=asked)["ContentLength"] == len(SMALL)
    assert s3.get_object(Bucket=bucket, Key="empty", Range="bytes=-5")["ResponseMetadata"]["HTTPStatusCode"] == 200
    for key, asked in (("k", "bytes=160-"), ("k", "bytes=-0"), ("empty", "bytes=0-")):
        assert refused(s3.get_object, Bucket=bucket, Key=key, Range=asked) == (416, "InvalidRange")
        assert refused(s3.head_object, Bucket=bucket, Key=key, Range=asked) == (416, "416")


def test_part_numbers_of_an_object_that_came_whole(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert (body_of(got), got["ContentRange"]) == (SMALL, "bytes 0-159/160")
    assert "PartsCount" not in got
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=1)["ContentLength"] == 160
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=2) == (416, "InvalidPartNumber")
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=0) == (400, "InvalidArgument")
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1") == (400, "InvalidRequest")


def test_answers_say_what_the_reader_wants(s3: Any, store: Store, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, ContentType="a/b")
    wanted = {"ContentType": "c/d", "ContentDisposition": "inline", "CacheControl": "x", "ContentLanguage": "fr"}
    got = s3.get_object(Bucket=bucket, Key="k", **{f"Response{name}": value for name, value in wanted.items()})
    assert {name: got[name] for name in wanted} == wanted
    anonymous = s3_client(store, "", "")
    denied = refused(anonymous.get_object, Bucket=bucket, Key="k", ResponseContentType="c/d")
    assert denied == (403, "AccessDenied")


def test_conditions_of_reads(s3: Any, bucket: str) -> None:
    stored = s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    etag, modified = stored["ETag"], s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    before, after = modified - timedelta(days=1), modified + timedelta(days=365)
    read = {"Bucket": bucket, "Key": "k"}
    for call, failed, same in ((s3.get_object, "PreconditionFailed", "304"), (s3.head_object, "412", "304")):
        assert refused(call, **read, IfMatch='"other"') == (412, failed)
        assert refused(call, **read, IfNoneMatch=etag) == (304, same)
        assert refused(call, **read, IfUnmodifiedSince=before) == (412, failed)
        assert refused(call, **read, IfModifiedSince=modified) == (304, same)
        for good in (
            {"IfMatch": etag},
            {"IfMatch": etag.strip('"')},
            {"IfNoneMatch": '"other"'},
            {"IfModifiedSince": after},
            {"IfMatch": etag, "IfUnmodifiedSince": before},
            {"IfNoneMatch": '"other"', "IfModifiedSince": modified},
        ):
            assert call(**read, **good)["ETag"] == etag


def test_conditions_of_writes(s3: Any, bucket: str) -> None:
    write = {"Bucket": bucket, "Key": "k", "Body": SMALL}
    assert refused(s3.put_object, **write, IfMatch='"any"') == (404, "NoSuchKey")
    etag = s3.put_object(**write, IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, **write, IfNoneMatch="*") == (412, "PreconditionFailed")
    file = write | {"Body": io.BytesIO(LARGE)}
    assert refused(s3.put_object, **file, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert refused(s3.put_object, **write, IfMatch='"other"') == (412, "PreconditionFailed")
    assert refused(s3.put_object, **write, IfNoneMatch=etag) == (501, "NotImplemented")
    etag = s3.put_object(Bucket=bucket, Key="k", Body=LARGE, IfMatch=etag)["ETag"]
    assert refused(s3.delete_object, Bucket=bucket, Key="k", IfMatch='"other"') == (412, "PreconditionFailed")
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    assert refused(s3.head_object, Bucket=bucket, Key="k") == (404, "404")
    s3.put_object(**write, IfNoneMatch="*")


def test_deletions(s3: Any, bucket: str) -> None:
    s3.delete_object(Bucket=bucket, Key="absent")
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"k/{number}", Body=SMALL)
    etag = f'"{md5(SMALL).hexdigest()}"'
    wanted = [{"Key": "k/0"}, {"Key": "absent"}, {"Key": "k/1", "ETag": etag}, {"Key": "k/2", "ETag": '"other"'}]
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted})
    assert done["Deleted"] == [{"Key": "k/0"}, {"Key": "absent"}, {"Key": "k/1"}]
    assert [(each["Key"], each["Code"]) for each in done["Errors"]] == [("k/2", "PreconditionFailed")]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k/3"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k/2", "k/4"]
    s3.put_object(Bucket=bucket, Key="k\x01", Body=SMALL)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k\x01"}]})
    assert refused(s3.head_object, Bucket=bucket, Key="k\x01") == (404, "404")
    too_many = [{"Key": str(number)} for number in range(1001)]
    assert refused(s3.delete_objects, Bucket=bucket, Delete={"Objects": too_many}) == (400, "MalformedXML")


def test_copies(s3: Any, bucket: str) -> None:
    sent = {"Metadata": {"a_b": "1"}, "ContentType": "a/b", "CacheControl": "x"}
    source = {"Bucket": bucket, "Key": "s/ü +"}
    stored = s3.put_object(**source, Body=LARGE, Tagging="t=1", ChecksumAlgorithm="SHA256", **sent)
    copied = s3.copy_object(Bucket=bucket, Key="c", CopySource=source)["CopyObjectResult"]
    value = b64encode(sha256(LARGE).digest()).decode()
    assert (copied["ETag"], copied["ChecksumSHA256"], copied["ChecksumType"]) == (stored["ETag"], value, "FULL_OBJECT")
    head = s3.head_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")
    assert {name: head[name] for name in sent} == sent
    assert (head["ChecksumSHA256"], headers_of(head)["x-amz-tagging-count"]) == (value, "1")
    changed = {"Metadata": {"other": "2"}, "ContentType": "c/d"}
    s3.copy_object(
        Bucket=bucket, Key="c", CopySource=source, MetadataDirective="REPLACE", TaggingDirective="REPLACE", **changed
    )
    head = s3.head_object(Bucket=bucket, Key="c")
    assert {name: head[name] for name in changed} == changed
    assert "CacheControl" not in head
    assert s3.get_object_tagging(Bucket=bucket, Key="c")["TagSet"] == []
    assert body_of(s3.get_object(Bucket=bucket, Key="c")) == LARGE


def test_copies_that_are_refused(s3: Any, bucket: str) -> None:
    stored = s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    source, copy = {"Bucket": bucket, "Key": "k"}, {"Bucket": bucket, "Key": "c"}
    assert refused(s3.copy_object, Bucket=bucket, Key="k", CopySource=source) == (400, "InvalidRequest")
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source, MetadataDirective="REPLACE", Metadata={"x": "y"})
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"x": "y"}
    assert refused(s3.copy_object, **copy, CopySource=f"{bucket}/absent") == (404, "NoSuchKey")
    assert refused(s3.copy_object, **copy, CopySource="absent-bucket/k") == (404, "NoSuchBucket")
    assert refused(s3.copy_object, **copy, CopySource=bucket) == (400, "InvalidArgument")
    denied = refused(s3.copy_object, **copy, CopySource=source, ExpectedSourceBucketOwner="AUTH_else")
    assert denied == (403, "AccessDenied")
    failed = (412, "PreconditionFailed")
    assert refused(s3.copy_object, **copy, CopySource=source, CopySourceIfMatch='"other"') == failed
    assert refused(s3.copy_object, **copy, CopySource=source, CopySourceIfNoneMatch=stored["ETag"]) == failed
    s3.copy_object(**copy, CopySource=source, CopySourceIfMatch=stored["ETag"], IfNoneMatch="*")
    assert refused(s3.copy_object, **copy, CopySource=source, IfNoneMatch="*") == failed


def test_storage_classes_are_listed(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=SMALL)
    s3.put_object(Bucket=bucket, Key="b", Body=SMALL, StorageClass="GLACIER")
    s3.put_object(Bucket=bucket, Key="c", Body=b"x" * 100_000, StorageClass="STANDARD_IA")
    s3.copy_object(Bucket=bucket, Key="d", CopySource=f"{bucket}/b")
    s3.copy_object(Bucket=bucket, Key="e", CopySource=f"{bucket}/a", StorageClass="ONEZONE_IA")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="f", StorageClass="GLACIER")["UploadId"]
    assert s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["StorageClass"] == "GLACIER"
    etag = s3.upload_part(Bucket=bucket, Key="f", UploadId=upload, PartNumber=1, Body=SMALL)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="f", UploadId=upload, MultipartUpload=parts)
    expected = ["STANDARD", "GLACIER", "STANDARD_IA", "STANDARD", "ONEZONE_IA", "GLACIER"]
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [each["StorageClass"] for each in listed] == expected
    assert [each["StorageClass"] for each in s3.list_object_versions(Bucket=bucket)["Versions"]] == expected
    for each in listed:
        head = s3.head_object(Bucket=bucket, Key=each["Key"])
        assert head.get("StorageClass", "STANDARD") == each["StorageClass"]
        assert (head["ETag"], head["ContentLength"]) == (each["ETag"], each["Size"])


def test_tags(s3: Any, bucket: str) -> None:
    named = {"Bucket": bucket, "Key": "k"}
    assert refused(s3.get_object_tagging, **named) == (404, "NoSuchKey")
    s3.put_object(**named, Body=SMALL, Metadata={"kept": "yes"}, CacheControl="kept")
    before = s3.head_object(**named)
    assert s3.get_object_tagging(**named)["TagSet"] == []
    tags = [{"Key": "b", "Value": "=@"}, {"Key": "ü +", "Value": ""}]
    s3.put_object_tagging(**named, Tagging={"TagSet": tags})
    assert s3.get_object_tagging(**named)["TagSet"] == tags
    after = s3.head_object(**named)
    assert (after["Metadata"], after["CacheControl"], after["ETag"]) == ({"kept": "yes"}, "kept", before["ETag"])
    # What is put afterwards has its own tags, also within the same moment.
    s3.put_object(**named, Body=SMALL)
    assert s3.get_object_tagging(**named)["TagSet"] == []
    s3.put_object_tagging(**named, Tagging={"TagSet": tags})
    s3.delete_object_tagging(**named)
    assert s3.get_object_tagging(**named)["TagSet"] == []
    twice = {"TagSet": [tags[0], tags[0]]}
    assert refused(s3.put_object_tagging, **named, Tagging=twice) == (400, "InvalidTag")
    many = {"TagSet": [{"Key": str(number), "Value": ""} for number in range(11)]}
    assert refused(s3.put_object_tagging, **named, Tagging=many) == (400, "BadRequest")


def test_attributes(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, StorageClass="GLACIER")
    wanted = ["ETag", "ObjectParts", "StorageClass", "ObjectSize"]
    found = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=wanted)
    assert (found["ETag"], found["ObjectSize"], found["StorageClass"]) == (md5(SMALL).hexdigest(), 160, "GLACIER")
    assert "ObjectParts" not in found
    unknown = refused(s3.get_object_attributes, Bucket=bucket, Key="k", ObjectAttributes=["Color"])
    assert unknown == (400, "InvalidArgument")


def test_without_what_it_needs_nothing_is_stored(s3: Any, client: Client, bucket: str) -> None:
    assert refused(s3.put_object, Bucket=bucket, Key="k", ObjectLockLegalHoldStatus="ON") == (400, "InvalidRequest")
    assert refused(s3.get_object, Bucket="absent-bucket", Key="k") == (404, "NoSuchBucket")
    assert client.rows(bucket) == []
