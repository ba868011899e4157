"""Bodies that boto3, forms and liars send to a real store: what was meant is stored, and nothing of what was not."""

from __future__ import annotations

import http.client
import io
from typing import Any, Final

import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpchecksum import Crc32Checksum

from objstore.proxy.s3.signature_v4 import ChunkSeed, signing_key
from tests.functional.client import Client
from tests.functional.servers import Store
from tests.functional.test_s3_credentials import s3
from tests.unit.proxy.s3.signing import aws_chunked

SIZES: Final = (0, 1, 8192, 65_536, 65_537, 3_000_000)
NAMES: Final = {
    "signed": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "signed with trailer": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "unsigned with trailer": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
}


def content_of(size: int) -> bytes:
    return bytes(at * 7 % 251 for at in range(size))


def put(
    store: Store, target: str, kind: str, content: bytes, wire: Any = None, *, chunked: bool = False, length: int = -1
) -> tuple[int, bytes]:
    """PUT in aws-chunked; `wire` changes what is sent. chunked: the transfer is, too."""
    crc = Crc32Checksum()
    crc.update(content)
    trailers = None if kind == "signed" else {"x-amz-checksum-crc32": crc.b64digest()}
    headers = {
        "Host": f"{store.host}:{store.port}",
        "Content-Encoding": "aws-chunked",
        "X-Amz-Decoded-Content-Length": str(len(content) if length < 0 else length),
        **({} if trailers is None else {"X-Amz-Trailer": "x-amz-checksum-crc32"}),
    }
    request = AWSRequest("PUT", f"{store.url}{target}", headers=headers)
    signer = S3SigV4Auth(Credentials("test:tester", "testing"), "s3", "us-east-1")
    signer.payload = lambda _request: NAMES[kind]
    signer.add_auth(request)
    timestamp = request.headers["X-Amz-Date"]
    scope = f"{timestamp[:8]}/us-east-1/s3/aws4_request"
    signature = request.headers["Authorization"].rpartition("=")[2]
    seed = ChunkSeed(signing_key("testing", timestamp[:8], "us-east-1"), timestamp, scope, signature)
    step = 65_536
    chunks = [content[at : at + step] for at in range(0, len(content), step)]
    sent = aws_chunked(chunks, None if kind == "unsigned with trailer" else seed, trailers)
    sent = sent if wire is None else wire(sent)
    connection = http.client.HTTPConnection(store.host, store.port, timeout=30)
    try:
        if chunked:
            pieces = (sent[at : at + 50_000] for at in range(0, len(sent), 50_000))
            connection.request("PUT", target, pieces, dict(request.headers.items()), encode_chunked=True)
        else:
            connection.request("PUT", target, sent, dict(request.headers.items()))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunked", [False, True])
def test_chunks(store: Store, container: str, client: Client, kind: str, size: int, chunked: bool) -> None:
    content = content_of(size)
    status, body = put(store, f"/{container}/a%20b", kind, content, chunked=chunked)
    assert status == 200, body
    answer = client.get(f"{container}/a b")
    assert answer.body == content
    assert "content-encoding" not in answer.headers


