"""boto3: versions of objects, and what the Swift API sees of what S3 writes, and the reverse."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from objstore.checksums import Algorithm, checksums_of
from tests.functional.client import Client
from tests.functional.clients.s3 import body_of, headers_of, new_name, refused

# boto3 drops connections whose request was refused before its body was sent.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SMALL = b"content " * 20


def test_versions(s3: Any, bucket: str) -> None:
    named = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**named, Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first, second = (s3.put_object(**named, Body=body)["VersionId"] for body in (b"first", b"second"))
    s3.put_object_tagging(**named, VersionId=first, Tagging={"TagSet": [{"Key": "of", "Value": "first"}]})
    assert s3.get_object_tagging(**named)["TagSet"] == []
    marker = s3.delete_object(**named)
    assert marker["DeleteMarker"]
    with pytest.raises(s3.exceptions.ClientError) as gone:
        s3.get_object(**named)
    headers = headers_of(gone.value.response)
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", marker["VersionId"])
    assert refused(s3.head_object, **named, VersionId=marker["VersionId"]) == (405, "405")
    for version, content in ((first, b"first"), (second, b"second"), ("null", b"before")):
        got = s3.get_object(**named, VersionId=version)
        assert (body_of(got), got["VersionId"]) == (content, version)
    source = {"Bucket": bucket, "Key": "k", "VersionId": first}
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert (copied["CopySourceVersionId"], "VersionId" in copied) == (first, True)
    of_marker = source | {"VersionId": marker["VersionId"]}
    assert refused(s3.copy_object, Bucket=bucket, Key="copy", CopySource=of_marker) == (400, "InvalidRequest")
    s3.put_object(**named, Body=b"third", IfNoneMatch="*")  # a delete marker is no object
    removed = s3.delete_object(**named, VersionId=marker["VersionId"])
    assert (removed["DeleteMarker"], removed["VersionId"]) == (True, marker["VersionId"])
    assert s3.delete_object(**named, VersionId=first)["VersionId"] == first
    assert refused(s3.get_object, **named, VersionId=first) == (404, "NoSuchVersion")
    assert refused(s3.get_object, **named, VersionId="no-id") == (400, "InvalidArgument")
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}, {"Key": "k", "VersionId": second}]})
    by_version = {each.get("VersionId"): each for each in done["Deleted"]}
    assert by_version[None]["DeleteMarker"]
    assert by_version[second] == {"Key": "k", "VersionId": second}


def test_suspended_versions(s3: Any, bucket: str) -> None:
    named = {"Bucket": bucket, "Key": "k"}
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    kept = s3.put_object(**named, Body=b"kept")["VersionId"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    for body in (b"one", b"two"):
        assert "VersionId" not in s3.put_object(**named, Body=body)
    got = s3.get_object(**named)
    assert (body_of(got), got["VersionId"]) == (b"two", "null")
    marker = s3.delete_object(**named)
    assert (marker["DeleteMarker"], marker["VersionId"]) == (True, "null")
    assert refused(s3.get_object, **named) == (404, "NoSuchKey")
    s3.delete_object(**named, VersionId="null")
    assert body_of(s3.get_object(**named)) == b"kept"
    s3.delete_object(**named, VersionId=kept)


def test_what_swift_writes_s3_reads(s3: Any, client: Client, bucket: str) -> None:
    headers = {"X-Object-Meta-My-Name": "v", "Content-Type": "a/b", "Cache-Control": "x"}
    assert client.put(f"{bucket}/k", SMALL, headers).status == 201
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (body_of(got), got["Metadata"], got["ContentType"]) == (SMALL, {"my-name": "v"}, "a/b")
    for number in (1, 2):
        assert client.put(f"{bucket}/part/{number}", bytes([number]) * 1000).status == 201
    assert client.put(f"{bucket}/dynamic", b"", {"X-Object-Manifest": f"{bucket}/part/"}).status == 201
    rows = [{"path": f"/{bucket}/part/{number}"} for number in (1, 2)]
    manifest = str(rows).replace("'", '"').encode()
    assert client.request("PUT", f"{bucket}/static", None, manifest, **{"multipart-manifest": "put"}).status == 201
    assert client.put(f"{bucket}/link", b"", {"X-Symlink-Target": f"{bucket}/static"}).status == 201
    for key in ("dynamic", "static", "link"):
        assert body_of(s3.get_object(Bucket=bucket, Key=key)) == b"\1" * 1000 + b"\2" * 1000
        assert body_of(s3.get_object(Bucket=bucket, Key=key, Range="bytes=998-1001")) == b"\1\1\2\2"
        assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == 2000
        s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
        assert body_of(s3.get_object(Bucket=bucket, Key="copy")) == b"\1" * 1000 + b"\2" * 1000
    part = s3.get_object(Bucket=bucket, Key="static", PartNumber=2)
    assert (body_of(part), part["PartsCount"]) == (b"\2" * 1000, 2)


def test_what_s3_writes_swift_changes(s3: Any, client: Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, Metadata={"a": "1"}, ChecksumAlgorithm="SHA1")
    assert client.request("POST", f"{bucket}/k", {"X-Object-Meta-B": "2"}).status == 202
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["Metadata"] == {"b": "2"}
    assert head["ChecksumSHA1"] == checksums_of([Algorithm.SHA1], SMALL)[Algorithm.SHA1]
    # A copy has the checksum if it has the bytes.
    assert client.request("COPY", f"{bucket}/k", {"Destination": f"{bucket}/whole"}).status == 201
    assert client.request("COPY", f"{bucket}/k", {"Destination": f"{bucket}/part", "Range": "bytes=0-3"}).status == 201
    assert s3.head_object(Bucket=bucket, Key="whole", ChecksumMode="ENABLED")["ChecksumSHA1"] == head["ChecksumSHA1"]
    assert "ChecksumSHA1" not in s3.head_object(Bucket=bucket, Key="part", ChecksumMode="ENABLED")


def test_s3_does_not_write_past_an_archive(s3: Any, client: Client, bucket: str) -> None:
    archive = f"{bucket}-archive"
    assert client.put(archive).status == 201
    assert client.post(bucket, {"X-Versions-Location": archive}).status == 204
    assert client.put(f"{bucket}/k", b"1").status == 201
    named = {"Bucket": bucket, "Key": "k"}
    assert body_of(s3.get_object(**named)) == b"1"
    for call, more in (
        (s3.put_object, {"Body": b"2"}),
        (s3.delete_object, {}),
        (s3.copy_object, {"CopySource": f"{bucket}/k", "MetadataDirective": "REPLACE"}),
        (s3.create_multipart_upload, {}),
    ):
        assert refused(call, **named, **more) == (409, "InvalidBucketState")
    several = {"Objects": [{"Key": "k"}]}
    assert refused(s3.delete_objects, Bucket=bucket, Delete=several) == (409, "InvalidBucketState")
    assert client.post(bucket, {"X-Remove-Versions-Location": "x"}).status == 204
    s3.put_object(**named, Body=b"2")
    assert client.delete(archive).status == 204


def test_tags_and_access_lists_changed_at_one_moment(s3: Any, client: Client, bucket: str) -> None:
    named = {"Bucket": bucket, "Key": "cat"}
    s3.put_object(**named, Body=b"meow")
    for turn in range(10):
        acl, tags = ("public-read", "private")[turn % 2], [{"Key": "turn", "Value": str(turn)}]
        with ThreadPoolExecutor(2) as pool:
            changes = [
                pool.submit(s3.put_object_acl, **named, ACL=acl),
                pool.submit(s3.put_object_tagging, **named, Tagging={"TagSet": tags}),
            ]
            for change in changes:
                change.result(60)
        assert s3.get_object_tagging(**named)["TagSet"] == tags
        assert len(s3.get_object_acl(**named)["Grants"]) == (2 if acl == "public-read" else 1)
    s3.put_object_acl(**named, ACL="public-read")
    assert client.post(f"{bucket}/cat", headers={"X-Object-Meta-Colour": "red"}).status == 202
    assert s3.head_object(**named)["Metadata"] == {"colour": "red"}
    assert s3.get_object_tagging(**named)["TagSet"] == tags
    assert len(s3.get_object_acl(**named)["Grants"]) == 2
    s3.delete_object_tagging(**named)
    assert "TagCount" not in s3.get_object(**named)


def test_parts_of_s3_are_one_object_of_swift(s3: Any, client: Client, bucket: str) -> None:
    named, part = {"Bucket": bucket, "Key": "dir/large"}, b"\1" * 5_242_880
    upload = s3.create_multipart_upload(**named, ContentType="a/b", Metadata={"colour": "red"})["UploadId"]
    tags = []
    for number, body in ((1, part), (2, b"end")):
        etag = s3.upload_part(**named, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        tags.append({"PartNumber": number, "ETag": etag})
    done = s3.complete_multipart_upload(**named, UploadId=upload, MultipartUpload={"Parts": tags})
    got = client.get(f"{bucket}/dir/large")
    assert got.body == part + b"end"
    assert (got.headers["content-type"], got.headers["x-object-meta-colour"]) == ("a/b", "red")
    assert got.headers["etag"].strip('"') == done["ETag"].strip('"')
    assert client.get(f"{bucket}/dir/large", {"Range": "bytes=5242879-5242881"}).body == b"\1en"
    [row] = client.rows(bucket)
    assert (row["name"], row["bytes"], row["slo_etag"]) == ("dir/large", 5_242_883, done["ETag"])
    assert client.request("COPY", f"{bucket}/dir/large", {"Destination": f"{bucket}/copy"}).status == 201
    assert body_of(s3.get_object(Bucket=bucket, Key="copy")) == part + b"end"
    # Neither API shows in the account where the parts lie.
    assert [row["name"] for row in client.rows() if bucket in row["name"]] == [bucket]
    assert client.delete(f"{bucket}/dir/large").status == 204
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["copy"]


def test_both_list_the_same(s3: Any, client: Client, bucket: str) -> None:
    keys = ["a", "a/", "a/b", "a//c", "\u00fc", "z+%41 &"]
    for number, key in enumerate(keys):
        if number % 2:
            s3.put_object(Bucket=bucket, Key=key, Body=SMALL)
        else:
            assert client.put(f"{bucket}/{key}", SMALL).status == 201
    rows, listed = client.rows(bucket), s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [row["name"] for row in rows] == [each["Key"] for each in listed] == sorted(keys, key=str.encode)
    assert [(row["hash"], row["bytes"]) for row in rows] == [(each["ETag"].strip('"'), each["Size"]) for each in listed]
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    subdirs = [row["subdir"] for row in client.rows(bucket, delimiter="/") if "subdir" in row]
    assert subdirs == [each["Prefix"] for each in page["CommonPrefixes"]] == ["a/"]


def test_both_see_the_same_versions(s3: Any, client: Client, bucket: str) -> None:
    assert client.post(bucket, {"X-Versions-Enabled": "true"}).status == 204
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    by_s3 = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    by_swift = client.put(f"{bucket}/k", b"2").headers["x-object-version-id"]
    assert body_of(s3.get_object(Bucket=bucket, Key="k", VersionId=by_swift)) == b"2"
    assert client.get(f"{bucket}/k", **{"version-id": by_s3}).body == b"1"
    assert client.delete(f"{bucket}/k").status == 204
    found = s3.list_object_versions(Bucket=bucket)
    assert [each["VersionId"] for each in found["Versions"]] == [by_swift, by_s3]
    [marker] = found["DeleteMarkers"]
    rows = client.rows(bucket, versions="")
    assert [row["version_id"] for row in rows] == [marker["VersionId"], by_swift, by_s3]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])
    assert client.get(f"{bucket}/k").body == b"2"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert client.head(bucket).headers["x-versions-enabled"] == "False"


def test_who_may_read(s3: Any, client: Client, bucket: str) -> None:
    anybody = client.anonymous()
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    assert anybody.get(f"{bucket}/k").status == 401
    # What the Swift API opens, the other one serves, and the reverse.
    assert client.post(bucket, {"X-Container-Read": ".r:*"}).status == 204
    unsigned = anybody.raw("GET", f"/{bucket}/k")
    assert (unsigned.status, unsigned.body) == (200, b"1")
    assert client.post(bucket, {"X-Container-Read": ""}).status == 204
    assert anybody.raw("GET", f"/{bucket}/k").status == 403
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert anybody.raw("GET", f"/{bucket}/k").body == b"1"


def test_a_location_names_a_storage_policy(s3: Any, client: Client) -> None:
    name = new_name()
    wanted = {"LocationConstraint": ":fragments"}
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=wanted)
    assert client.head(name).headers["x-storage-policy"] == "fragments"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=wanted)
    other = {"LocationConstraint": ":gold"}
    refusal = refused(s3.create_bucket, Bucket=name, CreateBucketConfiguration=other)
    assert refusal == (409, "BucketAlreadyOwnedByYou")
    s3.put_object(Bucket=name, Key="o", Body=b"x" * 100_000, StorageClass="GLACIER_IR")
    assert s3.list_objects_v2(Bucket=name)["Contents"][0]["StorageClass"] == "GLACIER_IR"
    s3.delete_object(Bucket=name, Key="o")
    s3.delete_bucket(Bucket=name)
