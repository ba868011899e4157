"""What reads ask for: ranges, parts, versions."""

from __future__ import annotations

from typing import Any

import pytest

from objstore.http.bodies import BytesBody
from objstore.http.ranges import ByteRange
from objstore.paths import ResourcePath
from objstore.proxy.core.errors import InvalidRange, ObjectNotFound, PreconditionFailed
from objstore.proxy.core.info import PRESENT, ContainerInfo, StoredObjectInfo
from objstore.proxy.core.manifest import Part
from objstore.proxy.core.objects import Conditions, GetObject
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.reading import (
    asked_range,
    explained,
    given_part_number,
    given_version,
    part_number,
    part_of,
    range_within,
    version_headers,
)
from objstore.proxy.s3.request import S3Request

VERSION = "0000a356ad35b819"
PATH = ResourcePath("AUTH_a", "b", "k")


def request_of(query: str = "", **variables: str) -> S3Request:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/b/k",
        "QUERY_STRING": query,
        "wsgi.input": BytesBody(b""),
    }
    request = S3Request(environ | variables)
    request.read(())
    return request


@pytest.mark.parametrize("asked", ["bytes=0-3", "bytes=5-", "bytes=-5", "bytes= 0-3 "])
def test_one_range_is_asked_for(asked: str) -> None:
    assert asked_range({"HTTP_RANGE": asked}) == asked


@pytest.mark.parametrize("asked", ["bytes=0-3,5-7", "bytes=5-3", "lines=0-3", "bytes", "bytes=a-b", ""])
def test_whatever_else_asks_for_all(asked: str) -> None:
    assert asked_range({"HTTP_RANGE": asked}) == ""


def test_where_ranges_lie() -> None:
    ten, nothing = StoredObjectInfo(10, "e", "", "", ""), StoredObjectInfo(0, "e", "", "", "")
    assert range_within("", ten) is None
    assert range_within("bytes=-3", ten) == ByteRange(7, 9)
    assert range_within("bytes=-3", nothing) is None
    for asked, info in (("bytes=10-", ten), ("bytes=-0", ten), ("bytes=0-", nothing)):
        with pytest.raises(InvalidRange):
            range_within(asked, info)


def test_part_numbers() -> None:
    assert part_number(request_of()) is None
    assert part_number(request_of("partNumber=10000")) == given_part_number("10000") == 10_000
    for text in ("0", "10001", "-1", "x", "", "٣", "1" * 30):
        with pytest.raises(S3Error, match="InvalidArgument"):
            given_part_number(text)
    with pytest.raises(S3Error, match="InvalidRequest"):
        part_number(request_of("partNumber=1", HTTP_RANGE="bytes=0-1"))


def test_parts_have_the_numbers_of_their_upload_or_places() -> None:
    numbered = [Part("/c/a", size=5, number=2), Part("/c/b", size=3, number=7)]
    assert part_of(numbered, 7) == (numbered[1], ByteRange(5, 7))
    placed = [Part("/c/a", size=5), Part("/c/b", size=3)]
    assert part_of(placed, 2) == (placed[1], ByteRange(5, 7))
    with pytest.raises(S3Error, match="InvalidPartNumber"):
        part_of(numbered, 1)


def test_versions() -> None:
    assert given_version("null") == "null"
    with pytest.raises(S3Error, match="InvalidArgument"):
        given_version("x")
    assert version_headers(ContainerInfo(PRESENT), "") == {}
    kept = ContainerInfo(PRESENT, sysmeta={"Versions-Enabled": "false"})
    assert version_headers(kept, "") == {"x-amz-version-id": "null"}
    assert version_headers(kept, given_version(VERSION)) == {"x-amz-version-id": VERSION}


def test_what_the_core_says_is_said_in_words_of_the_api() -> None:
    plain = GetObject(PATH, 0, ranges="bytes=9-", conditions=Conditions(if_match="x"))
    versioned = GetObject(PATH, 0, version=given_version(VERSION))

    def code(command: GetObject, error: Exception) -> str:
        def read() -> None:
            raise error

        with pytest.raises(S3Error) as caught:
            explained(request_of(), command, read)
        return caught.value.code

    assert code(versioned, ObjectNotFound(PATH)) == "NoSuchVersion"
    assert code(versioned, ObjectNotFound(PATH, "1700000000.00000", is_marker=True)) == "MethodNotAllowed"
    assert code(plain, PreconditionFailed()) == "PreconditionFailed"
    with pytest.raises(ObjectNotFound):
        code(plain, ObjectNotFound(PATH))
