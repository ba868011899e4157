"""boto3: encryption at rest, in the words of the S3 API; and that no device has what is encrypted as it is."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from objstore.headers import Client as Names
from tests.functional.client import Client
from tests.functional.clients.s3 import body_of, headers_of, refused
from tests.functional.servers import Store, run_all
from tests.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
MARKER = b"a-marker-that-no-device-may-have"
SMALL = MARKER + b" in a small body"
LARGE = (MARKER + bytes(range(256))) * 1200  # over several chunks
PART = LARGE * 17  # more than 5 MiB
KEY = bytes(range(32))
OTHER = bytes(32)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "s3": {"ServerSideEncryption": "AES256"},
    "kms": {"ServerSideEncryption": "aws:kms", "BucketKeyEnabled": True},
    "customer": {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY},
}
ENCRYPTED = ["s3", "kms", "customer"]


def reading(kind: str) -> dict[str, Any]:
    return KINDS[kind] if kind == "customer" else {}


def source(kind: str) -> dict[str, Any]:
    return {f"CopySource{name}": value for name, value in reading(kind).items()}


def plain_md5(*parts: bytes) -> str:
    if len(parts) == 1:
        return f'"{md5(parts[0]).hexdigest()}"'
    return f'"{md5(b"".join(md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'


@pytest.mark.parametrize("kind", ENCRYPTED)
@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_objects_come_back(s3: Any, bucket: str, kind: str, body: bytes) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, Metadata={"a": "b c"}, **KINDS[kind])
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **reading(kind))
    got = s3.get_object(Bucket=bucket, Key="k", **reading(kind))
    assert body_of(got) == body
    assert head["ContentLength"] == got["ContentLength"] == len(body)
    assert put["ETag"] == head["ETag"] == got["ETag"]
    assert (put["ETag"] == plain_md5(body)) is (kind == "s3")
    assert head["ChecksumCRC32"] == put["ChecksumCRC32"]
    assert head["Metadata"] == {"a": "b c"}
    for answer in (put, head, got):
        if kind == "customer":
            assert answer["SSECustomerAlgorithm"] == "AES256"
            assert answer["SSECustomerKeyMD5"] == b64encode(md5(KEY).digest()).decode()
        else:
            assert answer["ServerSideEncryption"] == KINDS[kind]["ServerSideEncryption"]
            assert ("SSEKMSKeyId" in answer) is (kind == "kms") is answer.get("BucketKeyEnabled", False)
    [listed] = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (listed["ETag"], listed["Size"]) == (put["ETag"], len(body))
    [version] = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert version["ETag"] == put["ETag"]


@pytest.mark.parametrize("kind", ENCRYPTED)
def test_ranges_and_conditions(s3: Any, bucket: str, kind: str) -> None:
    for body in (SMALL, LARGE):
        etag = s3.put_object(Bucket=bucket, Key="k", Body=body, **KINDS[kind])["ETag"]
        named = {"Bucket": bucket, "Key": "k", **reading(kind)}
        for first, last in ((0, 0), (5, 20), (65_535, 65_536), (65_536, 200_000), (len(body) - 3, len(body) + 9)):
            if first >= len(body):
                assert refused(s3.get_object, **named, Range=f"bytes={first}-{last}")[0] == 416
                continue
            got = s3.get_object(**named, Range=f"bytes={first}-{last}")
            assert body_of(got) == body[first : last + 1]
            assert got["ContentRange"] == f"bytes {first}-{min(last, len(body) - 1)}/{len(body)}"
        assert body_of(s3.get_object(**named, Range="bytes=-7")) == body[-7:]
        assert body_of(s3.get_object(**named, IfMatch=etag)) == body
        assert refused(s3.get_object, **named, IfMatch='"0"')[0] == 412
        assert refused(s3.get_object, **named, IfNoneMatch=etag)[0] == 304
        assert refused(s3.head_object, **named, IfNoneMatch=etag)[0] == 304
        assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", IfNoneMatch="*", **KINDS[kind])[0] == 412
        assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", IfMatch='"0"')[0] == 412
        again = s3.put_object(Bucket=bucket, Key="k", Body=body, IfMatch=etag, **KINDS[kind])
        assert refused(s3.delete_object, Bucket=bucket, Key="k", IfMatch='"0"')[0] == 412
        s3.delete_object(Bucket=bucket, Key="k", IfMatch=again["ETag"])
        assert refused(s3.head_object, **named)[0] == 404


@pytest.mark.parametrize("kind", ENCRYPTED)
def test_uploads_in_parts(s3: Any, bucket: str, kind: str) -> None:
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k", Metadata={"a": "b"}, **KINDS[kind])
    named = {"Bucket": bucket, "Key": "k", "UploadId": begun["UploadId"]}
    s3.put_object(Bucket=bucket, Key="from", Body=LARGE, **KINDS["kms"])
    stored = [s3.upload_part(**named, PartNumber=1, Body=PART, **reading(kind))["ETag"]]
    copied = s3.upload_part_copy(
        **named,
        PartNumber=2,
        CopySource=f"{bucket}/from",
        CopySourceRange="bytes=70000-150000",
        **reading(kind),
    )
    stored.append(copied["CopyPartResult"]["ETag"])
    if kind == "customer":
        assert refused(s3.upload_part, **named, PartNumber=3, Body=b"x")[0] == 400
        wrong = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": OTHER}
        assert refused(s3.upload_part, **named, PartNumber=3, Body=b"x", **wrong)[0] == 403
    assert [part["ETag"] for part in s3.list_parts(**named)["Parts"]] == stored
    chosen = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(stored, 1)]
    made = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": chosen})
    whole = PART + LARGE[70_000:150_001]
    assert (made["ETag"] == plain_md5(PART, LARGE[70_000:150_001])) is (kind == "s3")
    head = s3.head_object(Bucket=bucket, Key="k", **reading(kind))
    assert (head["ETag"], head["ContentLength"], head["Metadata"]) == (made["ETag"], len(whole), {"a": "b"})
    listed = {each["Key"]: each for each in s3.list_objects_v2(Bucket=bucket)["Contents"]}["k"]
    assert (listed["ETag"], listed["Size"]) == (made["ETag"], len(whole))
    assert body_of(s3.get_object(Bucket=bucket, Key="k", **reading(kind))) == whole
    across = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={len(PART) - 5}-{len(PART) + 5}", **reading(kind))
    assert body_of(across) == whole[len(PART) - 5 : len(PART) + 6]
    second = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, **reading(kind))
    assert body_of(second) == LARGE[70_000:150_001]
    if kind == "customer":
        assert refused(s3.get_object, Bucket=bucket, Key="k")[0] == 400
        assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 400
        attributes = {"ObjectAttributes": ["ETag", "ObjectParts"]}
        assert refused(s3.get_object_attributes, Bucket=bucket, Key="k", **attributes)[0] == 400
        # boto3 encodes the key for other calls, and not for this one.
        own = {"SSECustomerKey": b64encode(KEY).decode(), "SSECustomerKeyMD5": b64encode(md5(KEY).digest()).decode()}
        told = s3.get_object_attributes(Bucket=bucket, Key="k", **attributes, SSECustomerAlgorithm="AES256", **own)
        assert told["ETag"] == made["ETag"].strip('"') and told["ObjectParts"]["TotalPartsCount"] == 2
    s3.put_object(Bucket=bucket, Key="k", Body=b"", IfMatch=made["ETag"])


@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_copies_change_the_encryption(s3: Any, bucket: str, before: str, after: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=LARGE, Metadata={"a": "b"}, **KINDS[before])
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", **source(before), **KINDS[after])
    got = s3.get_object(Bucket=bucket, Key="copy", **reading(after))
    assert body_of(got) == LARGE and got["Metadata"] == {"a": "b"}
    assert got.get("ServerSideEncryption") == KINDS[after].get("ServerSideEncryption")
    if after != "plain":
        s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", **source(before), **KINDS[after])
        assert body_of(s3.get_object(Bucket=bucket, Key="k", **reading(after))) == LARGE


def test_keys_of_customers(s3: Any, bucket: str) -> None:
    own = KINDS["customer"]
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, **own)
    wrong = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": OTHER}
    for call in (s3.get_object, s3.head_object):
        assert refused(call, Bucket=bucket, Key="k")[0] == 400
        assert refused(call, Bucket=bucket, Key="k", **wrong)[0] == 403
    assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/k") == (400, "InvalidRequest")
    for bad in (
        {**own, "SSECustomerKey": KEY[:16]},
        {**own, "SSECustomerKey": b64encode(KEY).decode(), "SSECustomerKeyMD5": b64encode(bytes(16)).decode()},
        {**own, "SSECustomerAlgorithm": "AES128"},
        {**own, "ServerSideEncryption": "AES256"},
    ):
        assert refused(s3.put_object, Bucket=bucket, Key="x", Body=b"", **bad)[0] == 400
    s3.put_object(Bucket=bucket, Key="plain", Body=SMALL)
    s3.put_object(Bucket=bucket, Key="own", Body=SMALL, **KINDS["s3"])
    for key in ("plain", "own"):
        assert refused(s3.get_object, Bucket=bucket, Key=key, **own) == (400, "InvalidRequest")
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "t", "Value": "v"}]})
    assert body_of(s3.get_object(Bucket=bucket, Key="k", **own)) == SMALL


def test_named_keys(s3: Any, store: Store, bucket: str) -> None:
    alias = f"finance-{bucket}"
    made = run_all([["key", "add", alias, "--data", str(store.folder)]])[0].strip()
    kms = {"ServerSideEncryption": "aws:kms"}
    context = b64encode(b'{"b":"1","a":"2"}').decode()

    def put(key: str, **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = s3.put_object(Bucket=bucket, Key=key, Body=LARGE, **kms, **more)
        return answer

    def is_known() -> bool:  # the store looks at the file once a second
        try:
            put("a", SSEKMSKeyId=f"alias/{alias}")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "KMS.NotFoundException"
            return False
        return True

    wait_until(is_known, "the store knows the key", 20.0)
    by_alias = put("a", SSEKMSKeyId=f"alias/{alias}", SSEKMSEncryptionContext=context)
    assert by_alias["SSEKMSKeyId"].endswith(made)
    assert put("b", SSEKMSKeyId=by_alias["SSEKMSKeyId"])["SSEKMSKeyId"] == by_alias["SSEKMSKeyId"]
    for key in "ab":
        assert body_of(s3.get_object(Bucket=bucket, Key=key)) == LARGE
    assert refused(put, key="c", SSEKMSKeyId="alias/none") == (400, "KMS.NotFoundException")
    assert refused(put, key="c", SSEKMSEncryptionContext="nonsense")[0] == 400


def test_default_encryption_of_buckets(s3: Any, client: Client, bucket: str) -> None:
    code = "ServerSideEncryptionConfigurationNotFoundError"
    assert refused(s3.get_bucket_encryption, Bucket=bucket) == (404, code)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    found = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert found[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert s3.put_object(Bucket=bucket, Key="k", Body=LARGE)["ServerSideEncryption"] == "AES256"
    bad = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "rot13"}}]}
    assert refused(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=bad)[0] == 400
    s3.delete_bucket_encryption(Bucket=bucket)
    assert refused(s3.get_bucket_encryption, Bucket=bucket) == (404, code)
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="plain", Body=LARGE)
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == LARGE
    assert client.get(f"{bucket}/k").body == LARGE


@pytest.fixture
def encrypted(s3: Any, bucket: str) -> Iterator[str]:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    yield bucket


def test_the_other_api(s3: Any, client: Client, encrypted: str) -> None:
    etag = md5(LARGE).hexdigest()
    put = client.put(f"{encrypted}/o", body=LARGE, headers={"X-Object-Meta-Colour": MARKER.decode()})
    assert put.headers[Names.ETAG.lower()] == etag
    assert "ServerSideEncryption" in s3.head_object(Bucket=encrypted, Key="o")
    got = client.get(f"{encrypted}/o")
    assert (got.body, got.headers["etag"], got.headers["x-object-meta-colour"]) == (LARGE, etag, MARKER.decode())
    for ranges, status in (("bytes=65530-65550", 206), ("bytes=1-2,70000-70009", 206), ("bytes=9999999-", 416)):
        assert client.get(f"{encrypted}/o", headers={"Range": ranges}).status == status
    assert client.get(f"{encrypted}/o", headers={"Range": "bytes=65530-65550"}).body == LARGE[65_530:65_551]
    both = client.get(f"{encrypted}/o", headers={"Range": "bytes=1-2,70000-70009"}).body
    assert LARGE[1:3] in both and LARGE[70_000:70_010] in both
    assert client.get(f"{encrypted}/o", headers={"If-Match": etag}).status == 200
    assert client.get(f"{encrypted}/o", headers={"If-Match": "0" * 32}).status == 412
    assert client.get(f"{encrypted}/o", headers={"If-None-Match": etag}).status == 304
    assert client.put(f"{encrypted}/o", body=LARGE, headers={"If-Match": etag}).status == 201
    assert client.put(f"{encrypted}/o", body=LARGE, headers={"Etag": "0" * 32}).status == 422
    assert client.post(f"{encrypted}/o", headers={"X-Object-Meta-Colour": "red"}).status == 202
    assert client.head(f"{encrypted}/o").headers["x-object-meta-colour"] == "red"
    assert client.get(encrypted, format="json").json()[0]["hash"] == etag
    assert client.get(encrypted, format="json").json()[0]["bytes"] == len(LARGE)
    assert f"<hash>{etag}</hash>".encode() in client.get(encrypted, format="xml").body
    assert client.head(encrypted).headers["x-container-bytes-used"] == str(len(LARGE))


def test_containers_say_it_in_the_swift_api(s3: Any, client: Client, bucket: str) -> None:
    assert client.post(bucket, headers={"X-Container-Encryption": "rot13"}).status == 400
    assert client.post(bucket, headers={"X-Container-Encryption": "AES256"}).status == 204
    assert client.head(bucket).headers["x-container-encryption"] == "AES256"
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    client.put(f"{bucket}/a", body=LARGE)
    client.put(f"{bucket}/b", body=SMALL)
    segments = json.dumps([{"path": f"{bucket}/a"}, {"path": f"{bucket}/b", "range": "2-9"}])
    assert client.put(f"{bucket}/slo", body=segments.encode(), **{"multipart-manifest": "put"}).status == 201
    client.put(f"{bucket}/dlo", body=b"", headers={"X-Object-Manifest": f"{bucket}/a"})
    assert client.copy(f"{bucket}/a", f"{bucket}/copy").status == 201
    for name, whole in (("slo", LARGE + SMALL[2:10]), ("dlo", LARGE), ("copy", LARGE)):
        got = client.get(f"{bucket}/{name}")
        assert (got.status, got.body) == (200, whole), name
        assert client.get(f"{bucket}/{name}", headers={"Range": "bytes=70000-70009"}).body == whole[70_000:70_010]
        assert client.get(f"{bucket}/{name}", headers={"If-Match": got.headers["etag"]}).status == 200
        assert "ServerSideEncryption" in s3.head_object(Bucket=bucket, Key=name)
    assert client.post(bucket, headers={"X-Container-Encryption": "none"}).status == 204
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="plain", Body=LARGE)


def test_no_device_has_anything_as_it_is(s3: Any, store: Store, client: Client, encrypted: str) -> None:
    text = MARKER.decode()
    for kind in ENCRYPTED:
        s3.put_object(Bucket=encrypted, Key=kind, Body=SMALL, Metadata={"a": text}, **KINDS[kind])
        begun = s3.create_multipart_upload(Bucket=encrypted, Key=f"{kind}-parts", Metadata={"a": text}, **KINDS[kind])
        named = {"Bucket": encrypted, "Key": f"{kind}-parts", "UploadId": begun["UploadId"]}
        part = s3.upload_part(**named, PartNumber=1, Body=SMALL, **reading(kind))
        chosen = [{"PartNumber": 1, "ETag": part["ETag"]}]
        s3.complete_multipart_upload(**named, MultipartUpload={"Parts": chosen})
        open_one = s3.create_multipart_upload(Bucket=encrypted, Key="open", Metadata={"a": text}, **KINDS[kind])
        s3.abort_multipart_upload(Bucket=encrypted, Key="open", UploadId=open_one["UploadId"])
    client.put(f"{encrypted}/swift", body=LARGE, headers={"X-Object-Meta-A": text})
    client.post(f"{encrypted}/swift", headers={"X-Object-Meta-B": text})
    s3.copy_object(Bucket=encrypted, Key="copy", CopySource=f"{encrypted}/swift")
    etags = [md5(body).hexdigest() for body in (SMALL, LARGE)]
    etags += [plain_md5(SMALL, SMALL).strip('"')[:32], md5(md5(SMALL).digest()).hexdigest()]
    assert {client.head(f"{encrypted}/{name}").headers["etag"].strip('"')[:32] for name in ("s3", "swift")} <= {*etags}
    needles = [MARKER, KEY, b64encode(KEY), *(etag.encode() for etag in etags)]
    assert found_in(store.folder, encrypted, needles) == []
    s3.put_object(Bucket=encrypted, Key="again", Body=SMALL)
    client.post(encrypted, headers={"X-Container-Encryption": "none"})
    client.put(f"{encrypted}/plain", body=LARGE)
    assert {needle for _, needle in found_in(store.folder, encrypted, needles)} >= {MARKER, etags[1].encode()}


def found_in(folder: Path, bucket: str, needles: list[bytes]) -> list[tuple[str, bytes]]:
    """Which files of the devices have one of these in their content or their attributes, where objects of `bucket` are.

    Other tests store the same bodies as they are, so a file counts only if it is about the bucket: object files tell
    their name in their attributes, databases hold their rows.
    """
    found = []
    for path in folder.glob("d*/**/*"):
        if not path.is_file():
            continue
        content = path.read_bytes()
        content += b"".join(os.getxattr(path, name) for name in os.listxattr(path))
        if bucket.encode() in content:
            found += [(str(path), needle) for needle in needles if needle in content]
    return found


def test_rotation(s3: Any, store: Store, encrypted: str) -> None:
    s3.put_object(Bucket=encrypted, Key="old", Body=LARGE, Metadata={"a": "b"})
    before = s3.put_object(Bucket=encrypted, Key="kms", Body=LARGE, **KINDS["kms"])["SSEKMSKeyId"]
    run_all([["key", "rotate", "--data", str(store.folder)]])
    wait_until(
        lambda: s3.put_object(Bucket=encrypted, Key="new", Body=SMALL, **KINDS["kms"])["SSEKMSKeyId"] != before,
        "the new root secret to be used",
        30,
    )
    assert body_of(s3.get_object(Bucket=encrypted, Key="old")) == LARGE
    assert body_of(s3.get_object(Bucket=encrypted, Key="new")) == SMALL
    etag = s3.head_object(Bucket=encrypted, Key="old")["ETag"]
    assert {each["Key"]: each["ETag"] for each in s3.list_objects_v2(Bucket=encrypted)["Contents"]}["old"] == etag
    s3.put_object(Bucket=encrypted, Key="old", Body=SMALL, IfMatch=etag)


def test_policies_can_demand_it(s3: Any, bucket: str) -> None:
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject",'
        f'"Resource":"arn:aws:s3:::{bucket}/*","Condition":'
        '{"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}}}]}'
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"") == (403, "AccessDenied")
    assert "x-amz-server-side-encryption" in headers_of(s3.put_object(Bucket=bucket, Key="k", **KINDS["s3"]))
    s3.delete_bucket_policy(Bucket=bucket)
