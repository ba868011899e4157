"""Uploads in parts: what is said of them, and of the whole."""

from __future__ import annotations

from typing import Any

import pytest

from objstore.checksums import COMBINABLE, Algorithm, checksums_of, composite
from objstore.proxy.core.upload_commands import ChosenPart, UploadedPart, UploadRecord
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.checksums import ALGORITHMS, COMPOSITE, DEFAULT, FULL_OBJECT
from objstore.proxy.s3.handlers.multipart import Completion, chosen_parts_of, copy_range, upload_settings

BODIES = [b"first", b"second", b"third"]


def parts_of(*algorithms: Algorithm) -> list[UploadedPart]:
    return [
        UploadedPart(number, "e", len(body), "", "", checksums_of(algorithms, body))
        for number, body in enumerate(BODIES, 1)
    ]


def completed(environ: dict[str, Any], settings: dict[str, str], *algorithms: Algorithm) -> dict[Algorithm, str]:
    chosen = [ChosenPart(number, "e") for number in (1, 2, 3)]
    return Completion(environ, chosen).checksums(UploadRecord("a/b", settings=settings), parts_of(*algorithms))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", [COMPOSITE, FULL_OBJECT])
def test_which_checksums_there_are(algorithm: Algorithm, kind: str) -> None:
    given = {"HTTP_X_AMZ_CHECKSUM_ALGORITHM": algorithm.lower(), "HTTP_X_AMZ_CHECKSUM_TYPE": kind}
    if algorithm is DEFAULT if kind == COMPOSITE else algorithm not in COMBINABLE:
        with pytest.raises(S3Error, match="InvalidRequest"):
            upload_settings(given)
        return
    settings = upload_settings(given)
    assert settings == {"algorithm": algorithm, "type": kind}
    of_parts = [checksums_of([algorithm], body)[algorithm] for body in BODIES]
    whole = checksums_of([algorithm], b"".join(BODIES))[algorithm]
    expected = whole if kind == FULL_OBJECT else composite(algorithm, of_parts)
    assert completed({}, settings, algorithm) == {algorithm: expected}
    variable = f"HTTP_X_AMZ_CHECKSUM_{algorithm}"
    for value in (expected, expected.partition("-")[0]):
        assert completed({variable: value, "HTTP_X_AMZ_CHECKSUM_TYPE": kind}, settings, algorithm)
    with pytest.raises(S3Error, match="BadDigest"):
        completed({variable: checksums_of([algorithm], b"else")[algorithm]}, settings, algorithm)


def test_without_one_the_whole_has_crc64nvme() -> None:
    assert upload_settings({}) == {}
    whole = checksums_of([DEFAULT], b"".join(BODIES))
    assert completed({}, {}, Algorithm.SHA1, DEFAULT) == whole
    assert completed({}, {}, Algorithm.SHA1) == {}
    assert upload_settings({"HTTP_X_AMZ_CHECKSUM_ALGORITHM": "CRC32"})["type"] == COMPOSITE
    assert upload_settings({"HTTP_X_AMZ_CHECKSUM_ALGORITHM": DEFAULT})["type"] == FULL_OBJECT
    for bad in ({"HTTP_X_AMZ_CHECKSUM_TYPE": COMPOSITE}, {"HTTP_X_AMZ_CHECKSUM_ALGORITHM": "MD5"}):
        with pytest.raises(S3Error, match="InvalidRequest"):
            upload_settings(bad)


def test_what_is_said_of_the_whole_must_be_so() -> None:
    settings = {"algorithm": "CRC32", "type": FULL_OBJECT}
    size = str(sum(map(len, BODIES)))
    assert completed({"HTTP_X_AMZ_MP_OBJECT_SIZE": size}, settings, Algorithm.CRC32)
    for environ in (
        {"HTTP_X_AMZ_MP_OBJECT_SIZE": "5"},
        {"HTTP_X_AMZ_CHECKSUM_TYPE": COMPOSITE},
        {"HTTP_X_AMZ_CHECKSUM_SHA1": "x"},
    ):
        with pytest.raises(S3Error, match="InvalidRequest"):
            completed(environ, settings, Algorithm.CRC32)
    gaps = Completion({}, [ChosenPart(number, "e") for number in (1, 2, 4)])
    composite_record = UploadRecord("a/b", settings={"algorithm": "CRC32", "type": COMPOSITE})
    with pytest.raises(S3Error, match="InvalidPartOrder"):
        gaps.checksums(composite_record, parts_of(Algorithm.CRC32))


def test_documents_name_parts() -> None:
    part = b"<Part><ETag>&quot;e&quot;</ETag><PartNumber>2</PartNumber><ChecksumSHA1>x</ChecksumSHA1></Part>"
    root = b"<CompleteMultipartUpload>%b</CompleteMultipartUpload>"
    assert chosen_parts_of(root % part) == [ChosenPart(2, "e", {Algorithm.SHA1: "x"})]
    bad = [root % b"", root % b"<Part/>", root % b"<Part><ETag>e</ETag><PartNumber>x</PartNumber></Part>", b"<a/>"]
    for document in bad:
        with pytest.raises(S3Error, match="MalformedXML"):
            chosen_parts_of(document)


def test_ranges_of_copies() -> None:
    assert copy_range({}) is None
    found = copy_range({"HTTP_X_AMZ_COPY_SOURCE_RANGE": "bytes=0-9"})
    assert found is not None
    assert (found.first, found.last) == (0, 9)
    for bad in ("bytes=9-0", "bytes=0-", "bytes=-1", "0-9", "bytes=0-1,2-3", "bytes=0-" + "9" * 30):
        with pytest.raises(S3Error, match="InvalidArgument"):
            copy_range({"HTTP_X_AMZ_COPY_SOURCE_RANGE": bad})
