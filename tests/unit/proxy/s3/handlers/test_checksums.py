"""Checksums as requests bring them."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5
from typing import Any

import pytest

from objstore.checksums import Algorithm, checksums_of
from objstore.http.bodies import BytesBody
from objstore.http.messages import variable_of
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.checksums import (
    ALGORITHMS,
    check_document,
    checksum_headers,
    expected_md5,
    told_checksums,
    wanted_checksums,
)
from objstore.proxy.s3.request import S3Request

CONTENT = b"123456789"
VALUES = checksums_of(Algorithm, CONTENT)


def request_of(headers: dict[str, str], trailers: dict[str, str] | None = None) -> S3Request:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": "/b/k",
        "wsgi.input": BytesBody(CONTENT, trailers),
    }
    return S3Request(environ | {variable_of(name): value for name, value in headers.items()})


def refusal(headers: dict[str, str], trailers: dict[str, str] | None = None) -> str:
    request = request_of(headers, trailers)
    with pytest.raises(S3Error) as caught:
        wanted_checksums(request).expected()
    return caught.value.code


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_in_a_header_or_behind_the_body(algorithm: Algorithm) -> None:
    header, value = f"x-amz-checksum-{algorithm.lower()}", VALUES[algorithm]
    for request in (
        request_of({header: value}),
        request_of({"x-amz-trailer": header}, {header.title(): value}),
        request_of({header: value, "x-amz-sdk-checksum-algorithm": algorithm}),
    ):
        wanted = wanted_checksums(request)
        assert wanted.kept == (algorithm,)
        assert wanted.expected() == {algorithm: value}


def test_without_one_crc64nvme_is_computed() -> None:
    wanted = wanted_checksums(request_of({"x-amz-sdk-checksum-algorithm": "CRC32"}))
    assert (wanted.kept, dict(wanted.expected())) == ((Algorithm.CRC64NVME,), {})
    assert wanted_checksums(request_of({}), default=None).kept == ()


def test_what_is_refused() -> None:
    crc32, sha1 = VALUES[Algorithm.CRC32], VALUES[Algorithm.SHA1]
    assert refusal({"x-amz-checksum-crc32": crc32, "x-amz-checksum-sha1": sha1}) == "InvalidRequest"
    assert refusal({"x-amz-checksum-crc32": crc32, "x-amz-trailer": "x-amz-checksum-sha1"}) == "InvalidRequest"
    assert refusal({"x-amz-trailer": "x-amz-checksum-sha1,x-amz-checksum-crc32"}) == "InvalidRequest"
    assert refusal({"x-amz-trailer": "x-amz-meta-a"}) == "InvalidRequest"
    assert refusal({"x-amz-trailer": "x-amz-checksum-sha1"}) == "MalformedTrailerError"
    assert refusal({"x-amz-trailer": "x-amz-checksum-sha1"}, {"X-Amz-Checksum-Sha1": crc32}) == "InvalidRequest"
    assert refusal({"x-amz-checksum-crc32": sha1}) == "InvalidRequest"
    assert refusal({"x-amz-checksum-crc32": "?"}) == "InvalidRequest"
    assert refusal({"x-amz-checksum-crc32": crc32, "x-amz-sdk-checksum-algorithm": "SHA1"}) == "InvalidRequest"
    assert refusal({"x-amz-checksum-xxhash3": "AAAAAAAAAAA="}) == "NotImplemented"


def test_content_md5() -> None:
    digest = md5(CONTENT)
    assert expected_md5({}) == ""
    assert expected_md5({"HTTP_CONTENT_MD5": b64encode(digest.digest()).decode()}) == digest.hexdigest()
    for bad in ("", "AAAA", digest.hexdigest()):
        with pytest.raises(S3Error, match="InvalidDigest"):
            expected_md5({"HTTP_CONTENT_MD5": bad})


@pytest.mark.parametrize("name", ["Content-MD5", "x-amz-checksum-crc32", "x-amz-checksum-sha256"])
def test_documents_are_compared(name: str) -> None:
    algorithm = Algorithm.MD5 if name == "Content-MD5" else Algorithm(name.rpartition("-")[2].upper())
    check_document(request_of({name: VALUES[algorithm]}), CONTENT, needed=True)
    with pytest.raises(S3Error, match="BadDigest"):
        check_document(request_of({name: VALUES[algorithm]}), CONTENT + b"!", needed=False)


def test_documents_may_need_one() -> None:
    check_document(request_of({}), CONTENT, needed=False)
    with pytest.raises(S3Error, match="InvalidRequest"):
        check_document(request_of({}), CONTENT, needed=True)


def test_what_is_told() -> None:
    info = StoredObjectInfo(9, "", "", "", "", metadata=StoredMetadata(system={"Checksum-Sha1": "AAAA-3"}))
    assert told_checksums({}, info) == {}
    told = {"x-amz-checksum-sha1": "AAAA-3", "x-amz-checksum-type": "COMPOSITE"}
    assert told_checksums({"HTTP_X_AMZ_CHECKSUM_MODE": "ENABLED"}, info) == told
    assert checksum_headers({Algorithm.CRC32: "x"})["x-amz-checksum-type"] == "FULL_OBJECT"
    assert checksum_headers({}) == {}