LIES: Final = {
    "cut off": lambda wire: wire[:-3],
    "cut off within": lambda wire: wire[: len(wire) // 2],
    "too much": lambda wire: wire + b"more",
    "changed": lambda wire: wire.replace(b"\x07\x0e", b"\x07\x0f", 1),
    "other size": lambda wire: wire.replace(b"10000", b"0ffff", 1),
    "other checksum": lambda wire: wire.replace(b"crc32:", b"crc32:A", 1),
    "no trailer": lambda wire: wire[: wire.rfind(b"\r\n0") + 1],
}


# Without trailers there is no checksum to lie about, and in few bytes no whole chunk.
LYING: Final = [
    (kind, lie, size)
    for kind in NAMES
    for lie in LIES
    for size in (1000, 200_000)
    if (lie, kind) != ("other checksum", "signed") and (lie, size) != ("other size", 1000)
]


@pytest.mark.parametrize(("kind", "lie", "size"), LYING)
def test_of_a_lying_body_nothing_is_stored(
    store: Store, container: str, client: Client, kind: str, lie: str, size: int
) -> None:
    content = content_of(size)
    client.put(f"{container}/key", body=b"before")
    status, body = put(store, f"/{container}/key", kind, content, LIES[lie])
    forged = kind != "unsigned with trailer" and lie in ("changed", "other size", "other checksum")
    assert status == (403 if forged else 400), body
    assert client.get(f"{container}/key").body == b"before"
    assert put(store, f"/{container}/key", kind, content, length=size + 1)[0] == 400
    assert put(store, f"/{container}/key", kind, content, length=size - 1)[0] == 400
    assert client.get(f"{container}/key").body == b"before"


@pytest.mark.parametrize("size", [3, 200_000])
def test_a_body_that_was_exchanged(store: Store, container: str, client: Client, size: int) -> None:
    request = AWSRequest("PUT", f"{store.url}/{container}/key", data=content_of(size))
    S3SigV4Auth(Credentials("test:tester", "testing"), "s3", "us-east-1").add_auth(request)
    sent = dict(request.headers.items())
    answer = requests.put(request.url, data=b"x" * size, headers=sent, timeout=30)
    assert answer.status_code == 400 and "<Code>XAmzContentSHA256Mismatch</Code>" in answer.text
    assert client.head(f"{container}/key").status == 404
    assert requests.put(request.url, data=content_of(size), headers=sent, timeout=30).status_code == 200
    assert client.get(f"{container}/key").body == content_of(size)


def test_boto3_with_its_defaults(store: Store, container: str) -> None:
    boto = s3(store)
    for size in SIZES:
        boto.put_object(Bucket=container, Key="key", Body=io.BytesIO(content_of(size)), Metadata={"a_b": "c  d"})
        answer = boto.get_object(Bucket=container, Key="key")
        assert answer["Body"].read() == content_of(size)
        assert answer["Metadata"] == {"a_b": "c  d"}


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_put_and_get(store: Store, container: str, client: Client, version: str) -> None:
    client.put(f"{container}/secret", body=b"secret")
    presign = s3(store, version=version).generate_presigned_url
    place = {"Bucket": container, "Key": "a//b c+d"}
    url = presign("put_object", Params=place)
    stolen = {"x-amz-copy-source": f"/{container}/secret"}
    assert requests.put(url, headers=stolen, timeout=30).status_code == 403
    assert requests.put(url, data=b"content", timeout=30).status_code == 200
    assert requests.get(presign("get_object", Params=place), timeout=30).content == b"content"
    assert requests.get(url, timeout=30).status_code == 403


def form(store: Store, container: str, **options: Any) -> Any:
    return s3(store, version=options.pop("version", "s3v4")).generate_presigned_post(container, **options)


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_forms(store: Store, container: str, client: Client, version: str) -> None:
    fields = {
        "acl": "private",
        "Content-Type": "text/plain",
        "x-amz-meta-name": "\u00e9",
        "success_action_status": "201",
    }
    conditions = [
        *({name: value} for name, value in fields.items()),
        ["starts-with", "$key", "up/"],
        ["content-length-range", 1, 2_000_000],
    ]
    post = form(store, container, Key="up/${filename}", Fields=dict(fields), Conditions=conditions, version=version)
    for size in (1, 200_000):
        files = {"file": ("a b.txt", content_of(size))}
        answer = requests.post(post["url"], data=post["fields"], files=files, timeout=30)
        assert answer.status_code == 201, answer.text
        assert "<Key>up/a b.txt</Key>" in answer.text
        stored = client.get(f"{container}/up/a b.txt")
        assert stored.body == content_of(size)
        assert stored.headers["content-type"] == "text/plain"
        assert stored.headers["x-object-meta-name"].encode("latin-1").decode() == "\u00e9"
    for code, changed, body in (
        ("EntityTooSmall", {}, b""),
        ("EntityTooLarge", {}, bytes(2_000_001)),
        ("AccessDenied", {"key": "other/a"}, b"x"),
        ("AccessDenied", {"x-amz-meta-other": "1"}, b"x"),
    ):
        answer = requests.post(post["url"], data=post["fields"] | changed, files={"file": ("new", body)}, timeout=30)
        assert f"<Code>{code}</Code>" in answer.text
        assert client.head(f"{container}/up/new").status == 404


def test_a_form_of_somebody_unknown(store: Store, container: str) -> None:
    post = form(store, container, Key="a")
    fields = {name: value.replace("test:tester", "nobody") for name, value in post["fields"].items()}
    answer = requests.post(post["url"], data=fields, files={"file": b"x"}, timeout=30)
    assert "<Code>InvalidAccessKeyId</Code>" in answer.text


def test_a_form_of_nobody(store: Store) -> None:
    boto = s3(store)
    boto.create_bucket(Bucket="forms-of-nobody")
    answer = requests.post(f"{store.url}/forms-of-nobody", data={"key": "a"}, files={"file": b"x"}, timeout=30)
    assert answer.status_code == 403
    boto.delete_bucket(Bucket="forms-of-nobody")


def test_errors_of_boto3(store: Store, container: str) -> None:
    with pytest.raises(ClientError, match="BadDigest|InvalidDigest"):
        s3(store).put_object(Bucket=container, Key="a", Body=b"abc", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
