"""Whatever botocore signs verifies, and whatever differs from it in one bit does not; bodies come however they come."""

from __future__ import annotations

import string
from itertools import pairwise
from typing import Final
from urllib.parse import quote

import pytest
from botocore.auth import HmacV1Auth, S3SigV4Auth, S3SigV4QueryAuth
from hypothesis import assume, given
from hypothesis import strategies as st

from objstore.http.bodies import BytesBody, IterableBody
from objstore.http.errors import HttpError
from objstore.http.messages import BodyReader, Environ
from objstore.proxy.s3 import payload
from objstore.proxy.s3.authentication import body_of
from objstore.proxy.s3.chunked import AwsChunkDecoder, AwsChunkedBody, ChunkSignatures
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.signature_v4 import ChunkSeed, signing_key
from objstore.system.threads import ThreadGroup
from tests.unit.proxy.s3.signing import KEY, aws_chunked, signed_by_botocore, verified

keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
paths = keys.map(lambda key: f"/bucket/{quote(key, safe='/~')}")
words = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12)
queries = st.lists(st.tuples(words, st.none() | keys), max_size=5).map(
    lambda fields: "&".join(
        quote(name) + ("" if value is None else "=" + quote(value, safe="~")) for name, value in fields
    )
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
headers = st.dictionaries(words.map(lambda word: f"x-amz-meta-{word.lower()}"), values, max_size=5)
methods = st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "POST"])
signers = st.sampled_from([S3SigV4Auth, S3SigV4QueryAuth, HmacV1Auth])


@given(signers, methods, paths, queries, headers, st.binary(max_size=20))
def test_what_botocore_signs_verifies(
    signer: type, method: str, path: str, query: str, sent: dict[str, str], body: bytes
) -> None:
    region = None if signer is HmacV1Auth else "us-east-1"
    environ = signed_by_botocore(
        signer, method, f"{path}?{query}", sent, region=region, body=body if signer is S3SigV4Auth else b""
    )
    signed = verified(environ)
    assert signed is not None and signed.key is KEY


# What a signature of version 4 covers, of a request that has everything.
WHOLE: Final = signed_by_botocore(
    S3SigV4Auth, "PUT", "/bucket/a%20key?partNumber=1&uploadId=abc", {"x-amz-meta-a": "1", "Content-Type": "text/plain"}
)
COVERED: Final = (
    "CONTENT_TYPE",
    "HTTP_AUTHORIZATION",
    "HTTP_HOST",
    "HTTP_X_AMZ_CONTENT_SHA256",
    "HTTP_X_AMZ_DATE",
    "HTTP_X_AMZ_META_A",
    "QUERY_STRING",
    "REQUEST_METHOD",
    "objstore.raw_path",
)


@given(st.sampled_from(COVERED), st.integers(0, 300), st.integers(0, 7))
def test_a_request_that_differs_in_one_bit_is_refused(name: str, place: int, bit: int) -> None:
    text: str = WHOLE[name]
    place %= len(text)
    other = chr(ord(text[place]) ^ 1 << bit)
    # The scheme's parts may be separated by other blanks, and blanks around values mean nothing.
    assume(not (text[place].isspace() or other.isspace() or other == ","))
    environ = dict(WHOLE) | {name: text[:place] + other + text[place + 1 :]}
    if name == "HTTP_AUTHORIZATION":
        # Header names have no case.
        assume(environ[name].lower() != text.lower())
    with pytest.raises((S3Error, HttpError)):
        verified(environ)


# Words from which hostile requests are made, beside any text that HTTP lets through.
fragments = (
    st.sampled_from(
        [
            "AWS4-HMAC-SHA256",
            "AWS",
            " ",
            "Credential=",
            KEY.id,
            "/20251124/us-east-1/s3/aws4_request",
            ",",
            "=",
            ":",
            ";",
        ]
    )
    | st.sampled_from(
        [
            "SignedHeaders=host;x-amz-date",
            "Signature=",
            "a" * 64,
            "20251124T160000Z",
            "00000000T000000Z",
            "-1",
            "9" * 30,
        ]
    )
    | st.sampled_from(
        ["Mon, 24 Nov 2025 16:00:00 GMT", "Mon, 99 Nov 99999 16:00:00 GMT", "\u00b2", "\u00e9", "STREAMING-", "%2F"]
    )
)
anything = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
hostile = st.lists(fragments | anything, max_size=8).map("".join)
names = st.sampled_from(
    ["HTTP_AUTHORIZATION", "HTTP_X_AMZ_DATE", "HTTP_DATE", "HTTP_X_AMZ_CONTENT_SHA256", "HTTP_X_AMZ_SECURITY_TOKEN"]
) | st.sampled_from(
    ["HTTP_X_AMZ_DECODED_CONTENT_LENGTH", "HTTP_X_AMZ_TRAILER", "HTTP_CONTENT_ENCODING", "HTTP_X_AMZ_META_A"]
)
parameters = st.sampled_from(
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"]
) | st.sampled_from(["X-Amz-Content-Sha256", "AWSAccessKeyId", "Signature", "Expires", "x-amz-acl"])
PRESIGNED: Final = signed_by_botocore(S3SigV4QueryAuth, "GET", "/bucket/key", {})


