"""boto3: uploads in parts."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from objstore.checksums import COMBINABLE, Algorithm, checksums_of, composite
from objstore.proxy.s3.handlers.checksums import ALGORITHMS, COMPOSITE, DEFAULT, FULL_OBJECT
from tests.functional.client import Client
from tests.functional.clients.s3 import body_of, refused

# boto3 drops connections whose request was refused before its body was sent.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PART = bytes(range(256)) * 20_480  # 5 MiB
LAST = b"the end"
WHOLE = PART + LAST
KINDS = [
    (algorithm, kind)
    for algorithm in ALGORITHMS
    for kind in (COMPOSITE, FULL_OBJECT)
    if (kind == FULL_OBJECT and algorithm in COMBINABLE) or (kind == COMPOSITE and algorithm is not DEFAULT)
]


@pytest.fixture
def upload(s3: Any, bucket: str) -> Iterator[dict[str, str]]:
    """An upload of "k", ended afterwards."""
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k")
    named = {"Bucket": bucket, "Key": "k", "UploadId": begun["UploadId"]}
    yield named
    try:
        s3.abort_multipart_upload(**named)
    except s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchUpload"


def chosen(number: int, stored: dict[str, Any]) -> dict[str, Any]:
    """A part as a completion names it."""
    named = {name: value for name, value in stored.items() if name == "ETag" or name.startswith("Checksum")}
    return {"PartNumber": number, **{name: value for name, value in named.items() if name != "ChecksumType"}}


def put_parts(s3: Any, named: dict[str, str], contents: dict[int, bytes], **more: Any) -> list[dict[str, Any]]:
    stored = {n: s3.upload_part(**named, PartNumber=n, Body=body, **more) for n, body in contents.items()}
    return [chosen(number, stored[number]) for number in sorted(stored)]


def composite_etag(*parts: bytes) -> str:
    return f'"{md5(b"".join(md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'


def test_an_object_is_made_of_its_parts(s3: Any, client: Client, bucket: str) -> None:
    sent = {"Metadata": {"a_b": "1"}, "ContentType": "a/b", "StorageClass": "STANDARD_IA"}
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k", Tagging="t=1", **sent)
    named = {"Bucket": bucket, "Key": "k", "UploadId": begun["UploadId"]}
    # In any order, sent again, with gaps.
    s3.upload_part(**named, PartNumber=7, Body=b"replaced")
    parts = put_parts(s3, named, {7: LAST, 2: PART})
    assert refused(s3.head_object, Bucket=bucket, Key="k") == (404, "404")
    done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    etag = composite_etag(PART, LAST)
    assert (done["ETag"], done["Bucket"], done["Key"], done["ChecksumType"]) == (etag, bucket, "k", FULL_OBJECT)
    assert done["ChecksumCRC64NVME"] == checksums_of([DEFAULT], WHOLE)[DEFAULT]
    assert done["Location"].endswith(f"/{bucket}/k")
    assert s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})["ETag"] == etag
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (body_of(got), got["ETag"], got["ContentLength"]) == (WHOLE, etag, len(WHOLE))
    assert {name: got[name] for name in sent} == sent
    assert "PartsCount" not in got
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "t", "Value": "1"}]
    for number, content in ((2, PART), (7, LAST)):
        part = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (body_of(part), part["PartsCount"], part["ETag"]) == (content, 2, etag)
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=7)["ContentLength"] == len(LAST)
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=3) == (416, "InvalidPartNumber")
    asked = f"bytes={len(PART) - 2}-{len(PART) + 2}"
    assert body_of(s3.get_object(Bucket=bucket, Key="k", Range=asked)) == WHOLE[len(PART) - 2 : len(PART) + 3]
    assert client.get(f"{bucket}/k").body == WHOLE
    assert [row["bytes"] for row in client.rows(bucket)] == [len(WHOLE)]
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == etag
    for condition in ({"IfMatch": etag}, {"IfNoneMatch": '"else"'}):
        assert s3.head_object(Bucket=bucket, Key="k", **condition)["ETag"] == etag


@pytest.mark.parametrize(("algorithm", "kind"), KINDS)
def test_checksums(s3: Any, bucket: str, algorithm: Algorithm, kind: str) -> None:
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    assert (begun["ChecksumAlgorithm"], begun["ChecksumType"]) == (algorithm, kind)
    named = {"Bucket": bucket, "Key": "k", "UploadId": begun["UploadId"]}
    parts, field = put_parts(s3, named, {1: PART, 2: LAST}, ChecksumAlgorithm=algorithm), f"Checksum{algorithm}"
    of_parts = [checksums_of([algorithm], part)[algorithm] for part in (PART, LAST)]
    assert [part[field] for part in parts] == of_parts
    listed = s3.list_parts(**named)
    assert [part[field] for part in listed["Parts"]] == of_parts
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, kind)
    whole = checksums_of([algorithm], WHOLE)[algorithm] if kind == FULL_OBJECT else composite(algorithm, of_parts)
    completion = {**named, "MultipartUpload": {"Parts": parts}}
    wrong = checksums_of([algorithm], b"else")[algorithm]
    assert refused(s3.complete_multipart_upload, **completion, **{field: wrong}) == (400, "BadDigest")
    other = COMPOSITE if kind == FULL_OBJECT else FULL_OBJECT
    assert refused(s3.complete_multipart_upload, **completion, ChecksumType=other) == (400, "InvalidRequest")
    done = s3.complete_multipart_upload(**completion, **{field: whole}, MpuObjectSize=len(WHOLE))
    assert (done[field], done["ChecksumType"]) == (whole, kind)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[field], head["ChecksumType"]) == (whole, kind)
    part = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", PartNumber=2)
    assert (part[field], part["ChecksumType"]) == (of_parts[1], kind)
    asked = ["Checksum", "ObjectParts", "ETag"]
    found = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=asked, MaxParts=1)
    assert found["Checksum"] == {field: whole, "ChecksumType": kind}
    shown = found["ObjectParts"]
    assert (shown["TotalPartsCount"], shown["IsTruncated"], shown["NextPartNumberMarker"]) == (2, True, 1)
    assert shown["Parts"] == [{"PartNumber": 1, "Size": len(PART), field: of_parts[0]}]


def test_checksums_that_are_refused(s3: Any, bucket: str) -> None:
    begin = {"Bucket": bucket, "Key": "k"}
    invalid = (400, "InvalidRequest")
    assert refused(s3.create_multipart_upload, **begin, ChecksumAlgorithm="SHA1", ChecksumType=FULL_OBJECT) == invalid
    assert refused(s3.create_multipart_upload, **begin, ChecksumAlgorithm=DEFAULT, ChecksumType=COMPOSITE) == invalid
    named = {**begin, "UploadId": s3.create_multipart_upload(**begin, ChecksumAlgorithm="SHA256")["UploadId"]}
    assert refused(s3.upload_part, **named, PartNumber=1, Body=LAST, ChecksumAlgorithm="CRC32") == invalid
    wrong = checksums_of([Algorithm.SHA256], b"else")[Algorithm.SHA256]
    bad = (400, "BadDigest")
    assert refused(s3.upload_part, **named, PartNumber=1, Body=LAST, ChecksumSHA256=wrong) == bad
    digest = b64encode(md5(b"else").digest()).decode()
    part = {**named, "PartNumber": 1, "Body": LAST, "ChecksumAlgorithm": "SHA256"}
    assert refused(s3.upload_part, **part, ContentMD5=digest) == bad
    assert s3.list_parts(**named).get("Parts", []) == []
    parts = put_parts(s3, named, {2: LAST}, ChecksumAlgorithm="SHA256")
    # A composite checksum is over parts 1 to N.
    order = refused(s3.complete_multipart_upload, **named, MultipartUpload={"Parts": parts})
    assert order == (400, "InvalidPartOrder")
    s3.abort_multipart_upload(**named)


def test_completions_that_are_refused(s3: Any, upload: dict[str, str]) -> None:
    parts = put_parts(s3, upload, {1: LAST, 2: PART, 3: LAST})

    def answer(*wanted: dict[str, Any], **more: Any) -> tuple[int, str]:
        return refused(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": list(wanted)}, **more)

    assert answer() == (400, "MalformedXML")
    assert answer(parts[2], parts[1]) == (400, "InvalidPartOrder")
    assert answer(parts[1], parts[1]) == (400, "InvalidPartOrder")
    assert answer(parts[0], parts[1]) == (400, "EntityTooSmall")
    assert answer(parts[1], chosen(9, parts[2])) == (400, "InvalidPart")
    assert answer(parts[1] | {"ETag": '"else"'}) == (400, "InvalidPart")
    assert answer(parts[1], parts[2], MpuObjectSize=5) == (400, "InvalidRequest")
    s3.put_object(Bucket=upload["Bucket"], Key="k", Body=b"there")
    assert answer(parts[1], IfNoneMatch="*") == (412, "PreconditionFailed")
    assert answer(parts[1], IfMatch='"else"') == (412, "PreconditionFailed")
    assert body_of(s3.get_object(Bucket=upload["Bucket"], Key="k")) == b"there"
    bare = [part | {"ETag": part["ETag"].strip('"')} for part in parts[1:]]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": bare})
    assert body_of(s3.get_object(Bucket=upload["Bucket"], Key="k")) == WHOLE


def test_an_upload_may_be_empty(s3: Any, upload: dict[str, str]) -> None:
    parts = put_parts(s3, upload, {1: b""})
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert body_of(s3.get_object(Bucket=upload["Bucket"], Key="k")) == b""


def test_uploads_end(s3: Any, upload: dict[str, str]) -> None:
    for number in (0, 10_001):
        assert refused(s3.upload_part, **upload, PartNumber=number, Body=LAST) == (400, "InvalidArgument")
    put_parts(s3, upload, {1: LAST})
    s3.abort_multipart_upload(**upload)
    gone = (404, "NoSuchUpload")
    assert refused(s3.abort_multipart_upload, **upload) == gone
    assert refused(s3.upload_part, **upload, PartNumber=1, Body=LAST) == gone
    assert refused(s3.list_parts, **upload) == gone
    parts = {"Parts": [{"PartNumber": 1, "ETag": f'"{md5(LAST).hexdigest()}"'}]}
    assert refused(s3.complete_multipart_upload, **upload, MultipartUpload=parts) == gone
    assert refused(s3.abort_multipart_upload, **upload | {"UploadId": "none"}) == gone


def test_parts_that_are_copies(s3: Any, upload: dict[str, str]) -> None:
    bucket = upload["Bucket"]
    stored = s3.put_object(Bucket=bucket, Key="source", Body=WHOLE)
    source = {"Bucket": bucket, "Key": "source"}

    def copy(number: int, asked: str = "", **more: Any) -> dict[str, Any]:
        wanted = {"CopySourceRange": asked} if asked else {}
        answer = s3.upload_part_copy(**upload, PartNumber=number, CopySource=source, **wanted, **more)
        return chosen(number, answer["CopyPartResult"])

    parts = [copy(1), copy(2, "bytes=0-2"), copy(3, f"bytes=3-{len(PART) + 2}"), copy(4, "bytes=0-0")]
    assert parts[0]["ETag"] == stored["ETag"]
    too_small = refused(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts})
    assert too_small == (400, "EntityTooSmall")
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [parts[0], parts[2], parts[3]]})
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == WHOLE + WHOLE[3 : len(PART) + 3] + WHOLE[:1]


def test_parts_that_cannot_be_copied(s3: Any, upload: dict[str, str]) -> None:
    bucket = upload["Bucket"]
    s3.put_object(Bucket=bucket, Key="source", Body=LAST)
    copy = {**upload, "PartNumber": 1, "CopySource": {"Bucket": bucket, "Key": "source"}}
    for asked in ("bytes=0-7", "bytes=7-9", "bytes=3-2", "bytes=3-", "bytes=-3", "3-4"):
        assert refused(s3.upload_part_copy, **copy, CopySourceRange=asked) == (400, "InvalidArgument")
    assert refused(s3.upload_part_copy, **copy, CopySourceIfMatch='"else"') == (412, "PreconditionFailed")
    assert refused(s3.upload_part_copy, **copy | {"CopySource": f"{bucket}/absent"}) == (404, "NoSuchKey")


def test_listings_of_parts(s3: Any, upload: dict[str, str]) -> None:
    put_parts(s3, upload, {number: bytes([number]) * number for number in range(1, 6)})
    first = s3.list_parts(**upload, MaxParts=2)
    assert [(part["PartNumber"], part["Size"]) for part in first["Parts"]] == [(1, 1), (2, 2)]
    assert (first["IsTruncated"], first["NextPartNumberMarker"], first["MaxParts"]) == (True, 2, 2)
    rest = s3.list_parts(**upload, PartNumberMarker=2)
    assert [part["PartNumber"] for part in rest["Parts"]] == [3, 4, 5]
    assert rest["Parts"][0]["ETag"] == f'"{md5(bytes([3]) * 3).hexdigest()}"'
    assert not rest["IsTruncated"]
    for name in ("Initiator", "Owner", "StorageClass", "Key", "UploadId", "Bucket"):
        assert rest[name], name


def test_listings_of_uploads(s3: Any, bucket: str) -> None:
    begun = {}
    for key in ("a", "dir/x", "dir/y", "\x01ü +", "z"):
        begun[key] = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    named = {"ChecksumAlgorithm": "CRC32C", "ChecksumType": "FULL_OBJECT"}
    second = s3.create_multipart_upload(Bucket=bucket, Key="a", **named)["UploadId"]
    keys = ["\x01ü +", "a", "a", "dir/x", "dir/y", "z"]
    found = s3.list_multipart_uploads(Bucket=bucket, EncodingType="url")
    assert [each["Key"] for each in found["Uploads"]] == ["%01%C3%BC+%2B", *keys[1:]]
    assert [each["UploadId"] for each in found["Uploads"]][1:3] == [begun["a"], second]
    assert "ChecksumAlgorithm" not in found["Uploads"][1]
    assert found["Uploads"][2].items() >= named.items()
    assert found["Uploads"][2]["Initiator"]["ID"] == "test:tester"
    assert not found["IsTruncated"]
    pages = s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, Prefix="", PaginationConfig={"PageSize": 2}, EncodingType="url"
    )
    assert [each["Key"] for page in pages for each in page["Uploads"]] == ["%01%C3%BC+%2B", *keys[1:]]
    grouped = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", Prefix="d")
    assert grouped["CommonPrefixes"] == [{"Prefix": "dir/"}]
    assert "Uploads" not in grouped
    assert [each["Key"] for each in s3.list_multipart_uploads(Bucket=bucket, KeyMarker="dir/y")["Uploads"]] == ["z"]
    for key, upload in [*begun.items(), ("a", second)]:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_completing_makes_a_version(s3: Any, bucket: str) -> None:
    before = s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    named = {"Bucket": bucket, "Key": "k"}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    parts = put_parts(s3, named, {1: LAST})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    got = s3.get_object(Bucket=bucket, Key="k", VersionId=done["VersionId"])
    assert (body_of(got), got["VersionId"]) == (LAST, done["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["ETag"] == before["ETag"]


def test_managed_transfers(s3: Any, bucket: str) -> None:
    content = WHOLE * 3
    config = TransferConfig(multipart_threshold=1 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(content), bucket, "k", Config=config)
    got = io.BytesIO()
    s3.download_fileobj(bucket, "k", got, Config=config)
    assert got.getvalue() == content
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=config)
    assert body_of(s3.get_object(Bucket=bucket, Key="copy")) == content
    # A copy in one piece is an object of one part, whatever its source is made of.
    copied = s3.copy_object(Bucket=bucket, Key="one", CopySource={"Bucket": bucket, "Key": "k"})["CopyObjectResult"]
    assert (copied["ETag"], copied["ChecksumType"]) == (f'"{md5(content).hexdigest()}"', FULL_OBJECT)
