"""What clients have tripped over in other stores: one test for each row of the table in docs/compatibility.md."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import zlib
from itertools import takewhile
from typing import Any, Final

import pytest
import requests

from tests.functional.clients.probe import Probe
from tests.functional.clients.s3 import body_of, new_name, refused
from tests.functional.clients.test_boto3_sts import client_of, with_credentials
from tests.functional.conftest import REPLICATION
from tests.functional.servers import Store
from tests.tidy.repository import ROOT

PART: Final = b"p" * (5 << 20)
CRC32: Final = base64.b64encode(zlib.crc32(PART).to_bytes(4, "big")).decode()


@pytest.fixture
def policy() -> str:
    """How objects are stored makes no difference here."""
    return REPLICATION


@pytest.fixture
def probe(store: Store, s3: Any, bucket: str) -> Probe:
    return Probe(store, s3, bucket)


def test_the_table_of_the_documentation_has_all_of_them() -> None:
    table = (ROOT / "docs/compatibility.md").read_text().partition("| check |")[2].splitlines()[2:]
    rows = list(takewhile(lambda line: line.startswith("|"), table))
    named = {"test_" + re.sub(r"[^a-z0-9]+", "_", row.split(" | ")[0].lower()).strip("_") for row in rows}
    tests = {name for name in vars(sys.modules[__name__]) if name.startswith("test_")}
    assert named == tests - {"test_the_table_of_the_documentation_has_all_of_them"}


def test_unsigned_trailer(probe: Probe) -> None:
    assert probe.put_with_trailer("/k", b"content").status_code == 200


def test_chunked_without_content_length(probe: Probe) -> None:
    assert probe.put_with_trailer("/k", b"content", chunked=True).status_code == 200
    assert body_of(probe.get_object(Key="k")) == b"content"


def test_framing_is_no_content(probe: Probe) -> None:
    probe.put_with_trailer("/k", b"content")
    assert body_of(probe.get_object(Key="k")) == b"content"


def test_aws_chunked_is_not_kept(probe: Probe) -> None:
    probe.put_with_trailer("/k", b"content")
    probe.put_with_trailer("/both", b"content", coding="aws-chunked,br")
    assert "ContentEncoding" not in probe.head_object(Key="k")
    assert probe.head_object(Key="both")["ContentEncoding"] == "br"


def test_content_encoding_is_kept(probe: Probe) -> None:
    probe.put("k", ContentEncoding="br")
    assert probe.head_object(Key="k")["ContentEncoding"] == "br"


def test_a_part_is_as_long_as_its_content(probe: Probe) -> None:
    upload = probe.begin()
    assert probe.put_with_trailer(f"/k?partNumber=1&uploadId={upload['UploadId']}", b"content").status_code == 200
    assert [part["Size"] for part in probe.list_parts(**upload)["Parts"]] == [7]


def test_an_empty_part_with_a_trailer(probe: Probe) -> None:
    upload = probe.begin()
    assert probe.put_with_trailer(f"/k?partNumber=1&uploadId={upload['UploadId']}", b"").status_code == 200


def test_multi_delete_with_either_checksum(probe: Probe) -> None:
    probe.put("a"), probe.put("b")
    assert probe.delete_objects(Delete={"Objects": [{"Key": "a"}]})["Deleted"] == [{"Key": "a"}]
    document = b"<Delete><Object><Key>b</Key></Object></Delete>"
    md5 = base64.b64encode(hashlib.md5(document).digest()).decode()
    assert "<Deleted>" in probe.raw("POST", "?delete", document, Content_MD5=md5).text


def test_a_wrong_checksum(probe: Probe) -> None:
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    assert probe.refused("put_object", Key="k", Body=b"content", ChecksumSHA256=wrong) == (400, "BadDigest")
    assert probe.refused("head_object", Key="k")[0] == 404


def test_completion_with_checksums_of_parts(probe: Probe) -> None:
    upload = probe.begin(ChecksumAlgorithm="CRC32")
    part = probe.upload_part(**upload, PartNumber=1, Body=PART, ChecksumAlgorithm="CRC32")
    done = probe.complete(upload, {"ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
    assert part["ChecksumCRC32"] == CRC32 and done["ChecksumCRC32"].endswith("-1")


def test_a_copied_part_has_a_checksum(probe: Probe) -> None:
    probe.put("source", PART)
    upload = probe.begin(ChecksumAlgorithm="CRC32")
    source = {"Bucket": probe.bucket, "Key": "source"}
    part = probe.upload_part_copy(**upload, PartNumber=1, CopySource=source)["CopyPartResult"]
    assert part["ChecksumCRC32"] == CRC32


def test_sha_256_in_a_trailer(probe: Probe) -> None:
    probe.put_with_trailer("/k", b"content")
    found = probe.head_object(Key="k", ChecksumMode="ENABLED")["ChecksumSHA256"]
    assert found == base64.b64encode(hashlib.sha256(b"content").digest()).decode()


def test_the_etag_of_parts(probe: Probe) -> None:
    upload = probe.begin()
    etags = [probe.upload_part(**upload, PartNumber=n, Body=body)["ETag"] for n, body in ((1, PART), (2, b"end"))]
    done = probe.complete(upload, *({"ETag": etag} for etag in etags))
    digests = b"".join(hashlib.md5(body).digest() for body in (PART, b"end"))
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-2"' == probe.head_object(Key="k")["ETag"]


def test_copies_tell_etags(probe: Probe) -> None:
    etag, source = probe.put("k")["ETag"], {"Bucket": probe.bucket, "Key": "k"}
    assert probe.copy_object(Key="copy", CopySource=source)["CopyObjectResult"]["ETag"] == etag
    part = probe.upload_part_copy(**probe.begin("parts"), PartNumber=1, CopySource=source)
    assert part["CopyPartResult"]["ETag"] == etag


def test_a_key_with_a_final_slash(probe: Probe) -> None:
    assert probe.put("dir/", b"")["ETag"] == f'"{hashlib.md5(b"").hexdigest()}"'
    assert [each["Key"] for each in probe.list_objects_v2()["Contents"]] == ["dir/"]


def test_pages_of_v2_have_tokens(probe: Probe) -> None:
    probe.put("a"), probe.put("b")
    page = probe.list_objects_v2(MaxKeys=1)
    assert page["IsTruncated"] and page["NextContinuationToken"] and "NextMarker" not in page


def test_delete_markers_fill_no_page(probe: Probe) -> None:
    probe.keep_versions()
    for number in range(5):
        probe.put(f"gone{number}"), probe.delete_object(Key=f"gone{number}")
    probe.put("z1"), probe.put("z2")
    page = probe.list_objects_v2(MaxKeys=1)
    assert page["IsTruncated"] and [each["Key"] for each in page["Contents"]] == ["z1"]
    assert len(probe.pages("list_objects_v2", PaginationConfig={"PageSize": 1})) == 2


def test_tokens_get_on_with_any_delimiter(probe: Probe) -> None:
    for key in ("a-1", "a-2", "b-1", "b-", "c"):
        probe.put(key)
    pages = probe.pages("list_objects_v2", Delimiter="-", PaginationConfig={"PageSize": 1})
    tokens = [page["NextContinuationToken"] for page in pages if page["IsTruncated"]]
    assert len(pages) == 3 and len(set(tokens)) == 2


def test_a_common_prefix_comes_once(probe: Probe) -> None:
    for number in range(5):
        probe.put(f"d/{number}")
    for operation in ("list_objects", "list_objects_v2", "list_object_versions"):
        pages = probe.pages(operation, Delimiter="/", PaginationConfig={"PageSize": 1})
        assert [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])] == ["d/"]


def test_no_common_prefix_of_what_is_deleted(probe: Probe) -> None:
    probe.keep_versions()
    probe.put("d/x"), probe.delete_object(Key="d/x")
    assert "CommonPrefixes" not in probe.list_objects_v2(Delimiter="/")


def test_an_older_key_that_is_deleted_is_gone(probe: Probe) -> None:
    probe.put("k")
    probe.keep_versions()
    probe.delete_object(Key="k")
    assert probe.list_objects_v2()["KeyCount"] == 0


def test_no_made_up_folders_among_versions(probe: Probe) -> None:
    probe.keep_versions()
    probe.put("a/b/c")
    assert [each["Key"] for each in probe.list_object_versions(Prefix="a/")["Versions"]] == ["a/b/c"]
    page = probe.list_object_versions(Prefix="a/", Delimiter="/")
    assert "Versions" not in page and page["CommonPrefixes"] == [{"Prefix": "a/b/"}]


def test_versions_come_in_pages(probe: Probe) -> None:
    probe.keep_versions()
    made = [probe.put("k")["VersionId"] for _ in range(5)]
    pages = probe.pages("list_object_versions", PaginationConfig={"PageSize": 2})
    assert [each["VersionId"] for page in pages for each in page["Versions"]] == made[::-1]


def test_v1_tells_owners(probe: Probe) -> None:
    probe.put("k")
    assert probe.list_objects()["Contents"][0]["Owner"]["ID"]


def test_listings_of_no_bucket(probe: Probe) -> None:
    for operation in ("list_objects", "list_objects_v2", "list_object_versions", "list_multipart_uploads"):
        assert refused(getattr(probe.s3, operation), Bucket=new_name()) == (404, "NoSuchBucket")


def test_markers_and_uploads_are_encoded(probe: Probe) -> None:
    for key in ("a +\u00fc/x", "b/x"):
        probe.put(key), probe.begin(key)
    page = probe.raw("GET", "?delimiter=%2F&encoding-type=url&max-keys=1").text
    assert "<NextMarker>a+%2B%C3%BC/</NextMarker>" in page
    uploads = probe.raw("GET", "?encoding-type=url&max-uploads=1&uploads=").text
    assert "<Key>a+%2B%C3%BC/x</Key>" in uploads and "<NextKeyMarker>a+%2B%C3%BC/x</NextKeyMarker>" in uploads


def test_control_characters_in_keys(probe: Probe) -> None:
    probe.put("a\x1fb")
    assert [each["Key"] for each in probe.list_objects_v2()["Contents"]] == ["a\x1fb"]


def test_a_plus_in_keys(probe: Probe) -> None:
    probe.put("a+b")
    assert "<Key>a+b</Key>" in probe.raw("GET", "?list-type=2").text
    assert [each["Key"] for each in probe.list_objects_v2(Prefix="a+")["Contents"]] == ["a+b"]


def test_uploads_by_prefix(probe: Probe) -> None:
    for key in ("a/1", "a/2", "b/1"):
        probe.begin(key)
    assert [each["Key"] for each in probe.list_multipart_uploads(Prefix="a/")["Uploads"]] == ["a/1", "a/2"]


def test_a_key_that_begins_with_a_slash(probe: Probe) -> None:
    probe.put("/foo", b"slash")
    assert body_of(probe.get_object(Key="/foo")) == b"slash"
    assert probe.refused("head_object", Key="foo")[0] == 404


def test_if_none_match(probe: Probe) -> None:
    probe.put("k")
    assert probe.refused("put_object", Key="k", Body=b"y", IfNoneMatch="*") == (412, "PreconditionFailed")


def test_if_none_match_over_a_delete_marker(probe: Probe) -> None:
    probe.keep_versions()
    probe.put("k"), probe.delete_object(Key="k")
    assert probe.put("k", b"y", IfNoneMatch="*")["VersionId"]


def test_conditions_on_the_source_of_a_copy(probe: Probe) -> None:
    probe.put("k")
    source = {"Bucket": probe.bucket, "Key": "k"}
    for condition in ({"CopySourceIfMatch": '"0"'}, {"CopySourceIfUnmodifiedSince": 1}):
        assert probe.refused("copy_object", Key="c", CopySource=source, **condition) == (412, "PreconditionFailed")
    upload = probe.begin()
    copied = probe.refused("upload_part_copy", **upload, PartNumber=1, CopySource=source, CopySourceIfMatch='"0"')
    assert copied == (412, "PreconditionFailed")


def test_head_of_a_folder(probe: Probe) -> None:
    probe.put("dir/x")
    assert probe.refused("head_object", Key="dir")[0] == probe.refused("head_object", Key="dir/")[0] == 404


def test_writes_tell_versions(probe: Probe) -> None:
    probe.keep_versions()
    assert probe.put("k")["VersionId"]
    upload = probe.begin()
    part = probe.upload_part(**upload, PartNumber=1, Body=b"end")
    assert probe.complete(upload, {"ETag": part["ETag"]})["VersionId"]


def test_completion_makes_a_version(probe: Probe) -> None:
    probe.keep_versions()
    first, upload = probe.put("k", b"first")["VersionId"], probe.begin()
    part = probe.upload_part(**upload, PartNumber=1, Body=b"parts")
    assert probe.complete(upload, {"ETag": part["ETag"]})["VersionId"] != first
    assert body_of(probe.get_object(Key="k", VersionId=first)) == b"first"
    assert body_of(probe.get_object(Key="k")) == b"parts"


def test_completion_over_the_null_marker(probe: Probe) -> None:
    probe.keep_versions("Suspended")
    probe.delete_object(Key="k")
    upload = probe.begin()
    part = probe.upload_part(**upload, PartNumber=1, Body=b"parts")
    probe.complete(upload, {"ETag": part["ETag"]})
    assert body_of(probe.get_object(Key="k")) == b"parts"
    assert "DeleteMarkers" not in probe.list_object_versions()


def test_head_with_a_range(probe: Probe) -> None:
    probe.put("k", b"0123456789")
    answer = probe.head_object(Key="k", Range="bytes=2-4")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206 and answer["ContentLength"] == 3


def test_a_lifecycle_that_only_aborts_uploads(probe: Probe) -> None:
    rule = {
        "ID": "a",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
    }
    probe.put_bucket_lifecycle_configuration(LifecycleConfiguration={"Rules": [rule]})
    assert probe.get_bucket_lifecycle_configuration()["Rules"] == [rule]


def test_subresources_make_no_buckets(probe: Probe) -> None:
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    probe.put_bucket_cors(CORSConfiguration={"CORSRules": [rule]})
    probe.put("k", b"stays")
    assert probe.raw("PUT", "/k?unknown", b"y").status_code == probe.raw("PUT", "?unknown").status_code == 501
    assert body_of(probe.get_object(Key="k")) == b"stays"


def test_403_tells_the_region(probe: Probe) -> None:
    answer = requests.head(f"{probe.store.url}/{probe.bucket}", timeout=30)
    assert (answer.status_code, answer.headers["x-amz-bucket-region"]) == (403, "us-east-1")


def test_completion_without_parts(probe: Probe) -> None:
    upload = probe.begin()
    assert probe.refused("complete_multipart_upload", **upload, MultipartUpload={"Parts": []})[0] == 400
    part = probe.upload_part(**upload, PartNumber=1, Body=b"")
    probe.complete(upload, {"ETag": part["ETag"]})
    assert probe.head_object(Key="k")["ContentLength"] == 0


def test_a_copy_onto_itself_under_a_customer_s_key(probe: Probe) -> None:
    own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    source = {f"CopySource{name}": value for name, value in own.items()}
    probe.put("k", b"secret", **own)
    probe.copy_object(
        Key="k", CopySource={"Bucket": probe.bucket, "Key": "k"}, MetadataDirective="REPLACE", **own, **source
    )
    assert body_of(probe.get_object(Key="k", **own)) == b"secret"


def test_public_read(probe: Probe) -> None:
    probe.put("k", b"public", ACL="public-read")
    assert requests.get(f"{probe.store.url}/{probe.bucket}/k", timeout=30).content == b"public"


def test_bucket_policies_bind_sessions(probe: Probe) -> None:
    probe.put("k")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{probe.bucket}/*",
    }
    probe.put_bucket_policy(Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    session = with_credentials(probe.store, client_of(probe.store, "sts").get_session_token())
    assert refused(session.get_object, Bucket=probe.bucket, Key="k") == (403, "AccessDenied")
    probe.delete_bucket_policy()
    assert body_of(session.get_object(Bucket=probe.bucket, Key="k")) == b"x"


def test_an_empty_delimiter_and_unknown_headers(probe: Probe) -> None:
    probe.put("a/b")
    answer = probe.raw("GET", "?delimiter=&list-type=2&metadata=true", X_Minio_Extract="true")
    assert answer.status_code == 200 and "<Key>a/b</Key>" in answer.text


def test_a_delete_marker_is_not_copied(probe: Probe) -> None:
    probe.keep_versions()
    probe.put("k")
    marker = probe.delete_object(Key="k")["VersionId"]
    source = {"Bucket": probe.bucket, "Key": "k"}
    assert probe.refused("copy_object", Key="c", CopySource=source) == (404, "NoSuchKey")
    assert probe.refused("copy_object", Key="c", CopySource=source | {"VersionId": marker})[0] == 400


def test_markers_are_exclusive(probe: Probe) -> None:
    probe.keep_versions()
    for key in ("a", "b", "c"):
        probe.put(key), probe.put(key), probe.begin(key)
    assert [each["Key"] for each in probe.list_object_versions(KeyMarker="a")["Versions"]] == ["b", "b", "c", "c"]
    assert [each["Key"] for each in probe.list_multipart_uploads(KeyMarker="a")["Uploads"]] == ["b", "c"]