@given(
    st.sampled_from([WHOLE, PRESIGNED]),
    st.dictionaries(names, hostile, max_size=4),
    st.dictionaries(parameters, hostile, max_size=3),
)
def test_a_hostile_request_is_refused_as_such(whole: Environ, headers: dict[str, str], query: dict[str, str]) -> None:
    environ = dict(whole) | headers
    fields = dict(field.partition("=")[::2] for field in environ["QUERY_STRING"].split("&"))
    fields |= {name: quote(value, safe="") for name, value in query.items()}
    environ["QUERY_STRING"] = "&".join(f"{name}={value}" for name, value in fields.items())
    try:
        signed = verified(environ)
        body_of(environ, BytesBody(b""), signed).read()
    except S3Error:
        return
    assert signed is None or signed.key is KEY


SEED: Final = ChunkSeed(
    signing_key(KEY.secret, "20251124", "us-east-1"), "20251124T160000Z", "20251124/us-east-1/s3/aws4_request", "a" * 64
)
THREADS: Final = ThreadGroup(1)
TRAILERS: Final = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-sha256": "abc="}
KINDS: Final = (payload.SIGNED_CHUNKS, payload.SIGNED_CHUNKS_TRAILER, payload.UNSIGNED_CHUNKS_TRAILER)
chunk_sizes = st.lists(st.integers(8192, 100_000), max_size=3).flatmap(
    lambda sizes: st.integers(0, 100).map(lambda last: [*sizes, last] if last else sizes)
)


def written(kind: str, sizes: list[int]) -> tuple[bytes, bytes]:
    """Content, and the same in chunks of these sizes."""
    chunks = [bytes((number + at) % 251 for at in range(size)) for number, size in enumerate(sizes)]
    seed = None if kind == payload.UNSIGNED_CHUNKS_TRAILER else SEED
    return b"".join(chunks), aws_chunked(chunks, seed, None if kind == payload.SIGNED_CHUNKS else TRAILERS)


def decoded(kind: str, source: BodyReader, length: int, threads: ThreadGroup | None = None) -> AwsChunkedBody:
    signatures = None if kind == payload.UNSIGNED_CHUNKS_TRAILER else ChunkSignatures(SEED)
    trailers = None if kind == payload.SIGNED_CHUNKS else frozenset(TRAILERS)
    return AwsChunkedBody(source, length, AwsChunkDecoder(length, signatures, trailers), threads)


@given(
    st.sampled_from(KINDS),
    chunk_sizes,
    st.lists(st.integers(1, 200_000), max_size=8),
    st.lists(st.integers(1, 200_000), max_size=8),
)
def test_however_it_comes_and_is_read_the_content_is_the_same(
    kind: str, sizes: list[int], cuts: list[int], reads: list[int]
) -> None:
    content, wire = written(kind, sizes)
    bounds = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    pieces = [wire[start:end] for start, end in pairwise(bounds)]
    body = decoded(kind, IterableBody(pieces), len(content), THREADS)
    read = b""
    for number, size in enumerate(reads):
        if number % 2:
            buffer = memoryview(bytearray(size))
            read += buffer[: body.readinto(buffer, 5.0 if number % 4 == 1 else None)]
        else:
            read += body.read(size)
    read += body.read()
    assert read == content
    assert body.trailers == ({} if kind == payload.SIGNED_CHUNKS else {k.title(): v for k, v in TRAILERS.items()})


@given(st.sampled_from(KINDS), chunk_sizes, st.integers(1, 1 << 40))
def test_a_body_that_is_cut_off_has_no_end(kind: str, sizes: list[int], cut: int) -> None:
    content, wire = written(kind, sizes)
    with pytest.raises(S3Error):
        decoded(kind, BytesBody(wire[: len(wire) - 1 - cut % len(wire)]), len(content)).read()


@given(st.sampled_from(KINDS), chunk_sizes, st.integers(0), st.integers(0, 7))
def test_a_signed_body_that_differs_in_one_bit_has_no_end(kind: str, sizes: list[int], place: int, bit: int) -> None:
    content, wire = written(kind, sizes)
    place %= len(wire)
    other = wire[:place] + bytes([wire[place] ^ 1 << bit]) + wire[place + 1 :]
    try:
        body = decoded(kind, BytesBody(other), len(content))
        read = body.read()
    except S3Error:
        return
    # Names of trailers and numbers in hexadecimal have no case. What is not signed is checked by its checksum.
    trailers = {} if kind == payload.SIGNED_CHUNKS else {k.title(): v for k, v in TRAILERS.items()}
    if kind == payload.UNSIGNED_CHUNKS_TRAILER:
        assert len(read) == len(content)
    else:
        assert (read, body.trailers) == (content, trailers)
        assert other.lower() == wire.lower()


@given(st.sampled_from(KINDS), st.binary(max_size=300), st.integers(0, 300))
def test_nonsense_is_refused(kind: str, wire: bytes, length: int) -> None:
    body = decoded(kind, BytesBody(wire), length)
    try:
        read = body.read()
    except S3Error:
        return
    assert kind == payload.UNSIGNED_CHUNKS_TRAILER and len(read) == length
